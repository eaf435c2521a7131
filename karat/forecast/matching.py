"""Time of a step and memory of training, to match arms in them: measured, or for a plan estimated."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from karat.errors import InputError, TrialError
from karat.forecast.speed.epochs import EpochCosts
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.models.config import OWN
from karat.space.matching.config import KEY
from karat.space.settings import ResourceConfig
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial

Sections = Mapping[str, Mapping[str, Any]]


class Estimating:
    """Costs by the table of step costs, for plans: as many arms as a launch will have, of about their values.

    Args:
        storage: folder of all studies; None to look at no journal.
    """

    def __init__(self, storage: Path | None = None) -> None:
        self._storage = storage
        self._table: EpochCosts | None = None

    def recorded(self, study: str) -> Mapping[str, Any]:
        """The section `match` in the journal of a study; empty without a journal, or where it has none."""
        if self._storage is None or not (self._storage / study / JOURNAL).is_file():
            return {}
        created = StudyState.of(read_events(self._storage / study / JOURNAL)).created
        found: Mapping[str, Any] = created.get("space", {}).get(KEY, {})
        return found

    def cost(self, by: str, sections: Sections, resources: ResourceConfig) -> float:
        """The estimate: a plan measures nothing."""
        return self.estimate(by, sections, resources)

    def estimate(self, by: str, sections: Sections, resources: ResourceConfig) -> float:
        """Seconds of a step on the machine of the table, or for memory the multiply-adds of an image."""
        config = TrialConfig.from_sections(sections)
        config.check()
        if by == "memory":
            return float(costs_of_trial(config).forward_flops)
        if self._table is None:
            self._table = EpochCosts.read()
        size = config.data.info().train_size
        steps = max(1, size // min(config.training.batch_size, size))
        return self._table.epoch_s(config, self._table.speed) / steps


class Measured(Estimating):
    """Costs as they are on this machine: steps by short probes, memory by what one step allocates.

    Args:
        storage: folder of all studies and of the file of probes.
        preload: modules that are loaded in a trial's process.
        say: is told what is measured, a line for each.
        fresh: whether a study that is there counts for nothing.
    """

    def __init__(
        self,
        storage: Path,
        preload: tuple[str, ...],
        say: Callable[[str], None],
        *,
        fresh: bool = False,
    ) -> None:
        super().__init__(None if fresh else storage)
        self._probes_in, self._preload, self._say = storage, preload, say

    def cost(self, by: str, sections: Sections, resources: ResourceConfig) -> float:
        """Seconds of a step of one process, or bytes that training needs beside the process itself."""
        from karat.forecast.predictions import predictions_for  # imports torch

        predictions = predictions_for(resources, self._probes_in, self._preload)
        on_cpu = predictions.process.on_cpu
        if resources.gpus and on_cpu:
            raise InputError(
                f"{KEY}.by = {by}: is measured where trials run, and this machine has no GPU; match parameters or "
                "macs, or launch where one is"
            )
        config = TrialConfig.from_sections(sections)
        config.check()
        if by == "memory":
            return float(_bytes_of(config, resources, on_cpu=on_cpu))
        try:
            seconds = predictions.measured(sections).step_s
        except TrialError as error:
            raise InputError(f"{KEY}.by = {by}: {_named(sections)}: {error}") from error
        self._say(f"measured      {_named(sections)}: {1e3 * seconds:.3g} ms a step")
        return seconds


def _bytes_of(config: TrialConfig, resources: ResourceConfig, *, on_cpu: bool) -> int:
    from karat.forecast.memory import needs_of  # imports torch

    return needs_of(config, processes=resources.num_processes, on_cpu=on_cpu).total


def _named(sections: Sections) -> str:
    """The settings of model and attention that tell a configuration apart."""
    told = {**sections["model"], **sections["attention"]}
    return ", ".join(f"{key} {value}" for key, value in told.items() if value != OWN)
