"""What `--submit` prints, apart from the text of the cluster's backend."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import Submission, Submitted
from jobs.slurm.backend import Slurm
from karat.cli.command import as_typed
from karat.cli.exit_status import OK
from karat.cli.launch import launch

WriteSpace = Callable[..., Path]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Submission[object]]:
    """Collects the submissions to a fake Slurm that accepts all of them."""
    found: list[Submission[object]] = []

    def submit(_: Slurm, submission: Submission[object]) -> Submitted:
        found.append(submission)
        return Submitted(id="12", watch="tail -F log", stop="scancel 12")

    monkeypatch.setattr(Slurm, "submit", submit)
    return found


def test_resume_command_leaves_out_what_is_done(
    write_space: WriteSpace,
    tmp_path: Path,
    seen: list[Submission[object]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "lab.yaml").write_text("slurm: {nodes: 2}\n")
    words = ["--space", write_space().name, "--storage", "my studies", "--set", "seed=3"]
    given = [*words, "--name", "n", "--fresh", "--submit", "slurm", "--cluster", "lab"]
    assert launch(given) == OK
    *_, resume = capsys.readouterr().out.splitlines()
    assert shlex.split(resume) == [
        *("resume", "python", "launch.py", "--space", f"{tmp_path}/space.yaml"),
        *("--storage", f"{tmp_path}/my studies", "--set", "seed=3", "--name", "n"),
        *("--submit", "slurm", "--cluster", "lab"),
    ]
    (submission,) = seen
    assert "--fresh" in submission.arguments
    assert submission.program == ("-m", "karat.cli.in_cluster")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["launch.py", "--space", "a b"], "python launch.py --space 'a b'"),
        (["/env/bin/karat", "launch"], "karat launch"),
        (["/env/karat/__main__.py", "launch"], "python -m karat launch"),
        ([], "the same command"),
    ],
)
def test_command_line_is_shown_as_it_is_typed(words: list[str], command: str) -> None:
    assert as_typed(words) == command
