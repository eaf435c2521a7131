from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space.yaml_reader import parse_yaml, read_yaml
from tests.costs import calls_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("~", None),
        ("'1e-4'", "1e-4"),
        ("[1, x, {a: b}]", [1, "x", {"a": "b"}]),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    parsed = parse_yaml(text, "here").data
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "here:3: 'a' is given twice"),
        ("a: &x [1]\nb: *x", "here:1: anchors and aliases"),
        ("a: !!python/object:os.system {}", "here:1: the tag"),
        ("a: .nan", "here:1: .nan: numbers must be finite"),
        ("a: [1", "here:1: 'a: [1': a comma is missing, or a bracket is not closed"),
        ("a: 1\n\tb: 2", "here:2: 'b: 2' begins with a tab; indent with spaces"),
        ("? [1, 2]\n: 3", "here:1: a key must be text"),
        ("[" * 40 + "]" * 40, "here:1: nested deeper than"),
    ],
)
def test_ambiguous_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "here")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_alias_bomb_is_refused_before_it_is_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]

    def read() -> None:
        with pytest.raises(InputError, match="aliases"):
            parse_yaml("\n".join(lines), "bomb")

    # It is refused at the first anchor: what follows costs nothing.
    assert calls_of(read) < 3 * calls_of(lambda: parse_yaml("a0: [x, x]", "line"))


def test_large_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: " + "x" * 300_000)
    with pytest.raises(InputError, match="larger than"):
        read_yaml(path)


def test_unclosed_deep_nesting_is_refused() -> None:
    with pytest.raises(InputError):
        parse_yaml("[" * 50_000, "deep")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml: cannot be read \(No such file"):
        read_yaml(tmp_path / "gone.yaml")
    with pytest.raises(InputError, match="is a folder"):
        read_yaml(tmp_path)
