"""Each mistake is told in one line: what was wrong, where, and what would be right."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.cli.exit_status import WRONG_INPUT
from karat.cli.launch import launch
from karat.errors import InputError
from karat.planning.extension import extended_source
from karat.space.space import Space
from tests.cli.mistakes import COMMANDS, EMPTY_FOLDERS, EXTENSIONS, FILES, FOLDERS, SPACE
from tests.conftest import SMALL

Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """What a launch says that refuses its command, without the folder of the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)

    def refuse(*words: str, space: str = "small.yaml") -> str:
        try:
            status = launch(["--space", space, "--dry-run", *words])
        except SystemExit as ended:  # of argparse
            status = ended.code  # type: ignore[assignment]
        printed = capsys.readouterr()
        assert status == WRONG_INPUT, printed.out
        assert printed.out == ""
        [line] = printed.err.splitlines()
        assert line.isprintable()
        return line.removeprefix("error: ").replace(f"{tmp_path}/", "")

    return refuse


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image folders, each with something wrong."""
    root = tmp_path_factory.mktemp("images")
    for name in (*FOLDERS, *EMPTY_FOLDERS):
        (root / name).mkdir(parents=True)
    for name in FOLDERS:
        (root / name / "0.png").touch()
    return root


def assert_said(message: str, said: str) -> None:
    """The parts of a message are in what was said, in their order."""
    assert re.search(".*".join(map(re.escape, message.split("…"))), said), said


@pytest.mark.parametrize(("old", "new", "message"), SPACE)
def test_mistake_in_a_space_is_told_with_its_line(
    refused: Refused, images: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in SMALL
    text = SMALL.replace(old, new.replace("IMAGES", str(images)), 1)
    (tmp_path / "small.yaml").write_text(text)
    expected = message.replace("IMAGES", str(images)).replace("space.yaml", "small.yaml")
    assert_said(f"small.yaml{expected}", refused())


@pytest.mark.parametrize(("words", "message"), COMMANDS)
def test_mistake_in_a_command_is_told(refused: Refused, words: list[str], message: str) -> None:
    assert_said(message, refused(*words))


@pytest.mark.parametrize(("name", "content", "message"), FILES)
def test_what_is_no_search_space_is_told(
    refused: Refused, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert_said(message, refused(space=name))


@pytest.mark.parametrize(("assignment", "message"), EXTENSIONS)
def test_mistake_in_an_extension_is_told(small_space: Space, assignment: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        extended_source(small_space, [assignment])
    assert str(caught.value).startswith(message)


def test_no_early_stopping_ignores_the_settings_of_the_other_rules(
    write_space: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_space(("scheduler: asha", "scheduler: none, audit_share: 0.1"))
    assert launch(["--space", str(path), "--dry-run"]) == 0
    assert "early stopping: none" in capsys.readouterr().out


def test_the_table_is_long() -> None:
    rows = (*SPACE, *COMMANDS, *FILES, *EXTENSIONS)
    assert len({str(row[:-1]) for row in rows}) >= 200
