"""Two network namespaces with an address each, as two machines are, and a Ray node in each.

    python -m tests.jobs.ray.namespaces ADDRESS            # the head, in the namespace of ADDRESS
    python -m tests.jobs.ray.namespaces ADDRESS HEAD:PORT  # another node

becomes `ray start`, closed by a token as karat's own clusters are, with temporary files of its own.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from karat.execution.ray_internals import NETWORK
from tests.conftest import ROOT
from tests.launched import OWNER, processes_of

# Before each epoch: a study that has to last leaves the processors to other tests.
SLOWLY = {"KARAT_FAULT": "step.before=wait:0.5"}
HEAD_PORT = 6399  # nobody else's: the namespace is new


@dataclass
class Machines:
    """Two namespaces, joined by one cable: a head, and another machine that can be cut off.

    Args:
        folder: marks the processes that run in them, and holds their output.
    """

    folder: Path
    names: tuple[str, str] = field(default_factory=lambda: _two("karat", secrets.token_hex(3)))
    cables: tuple[str, str] = field(default_factory=lambda: _two("kt", secrets.token_hex(3)))
    addresses: tuple[str, str] = ("10.231.7.1", "10.231.7.2")
    token: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def head(self) -> str:
        """Address of Ray's head."""
        return f"{self.addresses[0]}:{HEAD_PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of every process in them."""
        own = {"RAY_AUTH_TOKEN": self.token, "RAY_ADDRESS": self.head, OWNER: str(self.folder)}
        return NETWORK | SLOWLY | own

    def make(self) -> None:
        """Make namespaces, cable and addresses.

        Raises:
            subprocess.CalledProcessError: this user may not.
        """
        for name in self.names:
            _ip("netns", "add", name)
        one, other = self.cables
        _ip("link", "add", one, "type", "veth", "peer", "name", other)
        for name, cable, address in zip(self.names, self.cables, self.addresses, strict=True):
            _ip("link", "set", cable, "netns", name)
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            for device in ("lo", cable):
                _ip("-n", name, "link", "set", device, "up")
            # Ray asks which address leads to the world, and would take the loopback without a route.
            _ip("-n", name, "route", "add", "default", "dev", cable)

    def remove(self) -> None:
        """End what runs in the namespaces, and remove them; the cable goes with them."""
        self.end(list(processes_of(self.folder)))
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def cut(self) -> None:
        """Cut the other machine off."""
        _ip("-n", self.names[1], "link", "set", self.cables[1], "down")

    def mend(self) -> None:
        """Connect the other machine again."""
        name, cable = self.names[1], self.cables[1]
        _ip("-n", name, "link", "set", cable, "up")
        _ip("-n", name, "route", "replace", "default", "dev", cable)

    def inside(self, place: int, words: Sequence[str]) -> list[str]:
        """The words that run a command in a namespace: 0 is the head's, 1 the other's."""
        return ["nsenter", f"--net=/run/netns/{self.names[place]}", *words]

    def start_ray(self, place: int) -> psutil.Popen:
        """Start Ray's node on a machine."""
        words = [sys.executable, "-m", "tests.jobs.ray.namespaces", self.addresses[place]]
        if place:
            words.append(self.head)
        with (self.folder / f"ray-{place}.log").open("ab") as log:
            return psutil.Popen(
                self.inside(place, words),
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def lose(self, node: psutil.Process) -> None:
        """End a node with all its processes at once, as a machine without power does."""
        self.end([node, *node.children(recursive=True)])

    def end(self, processes: Sequence[psutil.Process]) -> None:
        """Kill processes by their ids, and wait for them."""
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(processes, timeout=30)


def _two(*parts: str) -> tuple[str, str]:
    first, second = (f"{''.join(parts)}{letter}" for letter in "ab")
    return first, second


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def two_machines(folder: Path) -> Iterator[Machines]:
    """Two machines for a test, which is skipped where this user cannot make them."""
    if not all(map(shutil.which, ("ip", "nsenter"))):
        pytest.skip("ip and nsenter are not installed")
    machines = Machines(folder)
    try:
        machines.make()
    except subprocess.CalledProcessError as error:
        machines.remove()
        pytest.skip(f"this user cannot make network namespaces: {error.stderr.strip()}")
    try:
        yield machines
    finally:
        machines.remove()


def main() -> None:
    """Become `ray start --block`."""
    from karat.execution.environment import prepare_environment
    from karat.execution.ray_internals import RAY_PROGRAM
    from karat.system.tempdir import make_tempdir

    address, *head = sys.argv[1:]
    prepare_environment(address)
    words = ["start", f"--node-ip-address={address}", "--num-cpus=1", "--num-gpus=0", "--block"]
    if head:
        words.append(f"--address={head[0]}")
    else:
        words += ["--head", f"--port={HEAD_PORT}", "--include-dashboard=false"]
    words += [
        "--disable-usage-stats",
        "--dashboard-agent-listen-port=0",
    ]
    words += ["--object-store-memory=100000000", f"--temp-dir={make_tempdir() / 'r'}"]
    os.execv(sys.executable, [sys.executable, "-c", RAY_PROGRAM, *words])


if __name__ == "__main__":
    main()
