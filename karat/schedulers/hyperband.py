"""Hyperband: several brackets of successive halving within every arm."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from karat.errors import SettingError
from karat.schedulers import ArmSize, Scheduler, several_epochs, several_trials
from karat.schedulers._rungs import Rungs
from karat.settings import at_least

LEAST_FACTOR = 1.1


@dataclass(kw_only=True)
class Hyperband(Scheduler):
    """Hyperband (Li et al. 2018, JMLR 18(185), arXiv 1603.06560), algorithm 1, within each arm.

    With trials of R epochs, and eta the reduction factor, an arm has the brackets s = 0 to
    s_max = floor(log_eta(R / `grace_epochs`)). In bracket s trials are compared after R eta^-s,
    R eta^(-s+1), ... epochs, s times; bracket 0 stops no trial. A full round of Hyperband has
    ceil((s_max + 1) eta^s / (s + 1)) trials in bracket s.

    Departures: trials are compared as they arrive and not once all of a rung are there (Li et al.
    2020, arXiv 1810.05934, section 3.3, call this asynchronous Hyperband), so that no slot waits. A
    trial's bracket is fixed when it is asked for: the bracket that is furthest behind its share of a
    full round in this arm, and of several the one that stops earliest. It depends on the number of
    trials asked for before in the arm alone, and therefore a resumed study has the same brackets.

    Args:
        grace_epochs: least number of epochs before a trial is stopped.
        reduction_factor: eta, at least 1.1; about 1 / eta of the trials pass a rung.
    """

    grace_epochs: int = 1
    reduction_factor: float = 3
    _rungs: Rungs = field(default_factory=Rungs, init=False)
    _brackets: dict[int, int] = field(default_factory=dict, init=False)
    _counts: dict[str, Counter[int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        at_least("grace_epochs", self.grace_epochs, 1)
        at_least("reduction_factor", self.reduction_factor, LEAST_FACTOR)

    def fit(self, arms: Mapping[str, ArmSize]) -> None:
        super().fit(arms)
        several_epochs(self, "hyperband")
        several_trials(self, "hyperband")
        brackets = 1 + self._last_bracket(self.longest)
        if brackets == 1:
            self._refuse_without_epoch()
        if self.fewest is not None and self.fewest <= brackets:
            raise SettingError(
                "scheduler",
                f"would compare no trials: these settings make {brackets} brackets, and an arm has "
                f"{self.fewest} trials; it needs more trials than brackets",
                "hyperband",
            )

    def _refuse_without_epoch(self) -> NoReturn:
        """Name the setting that leaves no epoch at which trials could be compared: the one that can be mended."""
        eta, grace, longest = self.reduction_factor, self.grace_epochs, self.longest
        rule = f"leaves no epoch to compare trials at: they have {longest} epochs, so it must be at most"
        if eta <= longest:
            most = f"{int(longest / eta)} (epochs / reduction_factor)"
            raise SettingError("grace_epochs", f"{rule} {most}", grace)
        most = f"{longest / grace:g} (epochs / grace_epochs)"
        if longest < LEAST_FACTOR * grace:
            most = f"{longest}, with grace_epochs: 1"
        raise SettingError("reduction_factor", f"{rule} {most}", eta)

    def in_words(self) -> str:
        last = self._last_bracket(self.longest)
        first = min(
            epoch for each in range(1, last + 1) for epoch in self.rungs(each, self.longest)
        )
        return (
            f"in {last + 1} brackets of each arm, of which one stops no trial; in the others about 1 of "
            f"{self.reduction_factor:g} goes on at each comparison, the first after epoch {first}"
        )

    def on_asked(self, arm: str, trial: int) -> None:
        counts = self._counts.setdefault(arm, Counter())
        last = self._last_bracket(self.arms[arm].epochs)
        bracket = min(range(last, -1, -1), key=lambda each: counts[each] / self._share(each, last))
        counts[bracket] += 1
        self._brackets[trial] = bracket

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        bracket = self._brackets[trial]
        if epoch not in self.rungs(bracket, self.arms[arm].epochs):
            return False
        rung = (arm, bracket, epoch)
        return self._rungs.stops(rung, trial, self.signed(value), self.reduction_factor)

    def rungs(self, bracket: int, epochs: int) -> tuple[int, ...]:
        """The numbers of epochs after which trials of a bracket are compared.

        Args:
            bracket: s; larger ones begin to stop earlier.
            epochs: R, of a trial at full length.
        """
        eta = self.reduction_factor
        found = (max(1, round(epochs * eta ** (place - bracket))) for place in range(bracket))
        return tuple(dict.fromkeys(found))

    def _last_bracket(self, epochs: int) -> int:
        """s_max; the small addend undoes the rounding of exact powers."""
        return max(0, int(math.log(epochs / self.grace_epochs, self.reduction_factor) + 1e-9))

    def _share(self, bracket: int, last: int) -> int:
        return math.ceil((last + 1) * self.reduction_factor**bracket / (bracket + 1) - 1e-9)
