"""Early-stopping rules: one file each, registered in `SCHEDULERS` by file name."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.catalog import Catalog
from karat.errors import SettingError
from karat.settings import build

__all__ = ["SCHEDULERS", "Scheduler", "make_scheduler"]


@dataclass(kw_only=True)
class Scheduler(abc.ABC):
    """Decides after each epoch of a search trial whether the trial continues.

    `on_report` is called once for every report, in the order of the journal, both in a running study
    and when a study is resumed. The answer must depend on the reports alone. Values are finite.

    Args:
        mode: `max` or `min`, from the section `search`.
    """

    mode: str = "max"

    @abc.abstractmethod
    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        """Record a report; True if the trial must stop.

        Args:
            arm: label of the trial's arm.
            trial: number of the trial.
            epoch: epochs done, from 1.
            value: value of the search metric.
        """


SCHEDULERS = Catalog(Scheduler, "early_stopping.scheduler")  # type: ignore[type-abstract]


def make_scheduler(values: Mapping[str, Any], mode: str) -> Scheduler:
    """The rule of the section `early_stopping` of a space.

    Raises:
        SettingError: the name or a setting is unknown.
    """
    settings = dict(values)
    name = settings.pop("scheduler", None)
    if not isinstance(name, str):
        raise SettingError("early_stopping.scheduler", "must be the name of a rule", name)
    if "mode" in settings:
        raise SettingError("early_stopping.mode", "must be set in the section search")
    return build(SCHEDULERS[name], {**settings, "mode": mode}, "early_stopping")
