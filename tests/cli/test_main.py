"""The command `karat`: its subcommands, and its message about unknown ones."""

import re

import pytest

from karat import __version__
from karat.cli.exit_status import WRONG_INPUT
from karat.cli.main import COMMANDS, main


@pytest.mark.parametrize("word", ["foo", "--foo", "--"])
def test_unknown_command_lists_the_known_ones(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == WRONG_INPUT
    said = capsys.readouterr().err
    assert f"unknown command '{word}'. Known: {', '.join(sorted(COMMANDS))}" in said


def test_mistyped_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["lauch", "--space", "x"])
    assert "did you mean 'launch'?" in capsys.readouterr().err


def test_no_command_is_wrong_input_and_lists_the_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == WRONG_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    # argparse puts the help of the longest name on the next line.
    assert all(re.search(rf"^    {name}\s", said.err, re.MULTILINE) for name in COMMANDS)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"karat {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: karat {name}" in capsys.readouterr().out
