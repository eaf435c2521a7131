"""One epoch for every trial of an arm; then the best few go on in full."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from karat.errors import SettingError
from karat.schedulers import ArmSize, Scheduler, several_epochs, several_trials
from karat.settings import at_least


@dataclass(kw_only=True)
class _Arm:
    """The trials of one arm: `values` after their first epoch, `passed` those that go on."""

    asked: set[int] = field(default_factory=set)
    values: dict[int, float] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)
    is_decided: bool = False


@dataclass(kw_only=True)
class OneEpoch(Scheduler):
    """Trains every trial of an arm for one epoch; the best `keep` then go on to full length.

    Until all trials of its arm have had their epoch, or have failed in it, a trial waits and gives its
    slot to another. Ties go to the trial that was asked for first. If the search is cut, the trials
    asked for so far are all. Trials that an extension adds to an arm go on at once if they are among
    its best `keep` so far. It is successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943)
    with one rung, after the first epoch, within each arm.

    Args:
        keep: trials of each arm that go on.
    """

    keep: int = 2
    _arms: dict[str, _Arm] = field(default_factory=dict, init=False)
    _arm_of: dict[int, str] = field(default_factory=dict, init=False)
    _rejected: list[int] = field(default_factory=list, init=False)
    _is_closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        at_least("keep", self.keep, 1)

    def fit(self, arms: Mapping[str, ArmSize]) -> None:
        super().fit(arms)
        self._is_closed = False
        if self.fewest is None:
            rule = "must know how many trials an arm has; use search.allocation: equal, or another rule"
            raise SettingError("scheduler", rule, "one_epoch")
        several_epochs(self, "one_epoch")
        several_trials(self, "one_epoch")
        if self.keep >= self.fewest:
            raise SettingError(
                "keep",
                f"no trial would be stopped: an arm has {self.fewest} trials; must be below that",
                self.keep,
            )

    def in_words(self) -> str:
        return f"after one epoch of all trials of an arm the best {self.keep} go on"

    def on_asked(self, arm: str, trial: int) -> None:
        self._arms.setdefault(arm, _Arm()).asked.add(trial)
        self._arm_of[trial] = arm

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        found = self._arms[arm]
        if epoch > 1 or trial in found.values:
            return False
        found.values[trial] = self.signed(value)
        if not found.is_decided:
            self._decide(arm)
            if trial in self._rejected:
                self._rejected.remove(trial)
                return True
            return False
        if trial in self._best(found):
            found.passed.add(trial)
            return False
        return True

    def on_ended(self, arm: str, trial: int) -> None:
        found = self._arms.get(arm)
        if found is not None and trial in found.asked - found.values.keys():
            found.gone.add(trial)
            if not found.is_decided:
                self._decide(arm)

    def close(self) -> None:
        self._is_closed = True
        for arm, found in self._arms.items():
            if not found.is_decided:
                self._decide(arm)

    def waits(self, trial: int) -> bool:
        arm = self._arms.get(self._arm_of.get(trial, ""))
        return arm is not None and trial in arm.values and not arm.is_decided

    def rejected(self) -> Iterable[int]:
        found, self._rejected = self._rejected, []
        return found

    def _decide(self, arm: str) -> None:
        """Choose the trials that go on, once all of the arm have had their epoch."""
        found = self._arms[arm]
        wanted = len(found.asked) if self._is_closed else self.arms[arm].trials
        assert wanted is not None  # `fit` refuses a search whose sampler chooses the arms
        if len(found.values) + len(found.gone) < wanted:
            return
        found.is_decided = True
        found.passed = set(self._best(found))
        self._rejected += [trial for trial in found.values if trial not in found.passed]

    def _best(self, arm: _Arm) -> list[int]:
        ranked = sorted(arm.values, key=lambda trial: (-arm.values[trial], trial))
        return ranked[: self.keep]
