from dataclasses import dataclass
from typing import Any, Literal

import pytest

from karat.errors import SettingError
from karat.settings import at_least, build


@dataclass(frozen=True, kw_only=True)
class Example:
    count: int = 1
    share: float = 0.5
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    limit: int | None = None
    flag: bool = False

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 2}, "example.cuont: unknown key. did you mean 'count'?"),
        ({"count": "2"}, "example.count = '2': must be a whole number"),
        ({"count": True}, "example.count = true: must be a whole number"),
        ({"count": 0}, "example.count = 0: must be at least 1"),
        ({"share": "half"}, "example.share = 'half': must be a number"),
        ({"kind": "c"}, "example.kind = 'c': must be one of these. Known: a, b"),
        ({"sizes": [1, "x"]}, "example.sizes[1] = 'x': must be a whole number"),
        ({"flag": 1}, "example.flag = 1: must be true or false"),
        ({"limit": 1.5}, "example.limit = 1.5: must be a whole number"),
    ],
)
def test_wrong_setting_names_key_value_and_rule(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        build(Example, values, "example")
    assert str(caught.value).startswith(message)


def test_valid_settings_are_accepted() -> None:
    example = build(Example, {"share": 1, "sizes": [2, 3], "limit": None, "kind": "b"}, "example")
    assert example == Example(share=1.0, sizes=(2, 3), kind="b")
    assert isinstance(example.share, float)
