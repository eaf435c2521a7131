"""A real study is closed: private files, listens only on loopback, contacts no other machine.

One small study is launched with careless settings of a user, and observed by strace and from
outside while it runs.
"""

import ipaddress
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from karat.system.offline import SWITCHES, go_offline
from tests.launched import ROOT
from tests.waiting import PATIENCE_S

SPACE = """\
study: small
question: Is it better?
data: {name: digits}
model: {name: vit_micro, patch_size: 4, embed_dim: 12, depth: 1, num_heads: 2}
attention: {rank: 4}
training: {recipe: quick, epochs: 2, batch_size: 128}
reference: {attention.basis: softmax}
factors:
  attention.basis: [softmax, fourier]
tuned:
  training.learning_rate: {low: 1e-3, high: 1e-2, log: true}
search: {sampler: tpe, trials: 2}
confirm: {by: attention.basis, seeds: 2}
"""
CALLS = "connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(
    r'(?:inet_addr\("(?P<v4>[^"]+)"\)|inet_pton\(AF_INET6, "(?P<v6>[^"]+)"|sa_family=(?P<other>\w+))'
)
pytestmark = [
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
    pytest.mark.slow,
    pytest.mark.xdist_group("closed"),  # they look at one launch
]


@dataclass
class Launched:
    """A finished study, and what was observed while it ran.

    Args:
        storage: the folder of all studies.
        trace: lines of strace.
        listening: addresses with the processes that listened on them.
        temporary: modes of the files in the folder for temporary files.
        environments: environments of Ray's processes and of the MLflow view.
    """

    storage: Path
    home: Path
    trace: Path
    output: str = ""
    status: int = -1
    listening: dict[str, set[str]] = field(default_factory=dict)
    temporary: dict[str, int] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("closed")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "home").mkdir()
    seen = Launched(folder / "studies", folder / "home", folder / "trace")
    words = ["launch.py", "--space", str(folder / "space.yaml"), "--storage", str(seen.storage)]
    temporary = Path(tempfile.mkdtemp(prefix="kt-", dir="/tmp"))  # short enough for sockets
    environment = {
        **{k: v for k, v in os.environ.items() if k not in SWITCHES and "MLFLOW" not in k},
        "RAY_AUTH_MODE": "disabled",
        "HOME": str(seen.home),
        "TMPDIR": str(temporary),
        # The compiled kernel is there: making it takes longer than the study.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
    }
    try:
        process = subprocess.Popen(
            [*strace(seen.trace), sys.executable, *words],
            cwd=ROOT,
            env=environment,
            umask=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watch(process, temporary, seen)
        seen.output, _ = process.communicate()
        seen.status = process.returncode
        yield seen
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def strace(trace: Path) -> list[str]:
    return ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(trace)]


def watch(process: subprocess.Popen[str], temporary: Path, seen: Launched) -> None:
    deadline = time.monotonic() + 2 * PATIENCE_S  # under strace it takes twice as long
    while process.poll() is None:
        assert time.monotonic() < deadline
        for each in psutil.Process(process.pid).children(recursive=True):
            look_at(each, seen)
        for path in temporary.iterdir():
            try:
                seen.temporary[path.name] = stat.S_IMODE(path.lstat().st_mode)
            except FileNotFoundError:
                continue
        time.sleep(1)


def look_at(process: psutil.Process, seen: Launched) -> None:
    try:
        name = f"{process.name()} {' '.join(process.cmdline())[-80:]}"
        for each in process.net_connections("inet"):
            if each.status == psutil.CONN_LISTEN:
                seen.listening.setdefault(each.laddr.ip, set()).add(name)
        if "raylet" in process.name() or "sync" in process.cmdline():
            seen.environments[name] = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return


def outside(trace: Path) -> list[str]:
    """Return the lines of a trace that contain an address of another machine."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        for match in ADDRESS.finditer(line):
            address = match["v4"] or match["v6"]
            if address and not is_loopback(address):
                found.append(line[:200])
            if match["other"] and match["other"] not in (
                *("AF_UNIX", "AF_NETLINK", "AF_UNSPEC", "AF_INET", "AF_INET6"),
            ):
                found.append(line[:200])
    return found


def is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def test_study_is_whole(launched: Launched) -> None:
    assert launched.status == 0, launched.output
    assert (launched.storage / "small" / "report.html").is_file()
    assert (launched.storage / "mlflow.db").is_file()
    assert "Failed to bind" not in launched.output


def test_no_process_contacts_another_machine(launched: Launched) -> None:
    assert "127.0.0.1" in launched.trace.read_text(errors="replace")  # it records connections
    assert outside(launched.trace) == []


def test_trace_would_show_a_call_to_another_machine(tmp_path: Path) -> None:
    code = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 53))"
    subprocess.run([*strace(tmp_path / "trace"), sys.executable, "-c", code], check=False)
    assert len(outside(tmp_path / "trace")) == 1


def test_everything_listens_on_loopback_alone(launched: Launched) -> None:
    assert any("raylet" in name for names in launched.listening.values() for name in names)
    assert {a: n for a, n in launched.listening.items() if not is_loopback(a)} == {}


def test_ray_requires_its_token_whatever_the_user_has_set(launched: Launched) -> None:
    (raylet,) = [e for name, e in launched.environments.items() if "raylet" in name]
    assert raylet["RAY_AUTH_MODE"] == "token"
    assert len(raylet["RAY_AUTH_TOKEN"]) == 64
    assert not (launched.home / ".ray").exists()


def test_telemetry_is_off_in_every_started_process(launched: Launched) -> None:
    assert len(launched.environments) >= 2
    for environment in launched.environments.values():
        assert {key: environment.get(key) for key in SWITCHES} == SWITCHES


def test_setting_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in SWITCHES:
        monkeypatch.setenv(key, "mine")
    go_offline()
    assert {os.environ[key] for key in SWITCHES} == {"mine"}


def test_files_are_private_to_the_user(launched: Launched) -> None:
    found = [launched.storage, *launched.storage.rglob("*")]
    assert len(found) > 20
    assert {str(path): oct(m) for path in found if (m := path.lstat().st_mode) & 0o077} == {}


def test_rays_temporary_folder_is_private_and_removed(launched: Launched) -> None:
    of_ray = {name: mode for name, mode in launched.temporary.items() if name.startswith("karat-")}
    assert set(of_ray.values()) == {0o700}
    assert {name: oct(m) for name, m in launched.temporary.items() if m & 0o077} == {}


COMMANDS = """
import sys
from karat.cli.launch import launch
from karat.cli.main import main

study = sys.argv[1]
assert launch(["--space", "search_spaces/fourier_grid.yaml", "--dry-run"]) == 0
for words in (
    ["report", study],
    ["sync", study],
    ["audit", study],
    ["costs", "vit_tiny_patch16_224", "--basis", "fourier"],
    ["costs", "deit_tiny_patch16_224"],
):
    assert main(words) == 0, words
"""


def test_commands_contact_no_other_machine(launched: Launched, tmp_path: Path) -> None:
    """In one process, since loading takes most of the time."""
    done = subprocess.run(
        [*strace(tmp_path / "trace"), sys.executable, "-c", COMMANDS, launched.storage / "small"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if "MLFLOW" not in k},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert outside(tmp_path / "trace") == []
