"""Early-stopping rules: one file each, registered in `SCHEDULERS` by file name."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from karat.catalog import Catalog
from karat.errors import SettingError, nearest
from karat.settings import build, fields_of, unknown_key

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
    several_goals: ClassVar[bool] = False  # whether it implements `on_goals`

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

    def on_goals(self, arm: str, trial: int, epoch: int, values: Sequence[float]) -> bool:
        """As `on_report`, of a search with several goals, for rules with `several_goals`.

        Args:
            arm, trial, epoch: as there.
            values: of each goal, of which high ones are good.
        """
        raise AssertionError("the space was to refuse this rule for several goals")

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

    @abc.abstractmethod
    def in_words(self) -> str:
        """When a trial is stopped, with the values of the settings, as a phrase for the plan."""

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


NONE = "none"  # the rule that stops no trial

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
        rule_ = f"must be the name of a rule. {nearest(name or '', SCHEDULERS)}"
        raise SettingError("early_stopping.scheduler", rule_, name)
    if "mode" in settings:
        raise SettingError("early_stopping.mode", "must be set in the section search")
    _refuse_unknown(name, settings)
    if name == NONE:
        settings = {}
    rule = build(SCHEDULERS[name], {**settings, "mode": mode}, "early_stopping")
    try:
        rule.fit(arms)
    except SettingError as error:
        raise SettingError(f"early_stopping.{error.key}", error.rule, error.value) from None
    return rule


def settings_of(name: str) -> tuple[str, ...]:
    """The settings of a rule in the section `early_stopping`, without those of every rule."""
    return tuple(key for key in fields_of(SCHEDULERS[name]) if key != "mode")


def ignored_by(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings in the section `early_stopping` that have no effect: with `none` all but the rule's name."""
    return tuple(key for key in values if key != "scheduler") if values["scheduler"] == NONE else ()


def _refuse_unknown(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that the rule does not have; `none` ignores those that another rule has.

    Raises:
        UnknownKeyError: with the known ones.
    """
    known = settings_of(name)
    if name == NONE:
        known = tuple({key: None for each in SCHEDULERS for key in settings_of(each)})
    for key in settings:
        if key not in known:
            raise unknown_key(f"early_stopping.{key}", ("scheduler", "audit_share", *known))


def audit_share_of(values: Mapping[str, Any]) -> float:
    """The share of the stopped trials that is finished anyway, of the section `early_stopping`; 0 with `none`.

    Raises:
        SettingError: it is no share.
    """
    share = values.get("audit_share", 0)
    key = "early_stopping.audit_share"
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        rule = "must be a number from 0 to 1"
        if isinstance(share, int | float) and 1 < share <= 100:
            rule += f"; {share:g} % are {share / 100:g}"
        raise SettingError(key, rule, share)
    return 0.0 if values.get("scheduler") == NONE else float(share)


def several_epochs(rule: Scheduler, name: str) -> None:
    """Refuse trials of one epoch, which end where they could be compared.

    Raises:
        SettingError: no setting of the rule would make it stop a trial.
    """
    if rule.longest < 2:
        rule_ = "needs trials of at least 2 epochs; these have 1. Otherwise use none"
        raise SettingError("scheduler", rule_, name)


def several_trials(rule: Scheduler, name: str) -> None:
    """Refuse arms of one trial, which has no other to be compared with.

    Raises:
        SettingError: no setting of the rule would make it stop a trial.
    """
    if rule.fewest == 1:
        rule_ = "compares the trials of an arm, and an arm has 1. Use more search.trials, or none"
        raise SettingError("scheduler", rule_, name)


def grace_within(rule: Scheduler, grace_epochs: int) -> None:
    """Refuse a grace period that is as long as every trial.

    Raises:
        SettingError: it is.
    """
    # At its last epoch a trial is complete. One epoch of grace is the least that there is.
    if grace_epochs >= max(rule.longest, 2):
        remedy = f"must be below {rule.longest}, or use" if rule.longest > 1 else "use"
        count = f"{rule.longest} epoch{'s' * (rule.longest > 1)}"
        raise SettingError(
            "grace_epochs",
            f"no trial would be stopped, since trials have {count}; {remedy} scheduler: none",
            grace_epochs,
        )
