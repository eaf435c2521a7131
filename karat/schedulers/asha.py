"""Asynchronous successive halving, with separate rungs for every arm."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from karat.schedulers import ArmSize, Scheduler, grace_within
from karat.schedulers._rungs import Rungs
from karat.settings import at_least


@dataclass(kw_only=True)
class ASHA(Scheduler):
    """ASHA (Li et al. 2020, arXiv 1810.05934), the stopping variant, as in Ray Tune's scheduler.

    At the rungs `grace_epochs * reduction_factor^k` a trial continues if its value is at least the
    1 - 1 / `reduction_factor` quantile (by linear interpolation) of the trials that reached the rung
    before it; the first trial always continues. Departure: trials are compared within their arm, so
    that an arm that learns slowly at first is not stopped because of a fast one.

    With `by_arm` False and an integer reduction factor, all decisions are those of Ray. For other
    factors, this class rounds a rung to the nearest epoch; Ray rounds up, which is the stricter
    reading of the paper. By rounding errors, a value equal to the quantile may count as below it:
    with a factor of 3 in both, with 6 only in Ray.

    Args:
        grace_epochs: the first rung, below the epochs of a trial; no trial is stopped before it.
        reduction_factor: at least 1.1; about 1 / `reduction_factor` of the trials pass a rung.
        by_arm: False compares all trials with each other, as Ray does.
    """

    grace_epochs: int = 1
    reduction_factor: float = 3
    by_arm: bool = True
    _rungs: Rungs = field(default_factory=Rungs, init=False)

    def __post_init__(self) -> None:
        at_least("grace_epochs", self.grace_epochs, 1)
        # `is_rung` goes through all rungs, of which a factor close to 1 would give very many.
        at_least("reduction_factor", self.reduction_factor, 1.1)

    def fit(self, arms: Mapping[str, ArmSize]) -> None:
        super().fit(arms)
        grace_within(self, self.grace_epochs)

    def in_words(self) -> str:
        rungs = [epoch for epoch in range(1, self.longest) if self.is_rung(epoch)]
        if not rungs:
            return "no trial is stopped, since trials have 1 epoch"
        if self.by_arm and all(arm.trials == 1 for arm in self.arms.values()):
            return "no trial is stopped, since each arm has 1 trial"
        among = "the trials of its arm" if self.by_arm else "all trials"
        return f"after epoch {', '.join(map(str, rungs))} about 1 of {self.reduction_factor:g} of {among} goes on"

    def is_rung(self, epoch: int) -> bool:
        """Whether trials are compared after this many epochs."""
        rung = float(self.grace_epochs)
        while round(rung) < epoch:
            rung *= self.reduction_factor
        return round(rung) == epoch

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        if not self.is_rung(epoch):
            return False
        rung = (arm if self.by_arm else "", epoch)
        return self._rungs.stops(rung, trial, self.signed(value), self.reduction_factor)
