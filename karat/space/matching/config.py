"""The section `match` of a space, checked as far as it can be without the arms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from karat.errors import SettingError
from karat.settings import fraction

KEY = "match"
Cost = Literal["parameters", "macs", "step_time", "memory"]
MEASURED = (
    "step_time",
    "memory",
)  # on the machine of the launch; the others follow from the settings
WORDS: Mapping[Cost, str] = {
    "parameters": "parameters",
    "macs": "multiply-adds of one image",
    "step_time": "time of a training step",
    "memory": "memory of training",
}
WITHIN: Mapping[Cost, float] = {
    "parameters": 0.02,
    "macs": 0.02,
    "step_time": 0.1,
    "memory": 0.1,
}


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """Beside every arm that costs more or less than its reference, one that costs the same.

    Args:
        by: the cost that is made equal: `parameters` of the model; `macs`, the multiply-adds of the forward pass of
            one image, as `karat costs` counts them; `step_time`, the time of a training step, which is measured at the
            first launch, on the machine of the launch; or `memory`, what a training step of one process allocates there.
        change: what may be changed for it: full name of a setting of `model` or `attention`, which is neither a factor
            nor tuned, to the least and the highest whole number that it may have, as `attention.rank: [4, 17]`. An
            arm uses those that it has; as few as suffice, in this order.
        within: how far the cost may be from that of the reference, as a share of it. None is 0.02, and
            0.1 for time and memory.
        arms: the values, by the label of the arm; nothing for an arm that costs the same as it is. karat chooses
            them, and writes them down with the question; given here they are taken instead.
        costs: the measured costs, by the label of the arm, in seconds or bytes; written down by karat as well.
    """

    by: Cost = field(metadata={"missing": "is missing: parameters, macs, step_time or memory"})
    change: Mapping[str, Any] = field(
        metadata={"missing": "is missing; write {attention.rank: [4, 17]}"}
    )
    within: float | None = None
    arms: Mapping[str, Any] | None = None
    costs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.within is not None:
            fraction("within", self.within)
        if self.by not in MEASURED and self.costs is not None:
            rule = f"does not go with by: {self.by}, which follows from the settings; leave it out"
            raise SettingError("costs", rule)
        if self.by in MEASURED and (self.costs is None) != (self.arms is None):
            rule = f"must be given together with {'costs' if self.costs is None else 'arms'}"
            raise SettingError("arms" if self.costs is None else "costs", rule)

    @property
    def chosen(self) -> Mapping[str, Any]:
        """`arms`, as far as they are known."""
        return self.arms or {}

    @property
    def tolerance(self) -> float:
        """The largest deviation, as a share of the reference's cost."""
        return WITHIN[self.by] if self.within is None else self.within
