"""Messages say what is meant, for what people really type."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space.overrides import read_question, space_path
from karat.space.reader import load_space
from tests.conftest import ROOT

WriteSpace = Callable[..., Path]


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("epochs", "5", "did you mean 'training.epochs'?"),
        ("lr", "0.1", "did you mean 'training.learning_rate'?"),
        ("seeds", "5", "did you mean 'confirm.seeds'?"),
        ("cofirm.seeds", "5", "did you mean 'confirm'?"),
        ("training.lr", "0.1", "did you mean 'learning_rate'?"),
        ("training.wd", "0.1", "did you mean 'weight_decay'?"),
        (
            "tuned.training.learning_rate",
            "[1e-3, 1e-2]",
            "must be a range {low: 0.001, high: 0.01}",
        ),
        ("confirm.seeds", '"54"', "must be a whole number; write 54 without quotes"),
        ("training.weight_decay", '"0.1"', "must be a number; write 0.1 without quotes"),
        ("confirm.seeds", "many", "confirm.seeds = 'many': must be a whole number"),
        ("training.epochs", "null", "training.epochs: is empty; it must be a whole number"),
    ],
)
def test_what_is_meant_is_named(write_space: WriteSpace, key: str, text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        load_space(write_space(), {key: text})
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_key_of_the_file_is_told_its_section(write_space: WriteSpace) -> None:
    with pytest.raises(InputError, match=r"did you mean 'training\.epochs'"):
        load_space(write_space(("reference:", "epochs: 4\nreference:")))


def test_space_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    expected = Path("search_spaces/fourier_grid.yaml")
    for typed in ("fourier_grid", "fourier_grid.yaml", "search_spaces/fourier_grid", str(expected)):
        assert space_path(typed) == expected
    own = tmp_path / "fourier_grid"
    own.write_text("")
    assert space_path(str(own)) == own


@pytest.mark.parametrize("typed", ["fourier_gird", "search_spaces/fourier_gird.yaml"])
def test_nearest_space_is_offered(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=r"Did you mean search_spaces/fourier_grid\.yaml\?"):
        read_question(space_path(typed), (), None)


def test_file_like_no_other_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"zzzz: cannot be read \(No such file or directory\)$"):
        read_question(space_path(str(tmp_path / "zzzz")), (), None)
