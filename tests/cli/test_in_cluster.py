"""A launch inside a cluster: which Ray it joins, what is retried, and what is not."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.cli import driver, in_cluster
from karat.cli.exit_status import FAILED, INTERRUPTED, OK, WRONG_INPUT
from karat.journal.journal import Journal
from karat.system.process.signals import Interruption
from tests.conftest import ROOT

WriteSpace = Callable[..., Path]
Ended = Callable[[Callable[[Interruption], int]], int]


@pytest.fixture
def ended(write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Return the exit status of a job whose study is replaced by the given function."""
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("KARAT_IF_LOCKED", "")  # so that monkeypatch restores it
    words = ["--space", str(write_space()), "--storage", str(tmp_path / "studies")]
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def run(study: Callable[[Interruption], int]) -> int:
        def drive(*_: object, interruption: Interruption, **__: object) -> int:
            return study(interruption)

        monkeypatch.setattr(driver, "drive", drive)
        try:
            return in_cluster.main(["--retried", *words])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    return run


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (FAILED, "exited with status 1: it failed; it is not retried"),
        (WRONG_INPUT, "exited with status 2: its input is wrong; it is not retried"),
        (
            INTERRUPTED,
            "exited with status 75: its budget is spent, or its disk is full; it is not retried",
        ),
    ],
)
def test_failure_that_another_cluster_would_repeat_is_not_retried(
    ended: Ended, capsys: pytest.CaptureFixture[str], status: int, said: str
) -> None:
    assert ended(lambda _: status) == 0
    assert said in capsys.readouterr().out


def test_success_exits_with_zero(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(lambda _: OK) == 0
    assert "retried" not in capsys.readouterr().out


def test_launch_receives_the_signal_and_is_retried(ended: Ended) -> None:
    told: list[str | None] = []

    def interrupted(interruption: Interruption) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        told.append(interruption.signal)
        return INTERRUPTED

    assert ended(interrupted) == INTERRUPTED
    assert told == ["SIGTERM"]


def test_crash_is_retried(ended: Ended) -> None:
    def crash(_: Interruption) -> int:
        raise RuntimeError("the head is gone")

    with pytest.raises(RuntimeError):  # Python exits with status 1
        ended(crash)


def test_study_that_another_driver_still_holds_is_retried(
    ended: Ended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def locked(_: Interruption) -> int:
        Journal.open(tmp_path / "held")
        return OK

    with Journal.open(tmp_path / "held"):
        assert ended(locked) == os.EX_UNAVAILABLE
    assert "is already running" in capsys.readouterr().err


def test_wrong_input_of_a_real_job_exits_with_zero_and_the_reason(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("study: small\n")
    done = subprocess.run(
        [sys.executable, "-m", "karat.cli.in_cluster", "--retried", "--space", str(space)],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": "head:6379"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"error: {space}")
    assert "exited with status 2" in done.stdout


def test_ray_is_closed_before_it_is_imported() -> None:
    code = "import sys, karat.cli.in_cluster, json; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert not {"ray", "torch", "mlflow"} & set(json.loads(done.stdout))


def test_launch_joins_the_ray_of_its_job_and_prints_the_resume_command(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(driver, "drive", lambda *_, **given: seen.update(given) or OK)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert in_cluster.main(["--space", str(write_space()), "--name", "n"]) == OK
    assert seen["address"] == "head:6379"
    assert seen["command"] == f"python launch.py --space {write_space()} --name n"


def test_without_retries_the_status_is_that_of_the_study(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "drive", lambda *_, **__: INTERRUPTED)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert in_cluster.main(["--space", str(write_space())]) == INTERRUPTED


def test_outside_of_a_job_the_error_names_the_missing_variable(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert in_cluster.main(["--space", str(write_space())]) == WRONG_INPUT
    assert "RAY_ADDRESS is missing" in capsys.readouterr().err
