"""The metric that a study optimises, as a fact; `karat.report.formatting` shows its values."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The metric of the search, measured on the validation split.

    Args:
        name: as a trial reports it (`val_accuracy`).
        mode: whether the highest (`max`) or the lowest (`min`) value is the best.
    """

    name: str
    mode: Literal["max", "min"]

    @property
    def test(self) -> str:
        """Name of the same metric on the test split."""
        return self.name.replace("val_", "test_", 1)

    @property
    def noun(self) -> str:
        """What it measures: `accuracy` or `loss`."""
        return self.name.removeprefix("val_")

    @property
    def is_share(self) -> bool:
        """Whether its values are shares of 1."""
        return self.noun == "accuracy"
