"""The batch process of a Slurm job, with an `srun` and a `scontrol` that only pretend."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import PATIENCE_S, wait_until

SRUN = """\
#!/bin/bash
echo "$@" >> "$SEEN/srun"
echo "$RAY_AUTH_TOKEN" > "$SEEN/token"
for word in "$@"; do case "$word" in --nodelist=*) nodes=${word#--nodelist=};; esac; done
for node in ${nodes//,/ }; do
    case "$node" in
        late*) ;;
        refused*) exit 1;;
        busy*) [ -e "$SEEN/$node" ] || { touch "$SEEN/$node"; exit 1; }; echo "ready $node 10.1.1.1:4711";;
        bad*) echo "failed $node it cannot write the storage /s"; exit 1;;
        *) echo "ready $node 10.1.1.1:4711";;
    esac
done
cat > /dev/null
echo "$nodes" >> "$SEEN/ended"
"""
SCONTROL = """\
#!/bin/bash
if [ "$1" = show ]; then tr , '\\n' <<< "$3"; exit; fi
echo "$@" >> "$SEEN/scontrol"
[ -e "$SEEN/ended" ] && touch "$SEEN/late"
[ "$(wc -l < "$SEEN/scontrol")" -gt "${REFUSALS:-0}" ] || { echo "slurm is away" >&2; exit 1; }
"""
DRIVER = """\
import os, signal, sys, time
told = []
signal.signal(signal.SIGINT, lambda *_: told.append(1))
print("driver at", os.environ["RAY_ADDRESS"], flush=True)
deadline = time.monotonic() + float(sys.argv[1])
while not told and time.monotonic() < deadline:
    time.sleep(0.05)
time.sleep(float(os.environ.get("LINGERS", "0.5")))
print("told", len(told), flush=True)
sys.exit(75 if told else 0)
"""


class Job:
    """A job under way."""

    def __init__(self, folder: Path, nodes: str, lasts: float, *more: str) -> None:
        self.seen = folder / "seen"
        self.seen.mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("driver.py", DRIVER)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(ROOT / "jobs" / "slurm" / "job.py"), "--cpus=1", "--gpus=0"),
                *("--wait-minutes=1", "--storage=/s", f"--runner={sys.executable}", *more),
                *("--", str(folder / "driver.py"), str(lasts)),
            ],
            env={
                **os.environ,
                "PATH": f"{folder}:{os.environ['PATH']}",
                "SEEN": str(self.seen),
                "SLURM_JOB_NODELIST": nodes,
                "SLURM_JOB_ID": "12",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        raise AssertionError(self.said)

    def end(self) -> int:
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        self.said += rest
        return self.process.returncode

    def read(self, name: str) -> str:
        path = self.seen / name
        return path.read_text() if path.exists() else ""


StartJob = Callable[..., Job]


@pytest.fixture
def start_job(tmp_path: Path) -> Iterator[StartJob]:
    started: list[Job] = []

    def start(nodes: str, lasts: float = PATIENCE_S, *more: str) -> Job:
        started.append(Job(tmp_path, nodes, lasts, *more))
        return started[-1]

    yield start
    for job in started:
        job.process.kill()
        job.process.wait()


def test_study_runs_with_the_address_of_the_head_and_everything_is_ended(
    start_job: StartJob,
) -> None:
    job = start_job("n1,n2,n3", 0)
    assert job.end() == 0
    assert "Ray is at 10.1.1.1:4711, on n1, n2, n3" in job.said
    assert "driver at 10.1.1.1:4711" in job.said
    assert sorted(job.read("ended").split()) == ["n1", "n2,n3"]
    assert job.read("scontrol") == ""


def test_slow_node_is_named_and_done_without(start_job: StartJob) -> None:
    job = start_job("n1,n2,late3", 0, "--wait-minutes=0.1")
    assert job.end() == 0
    assert "not there after 0.1 minutes: late3; continuing without" in job.said
    assert "on n1, n2\n" in job.said


def test_node_on_which_slurm_refuses_the_step_at_first_is_asked_again(start_job: StartJob) -> None:
    job = start_job("n1,busy2", 0)
    assert job.end() == 0
    assert "on n1, busy2\n" in job.said


def test_node_on_which_slurm_starts_nothing_is_named_and_done_without(start_job: StartJob) -> None:
    job = start_job("n1,refused2", 0, "--wait-minutes=0.1")
    assert job.end() == 0
    assert "Slurm starts nothing there: refused2; continuing without" in job.said
    assert "on n1\n" in job.said


def test_node_without_the_storage_is_named(start_job: StartJob) -> None:
    job = start_job("n1,bad2", 0)
    assert job.end() == 0
    assert "node bad2: it cannot write the storage /s" in job.said


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("bad1", "node bad1: it cannot write the storage /s"),
        ("late1", "node late1: Ray did not start there in time"),
    ],
)
def test_job_without_a_head_fails_and_says_why(
    start_job: StartJob, node: str, message: str
) -> None:
    job = start_job(f"{node},n2", 0, "--wait-minutes=0.1")
    assert job.end() == 1
    assert message in job.said
    assert "driver" not in job.said


def test_study_shuts_down_before_the_time_limit_and_is_requeued(start_job: StartJob) -> None:
    job = start_job("n1,n2", PATIENCE_S, "--requeue")
    job.wait_for("driver at")
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 75
    assert "told 1" in job.said
    assert job.read("scontrol") == "requeue 12\n"
    assert sorted(job.read("ended").split()) == ["n1", "n2"]


def test_requeue_comes_before_the_time_limit_whatever_the_study_still_does(
    start_job: StartJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGERS", str(2 * PATIENCE_S))  # as one does that waits for MLflow
    job = start_job("n1,n2", PATIENCE_S, "--requeue", "--notice-s=12")
    job.wait_for("driver at")
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 75
    assert job.read("scontrol") == "requeue 12\n"
    assert "the study still runs: killed, to be requeued" in job.said
    assert sorted(job.read("ended").split()) == ["n1", "n2"]


def test_requeue_does_not_wait_for_the_end_of_ray(start_job: StartJob) -> None:
    job = start_job("n1,n2", PATIENCE_S, "--requeue")
    job.wait_for("driver at")
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 75
    assert job.read("scontrol") == "requeue 12\n"
    assert not (job.seen / "late").exists()


@pytest.mark.parametrize(("refusals", "requeued"), [("2", True), ("9", False)])
def test_log_says_requeued_only_once_slurm_does_it(
    start_job: StartJob, monkeypatch: pytest.MonkeyPatch, refusals: str, requeued: bool
) -> None:
    monkeypatch.setenv("REFUSALS", refusals)
    job = start_job("n1", PATIENCE_S, "--requeue")
    job.wait_for("driver at")
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 75
    assert job.read("scontrol") == "requeue 12\n" * 3
    assert "scontrol requeue: slurm is away" in job.said
    assert ("requeued, to be resumed" in job.said) is requeued
    assert ("not requeued: submit the study again, and it resumes" in job.said) is not requeued


def test_cancelled_study_has_the_time_that_slurm_gives(
    start_job: StartJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGERS", "5")
    job = start_job("n1", PATIENCE_S, "--requeue", "--notice-s=12")
    job.wait_for("driver at")
    for number in (signal.SIGUSR1, signal.SIGTERM):
        job.process.send_signal(number)
    assert job.end() == 75
    assert "told 1" in job.said
    assert job.read("scontrol") == ""


def test_short_job_of_an_array_is_not_requeued(start_job: StartJob) -> None:
    job = start_job("n1")
    job.wait_for("driver at")
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 75
    assert job.read("scontrol") == ""


def test_cancelled_job_shuts_down_once_and_is_not_requeued(start_job: StartJob) -> None:
    job = start_job("n1,n2", PATIENCE_S, "--requeue")
    job.wait_for("driver at")
    for _ in range(3):
        job.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert job.end() == 75
    assert "told 1" in job.said
    assert job.read("scontrol") == ""


def test_signal_before_the_study_runs_counts(start_job: StartJob) -> None:
    job = start_job("late1", PATIENCE_S, "--requeue")
    wait_until(lambda: bool(job.read("srun")), "a step of Slurm")
    job.process.send_signal(signal.SIGUSR1)
    assert job.end() == 75
    assert job.read("scontrol") == "requeue 12\n"


def test_token_is_new_for_every_start_and_in_no_command_line(start_job: StartJob) -> None:
    job = start_job("n1,n2", 0)
    job.end()
    token = job.read("token").strip()
    assert len(token) == 64
    assert token not in job.read("srun") + job.said


def test_job_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(ROOT / "jobs" / "slurm" / "job.py"), "--help"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_file_beside_the_job_hides_a_module_of_the_standard_library() -> None:
    beside = {path.stem for path in (ROOT / "jobs" / "slurm").glob("*.py")}
    assert not beside & sys.stdlib_module_names
