"""TODO"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a metric is shown: accuracies in percent and points, losses as they are."""

    name: str
    mode: Literal["max", "min"]

    @property
    def test(self) -> str:
        """The same on the test split."""
        return self.name.replace("val_", "test_", 1)

    @property
    def noun(self) -> str:
        return self.name.removeprefix("val_")

    @property
    def is_share(self) -> bool:
        return self.noun == "accuracy"

    @property
    def unit(self) -> str:
        return " %" if self.is_share else ""

    @property
    def step(self) -> str:
        """The unit of a difference."""
        return " points" if self.is_share else ""

    def scaled(self, value: float) -> float:
        """In the unit shown."""
        return 100 * value if self.is_share else value

    def number(self, value: float | None, sign: str = "") -> str:
        """In the unit shown, without naming it; `sign="+"` for differences."""
        if value is None:
            return "-"
        text = f"{self.scaled(value):{sign}.{2 if self.is_share else 4}f}"
        return text if float(text) != 0 else text.replace("-", "+" if sign else "")


def short(key: str) -> str:
    """A parameter's name without its section."""
    return key.rpartition(".")[2]


def text_of(value: Any) -> str:
    """A level or a tuned value, numbers with four digits, a list as `0,1,3`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
