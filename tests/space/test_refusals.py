"""What cannot be answered is refused in one line before anything runs; what has no effect is told in the plan."""

from pathlib import Path

import pytest

from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.launch import launch
from karat.space.reader import load_space, space_of
from tests.space.refusals import ACCEPTED, REFUSED, SPACE, TOLD


def planned(
    folder: Path, assignments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Status, output and errors of a dry run with these assignments."""
    path = folder / "space.yaml"
    path.write_text(SPACE)
    sets = [word for each in assignments for word in ("--set", each)]
    status = launch(["--space", str(path), "--dry-run", "--storage", str(folder), *sets])
    return status, *capsys.readouterr()


@pytest.mark.parametrize(("assignments", "message"), REFUSED)
def test_what_cannot_be_answered_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], assignments: tuple[str, ...], message: str
) -> None:
    status, output, errors = planned(tmp_path, assignments, capsys)
    assert (status, output) == (WRONG_INPUT, "")
    [line] = errors.splitlines()
    assert message.replace("SET", f"--set {assignments[-1]}") in line


@pytest.mark.parametrize(("assignments", "message"), TOLD)
def test_what_has_no_effect_or_another_one_is_told_in_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], assignments: tuple[str, ...], message: str
) -> None:
    status, output, _ = planned(tmp_path, assignments, capsys)
    assert status == OK
    assert message in " ".join(output.split())


@pytest.mark.parametrize("assignments", ACCEPTED)
def test_what_a_space_can_say_is_accepted(tmp_path: Path, assignments: tuple[str, ...]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    assert load_space(path, dict(each.split("=", 1) for each in assignments)).references


@pytest.mark.parametrize(
    ("section", "settings"),
    [("attention", {"content": False}), ("confirm", {"budgets": [1, 15]})],
)
def test_journal_that_holds_what_is_refused_today_stays_readable(
    tmp_path: Path, section: str, settings: dict[str, object]
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    source = dict(load_space(path).source)
    source[section] = {**source[section], **settings}
    found = space_of(source, "base", "journal")
    assert found.references == {"karat": "softmax", "static": "softmax"}
