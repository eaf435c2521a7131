"""The metric of a study."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The metric by which a study searches, and its twin on the test split.

    Args:
        name: `val_accuracy` or `val_loss`.
        mode: whether the highest or the lowest is the best.
    """

    name: str
    mode: Literal["max", "min"]

    @property
    def test(self) -> str:
        """Its name on the test split."""
        return self.name.replace("val_", "test_", 1)

    @property
    def noun(self) -> str:
        """What is measured: `accuracy` or `loss`."""
        return self.name.removeprefix("val_")

    @property
    def is_share(self) -> bool:
        """Whether values are from 0 to 1."""
        return self.noun == "accuracy"

    @property
    def worst(self) -> float | None:
        """What a failed run counts as where failures are counted: no image right; a loss has no worst."""
        return 0.0 if self.is_share else None

    def goodness(self, value: float) -> float:
        """The value, or its negative where low values are good: the highest is the best."""
        return value if self.mode == "max" else -value
