"""What a study needs of a Slurm site, for `python -m karat doctor --submit slurm` and before submission.

One short `srun` on as many nodes as the job will have reports what they see. If the site is busy it
is given up: the job's own nodes check again before anything runs.
"""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs import Submission
from jobs.slurm.commands import nodes_of_site
from jobs.slurm.script import data_of, runner, setup_of
from jobs.slurm.settings import SlurmSettings
from jobs.slurm.validation import check_settings, check_site
from karat.errors import InputError
from karat.system.checks import Check, CheckFailed, check_clocks

_LOOK = """
eval "$KARAT_SETUP"
seen=no; [ "$(cat "$1" 2>/dev/null)" = "$2" ] && : > "$1.$SLURMD_NODENAME" 2>/dev/null && seen=yes
rm -f "$1.$SLURMD_NODENAME"
data=no; { [ -z "$3" ] || [ -r "$3" ]; } && data=yes
runs=no; shift 3; "$@" -c 'import karat' >/dev/null 2>&1 && runs=yes
echo "karat $SLURMD_NODENAME $seen $data $runs $(date +%s.%N)"
"""


@dataclass(frozen=True)
class Look:
    """What a node has reported; `apart_s` is how far its clock is off for sure, 0 if it may be right."""

    node: str
    sees_storage: bool
    sees_data: bool
    runs_karat: bool
    apart_s: float


class Busy(Exception):
    """The site has no nodes free to be asked."""


def checks_of(submission: Submission[SlurmSettings]) -> list[Check]:
    """The checks of a site, for the doctor."""
    looks: list[Look] = []

    def site() -> str:
        check_settings(submission)
        nodes = nodes_of_site()
        check_site(submission, nodes)
        return f"{len({node.name for node in nodes})} nodes; the job fits"

    def nodes() -> str:
        try:
            looks.extend(look(submission, wait_s=60))
        except Busy as busy:
            raise CheckFailed(f"no nodes are free to be asked ({busy}): try again later") from busy
        wrong = [each.node for each in looks if not each.runs_karat]
        if wrong:
            raise CheckFailed(
                f"karat does not run on {', '.join(wrong)}: put it and its Python on storage that "
                "all nodes see, or name an image"
            )
        return f"karat runs on {', '.join(each.node for each in looks)}"

    def storage() -> str:
        refuse_unseen(submission.storage, known())
        return f"{submission.storage} can be written from {len(known())} nodes"

    def data() -> str:
        refuse_without_data(submission, known())
        place = _needed_data(submission)
        return f"{place} is seen by {len(known())} nodes" if place else "no folder is needed"

    def known() -> list[Look]:
        if not looks:
            raise CheckFailed("the nodes could not be asked; see above")
        return looks

    return [
        ("slurm", site),
        ("nodes", nodes),
        ("shared", storage),
        ("data", data),
        ("clocks", lambda: check_clocks({e.node: e.apart_s for e in known()})),
    ]


def refuse_unseen(storage: Path, looks: list[Look]) -> None:
    """Refuse a storage that some node does not have.

    Raises:
        InputError: with the nodes' names.
    """
    blind = [each.node for each in looks if not each.sees_storage]
    if blind:
        raise InputError(
            f"--storage {storage}: {', '.join(blind)} cannot read and write it; use a folder on a "
            "file system that all nodes share"
        )


def refuse_without_data(submission: Submission[SlurmSettings], looks: list[Look]) -> None:
    """Refuse data that some node does not have.

    Raises:
        InputError: with the nodes' names.
    """
    blind = [each.node for each in looks if not each.sees_data]
    if blind:
        raise InputError(
            f"data.root: {', '.join(blind)} cannot read {_needed_data(submission)}; use a folder on "
            "a file system that all nodes share"
        )


def _needed_data(submission: Submission[SlurmSettings]) -> Path | None:
    """The folder that must be there before the job: a download makes its own, but not for a container."""
    if submission.space.data.get("download") and submission.settings.image is None:
        return None
    return data_of(submission)


def look(submission: Submission[SlurmSettings], wait_s: int) -> list[Look]:
    """Ask as many nodes as the job will have.

    Raises:
        Busy: none are to be had within `wait_s`.
    """
    settings = submission.settings
    given = {
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "gpus-per-node": settings.gpus_per_node or None,
    }
    options = [f"--{key}={value}" for key, value in given.items() if value is not None]
    with _marker(submission.storage) as (path, word):
        words = ["srun", *options, f"--nodes={settings.nodes}", "--ntasks-per-node=1", "--time=2"]
        words += [f"--immediate={wait_s}", "--job-name=karat-doctor", "--quiet", "--chdir=/"]
        words += ["bash", "-lc", _LOOK, "look", str(path), word]
        words += [str(_needed_data(submission) or ""), *runner(submission)]
        environment = {
            **os.environ,
            "PYTHONPATH": str(submission.code),
            "KARAT_SETUP": setup_of(settings),
        }
        before = time.time()
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=wait_s + 120,
                env=environment,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Busy(str(error)) from error
        after = time.time()
    looks = [_read(line, before, after) for line in done.stdout.splitlines() if "karat " in line]
    if not looks:
        raise Busy(" ".join(done.stderr.split())[:200])
    return sorted(looks, key=lambda each: each.node)


def _read(line: str, before: float, after: float) -> Look:
    _, node, seen, data, runs, clock = line.split()
    apart = max(0.0, float(clock) - after) - max(0.0, before - float(clock))
    return Look(node, seen == "yes", data == "yes", runs == "yes", apart)


@contextmanager
def _marker(storage: Path) -> Iterator[tuple[Path, str]]:
    """A file in the storage with a random word, which only a node that sees the file knows."""
    storage.mkdir(parents=True, exist_ok=True)
    path, word = storage / f".doctor-{uuid.uuid4().hex}", uuid.uuid4().hex
    path.write_text(word)
    try:
        yield path, word
    finally:
        path.unlink(missing_ok=True)
