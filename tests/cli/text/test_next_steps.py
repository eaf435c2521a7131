"""Every command on a study ends with what to look at next, and says it in a form that works."""

import shlex
from pathlib import Path

import pytest
from rich.console import Console

from karat.cli.driver import _show_end
from karat.cli.main import COMMANDS
from karat.cli.studies.named import STORAGE, study_folder
from karat.cli.text.next_steps import after, next_lines, shown_study
from tests import journals
from tests.cli.conftest import Run
from tests.journals import Plan


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show", "end"),
        ("show", "end", "3"),
        ("best", "end"),
        ("compare", "end:3", "end:4"),
        ("watch", "end"),
        ("report", "end"),
        ("audit", "created", "--no-tracking"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("without_question")
def test_a_command_ends_with_what_to_look_at_next(
    studies: Path, said: Run, words: tuple[str, ...]
) -> None:
    lines = said(*words).rstrip().splitlines()
    last = [line.removeprefix("# ") for line in lines[-2:]]
    [first] = [line for line in last if line.startswith("next:")]
    assert first.startswith("next:  python -m karat ")
    for line in last[last.index(first) :]:
        command = shlex.split(line.removeprefix("next:"))[3:]
        assert command[0] in {*COMMANDS, "ui"}
        assert command[0] in ("list", "ui") or study_folder(command[1]).is_dir()


@pytest.mark.parametrize("command", [*COMMANDS, "show-trial"])
@pytest.mark.parametrize("activity", ["running", "completed", "failed", "interrupted", "killed"])
def test_one_or_two_commands_are_named_and_not_the_same_again(command: str, activity: str) -> None:
    found = after(command, activity)
    assert 1 <= len(found) <= 2
    assert command not in [each.split()[0] for each in found]
    assert len(next_lines(Path("studies/a b"), *found)) == 1 + len(found)


def test_a_launch_ends_with_it_too() -> None:
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
    assert _show_end(journals.study(Plan()).state, STORAGE / "fourier-grid", console) == 0
    assert "next:  python -m karat best fourier-grid" in console.export_text()


def test_a_study_is_named_as_it_can_be_typed() -> None:
    assert shown_study(STORAGE / "basis") == "basis"
    assert shown_study(Path("/elsewhere/basis")) == "/elsewhere/basis"
    assert "show '/a b/c'" in next_lines(Path("/a b/c"), "show {}")[1]
