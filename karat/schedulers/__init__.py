"""Early stopping by name: one file each, found by `SCHEDULERS`."""

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
    """Decides after each epoch of a search trial whether it goes on.

    `on_report` is called once for every report in the journal's order, live or when a study is
    resumed; the answer must follow from the reports alone. Values are finite.

    Args:
        mode: `max` or `min`; from the search, not from the file's `early_stopping`.
    """

    mode: str = "max"

    @abc.abstractmethod
    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        """Take a report in; True if the trial is to be stopped.

        Args:
            arm: label of the trial's arm.
            trial: its number.
            epoch: epochs done, from 1.
            value: of the search's metric.
        """


SCHEDULERS = Catalog(Scheduler, "early_stopping.scheduler")  # type: ignore[type-abstract]


def make_scheduler(values: Mapping[str, Any], mode: str) -> Scheduler:
    """The rule that the `early_stopping` section names.

    Raises:
        SettingError: unknown name or setting.
    """
    settings = dict(values)
    name = settings.pop("scheduler", None)
    if not isinstance(name, str):
        raise SettingError("early_stopping.scheduler", "must be the name of a rule", name)
    if "mode" in settings:
        raise SettingError("early_stopping.mode", "stands under search")
    return build(SCHEDULERS[name], {**settings, "mode": mode}, "early_stopping")
