"""The kernel's counters of out-of-memory kills, as made-up files and of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from karat.system.process.memory import MemoryKills
from tests.waiting import wait_until

EVENTS = "low 0\nhigh 3\nmax 12\noom 2\noom_kill {}\noom_group_kill 9\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 7\noom_kill {}\npgfault 9\n"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def version_2(root: Path, of_group: int, of_machine: int) -> MemoryKills:
    write(root, "proc/self/cgroup", "0::/job_7/step_0\n")
    write(root, "sys/fs/cgroup/job_7/step_0/memory.events", EVENTS.format(of_group))
    write(root, "proc/vmstat", VMSTAT.format(of_machine))
    return MemoryKills.read(root)


def test_counters_of_version_2_are_read(tmp_path: Path) -> None:
    assert version_2(tmp_path, 4, 11) == MemoryKills(4, 11)


def test_counters_of_version_1_are_read(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a/b:c\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory/a/b:c/memory.oom_control", CONTROL.format(6))
    assert MemoryKills.read(tmp_path) == MemoryKills(6, None)


def test_group_of_a_container_is_found_at_the_root_of_its_file_system(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory.events", EVENTS.format(1))
    assert MemoryKills.read(tmp_path).of_group == 1


@pytest.mark.parametrize(
    "lines", ["", "nonsense\n", "0::/../../outside\n", "x:memory\n", "0::relative\n", "\xff::\n"]
)
def test_missing_or_strange_files_count_nothing(tmp_path: Path, lines: str) -> None:
    write(tmp_path, "proc/self/cgroup", lines)
    write(tmp_path, "proc/vmstat", "oom_kill many\noom_killer 3\n")
    assert MemoryKills.read(tmp_path) == MemoryKills(None, None)
    assert not MemoryKills.read(tmp_path).has_grown_since(MemoryKills.read(tmp_path / "none"))


def test_kill_of_the_group_or_of_the_machine_is_noticed(tmp_path: Path) -> None:
    before = version_2(tmp_path, 4, 11)
    assert not version_2(tmp_path, 4, 11).has_grown_since(before)
    assert version_2(tmp_path, 5, 12).has_grown_since(before)
    assert version_2(tmp_path, 4, 12).has_grown_since(
        before
    )  # maybe in a group below, of version 1
    assert not version_2(tmp_path, 0, 0).has_grown_since(before)  # another machine's, after a move
    assert not MemoryKills(None, None).has_grown_since(before)


EATER = """
import sys
sys.stdin.readline()
held = []
while True:
    held.append(bytearray(b"x" * 2**20))
"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 64 MB, of either version."""
    path = Path(f"/sys/fs/cgroup/memory/karat-test-{os.getpid()}")
    limit = "memory.limit_in_bytes"
    if not path.parent.is_dir():
        path, limit = Path(f"/sys/fs/cgroup/karat-test-{os.getpid()}"), "memory.max"
    try:
        path.mkdir()
        (path / limit).write_text(str(64 * 2**20))
    except OSError as error:
        with contextlib.suppress(OSError):
            path.rmdir()
        pytest.skip(f"this user cannot make a control group with a limit: {error}")
    yield path
    path.rmdir()


def test_process_that_the_kernel_kills_for_memory_is_counted(small_group: Path) -> None:
    before = MemoryKills.read()
    process = subprocess.Popen([sys.executable, "-c", EATER], stdin=subprocess.PIPE)
    try:
        (small_group / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.wait(60) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not (small_group / "cgroup.procs").read_text().strip(), "an empty group")
    assert MemoryKills.read().has_grown_since(before)
