"""Early-stopping rules: one file each, registered in `SCHEDULERS` by file name."""

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from karat.catalog import Catalog
from karat.errors import SettingError
from karat.settings import build

__all__ = ["SCHEDULERS", "ArmSize", "Scheduler", "audit_share_of", "make_scheduler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSize:
    """How much a study searches in one arm.

    Args:
        trials: planned search trials; None where the sampler chooses the arms.
        epochs: of a trial at full length.
    """

    trials: int | None
    epochs: int


@dataclass(kw_only=True)
class Scheduler(abc.ABC):
    """Decides after each epoch of a search trial whether the trial continues.

    Every method is called in the order of the journal, both in a running study and when a study is
    resumed or replayed. The answers must depend on these calls alone. Values are finite.

    Most rules implement `on_report` alone. A rule that must see several trials before it decides also
    implements `waits` and `rejected`: a trial that waits gives its slot to another one.

    Args:
        mode: `max` or `min`, from the section `search`.
    """

    mode: str = "max"
    arms: Mapping[str, ArmSize] = field(default_factory=dict, init=False)

    def fit(self, arms: Mapping[str, ArmSize]) -> None:
        """Take the sizes of the arms: at first, and when an extension has made the study larger.

        Raises:
            SettingError: a setting is impossible for these arms.
        """
        self.arms = arms

    def on_asked(self, arm: str, trial: int) -> None:  # noqa: B027 - optional
        """A trial was asked for."""

    @abc.abstractmethod
    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        """Record a report; True if the trial must stop.

        Args:
            arm: label of the trial's arm.
            trial: number of the trial.
            epoch: epochs done, from 1; an epoch is reported again if its checkpoint was lost.
            value: value of the search metric.
        """

    def on_ended(self, arm: str, trial: int) -> None:  # noqa: B027 - optional
        """A trial ended: completed, stopped or failed."""

    def close(self) -> None:  # noqa: B027 - optional
        """No more trials will be asked for, though the arms have fewer than planned."""

    def waits(self, trial: int) -> bool:
        """Whether a trial must not train now, until the rule has decided about it."""
        return False

    def rejected(self) -> Iterable[int]:
        """The trials that have waited and must stop now; each is returned once."""
        return ()

    @property
    def longest(self) -> int:
        """Epochs of the longest trials at full length."""
        return max(arm.epochs for arm in self.arms.values())

    @property
    def fewest(self) -> int | None:
        """Trials of the arm that has the fewest; None where the sampler chooses the arms."""
        counts = [arm.trials for arm in self.arms.values() if arm.trials is not None]
        return min(counts, default=None)

    def signed(self, value: float) -> float:
        """The value, or its negative where low values are good."""
        return value if self.mode == "max" else -value


SCHEDULERS = Catalog(Scheduler, "early_stopping.scheduler")  # type: ignore[type-abstract]


def make_scheduler(values: Mapping[str, Any], mode: str, arms: Mapping[str, ArmSize]) -> Scheduler:
    """The rule of the section `early_stopping` of a space.

    Args:
        values: the section.
        mode: of the section `search`.
        arms: label of each arm to its size.

    Raises:
        SettingError: the name or a setting is unknown, or impossible for these arms.
    """
    settings = dict(values)
    settings.pop("audit_share", None)
    audit_share_of(values)
    name = settings.pop("scheduler", None)
    if not isinstance(name, str):
        raise SettingError("early_stopping.scheduler", "must be the name of a rule", name)
    if "mode" in settings:
        raise SettingError("early_stopping.mode", "must be set in the section search")
    rule = build(SCHEDULERS[name], {**settings, "mode": mode}, "early_stopping")
    try:
        rule.fit(arms)
    except SettingError as error:
        raise SettingError(f"early_stopping.{error.key}", error.rule, error.value) from None
    return rule


def audit_share_of(values: Mapping[str, Any]) -> float:
    """The share of the stopped trials that is finished anyway, of the section `early_stopping`.

    Raises:
        SettingError: it is no share, or nothing is ever stopped.
    """
    share = values.get("audit_share", 0)
    key = "early_stopping.audit_share"
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        raise SettingError(key, "must be a number from 0 to 1", share)
    if share and values.get("scheduler") == "none":
        raise SettingError(
            key, "has nothing to finish, since scheduler: none stops no trial", share
        )
    return float(share)


def grace_within(rule: Scheduler, grace_epochs: int) -> None:
    """Refuse a grace period that is longer than every trial.

    Raises:
        SettingError: it is.
    """
    if grace_epochs > rule.longest:
        raise SettingError(
            "grace_epochs",
            f"no trial would be stopped, since trials have {rule.longest} epochs; must be at most "
            f"{rule.longest}, or use scheduler: none",
            grace_epochs,
        )
