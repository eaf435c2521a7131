"""Predicts memory and time of trials: computed, then corrected by the measurements of short probes.

If the shape of a trial was probed (`karat.forecast.probes`), its measurements are returned; otherwise the
computed values are scaled by the median residual of the other probes.
"""

import logging
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.errors import KaratError
from karat.forecast.memory import needs_of
from karat.forecast.probes import (
    Known,
    Measured,
    Process,
    device_name,
    process_of,
    read_probes,
    write_probes,
)
from karat.forecast.probing.probe import probe
from karat.forecast.speed.epochs import EpochCosts
from karat.journal.layout import PROBES
from karat.space.settings import ResourceConfig
from karat.training.config import TrialConfig

# Assumed without a probe: memory of a CPU process with torch and Ray loaded, and of its first steps.
BASE_BYTES, FIRST_STEP_BYTES = 800 * 2**20, 32 * 2**20
Sections = Mapping[str, Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Memory and time of one process of a trial.

    Args:
        memory_bytes: peak of the memory.
        epoch_s: seconds of an epoch; None if nothing was probed on this device.
        is_probed: whether the values were measured for exactly this shape.
    """

    memory_bytes: int
    epoch_s: float | None
    is_probed: bool


class Predictions:
    """Predictions for the trials of one study on this machine.

    Args:
        path: file of probes; need not exist.
        process: of a trial; None for one with default settings on the device that trains here.
    """

    def __init__(self, path: Path, process: Process | None = None) -> None:
        self.path, self.process = path, process or Process(device=device_name())
        self._known = read_probes(path)
        self._counted: dict[str, tuple[int, float]] = {}

    def of(self, sections: Sections, micro_batches: int = 1) -> Prediction:
        """Predict the trials of a configuration.

        Args:
            sections: `data`, `model`, `attention` and `training`.
            micro_batches: the number of parts into which a batch is split.

        Raises:
            InputError: the model of the configuration cannot be built.
        """
        shape = self.process.shape_of(sections, micro_batches)
        probed = self._known.get(shape)
        if probed is not None:
            memory, epoch_s = probed.measured.peak_bytes, probed.measured.epoch_s
            return self._prediction(memory, epoch_s, is_probed=True)
        alike = [each for each in self._known.values() if each.device == self.process.device]
        needed, expected_s = self._count(shape, sections, micro_batches)
        base, first = (BASE_BYTES, FIRST_STEP_BYTES) if self.process.on_cpu else (0, 0)
        factor, pace = 1.0, None
        if alike:
            base = round(statistics.median(each.measured.base_bytes for each in alike))
            factor = statistics.median(_factor(each.measured, each.needed, first) for each in alike)
            pace = statistics.median(each.measured.epoch_s / each.expected_s for each in alike)
        memory = round(base + first + factor * needed)
        return self._prediction(memory, None if pace is None else pace * expected_s)

    def measure(self, sections: Sections, micro_batches: int = 1) -> bool:
        """Probe the shape of a configuration unless it is known; return whether it was probed now.

        Raises:
            TrialError: the probe failed.
        """
        shape = self.process.shape_of(sections, micro_batches)
        if shape in self._known:
            return False
        self._keep(shape, sections, self._probed(sections, micro_batches), micro_batches)
        return True

    def measured(self, sections: Sections) -> Measured:
        """What a probe of a configuration has measured, now or before.

        Raises:
            TrialError: the probe failed.
        """
        self.measure(sections)
        return self._known[self.process.shape_of(sections)].measured

    def unknown(self, configs: Iterable[Sections]) -> list[Sections]:
        """One configuration of each shape that was not probed yet."""
        found = {self.process.shape_of(sections): sections for sections in configs}
        return [sections for shape, sections in found.items() if shape not in self._known]

    def measure_all(
        self, configs: Sequence[Sections], at_a_time: int = 1, is_to_stop: Callable[[], bool] = bool
    ) -> Iterator[int]:
        """Probe configurations of different shapes, and yield how many are done after each.

        Several at a time slow each other down as much as the trials of a study do. A probe that fails
        is logged: the trial will report the error itself.

        Args:
            configs: from `unknown`.
            at_a_time: the number of probes at a time.
            is_to_stop: called before each probe; if it returns true, the probe is skipped.
        """

        def probed(sections: Sections) -> Measured | None:
            return None if is_to_stop() else self._probed(sections, 1)

        threads = ThreadPoolExecutor(at_a_time)
        running = {threads.submit(probed, each): each for each in configs}
        try:
            for done, future in enumerate(as_completed(running), 1):
                try:
                    if (measured := future.result()) is not None:
                        sections = running[future]
                        self._keep(self.process.shape_of(sections), sections, measured, 1)
                except (KaratError, RuntimeError, MemoryError) as error:
                    log.warning("%s", error)
                yield done
        finally:  # after Ctrl-C, which ends the probes' processes too, no other one starts
            threads.shutdown(wait=False, cancel_futures=True)

    def try_of(self, sections: Sections, micro_batches: int = 1) -> Prediction | None:
        """Like `of`, but returns None if that fails: the trial will report the error itself."""
        try:
            return self.of(sections, micro_batches)
        except (KaratError, RuntimeError, MemoryError) as error:
            log.warning("memory and time of a trial cannot be predicted: %s", error)
            return None

    def _probed(self, sections: Sections, micro_batches: int) -> Measured:
        return probe(
            self.process.part_of(sections),
            threads=self.process.threads,
            micro_batches=micro_batches,
            preload=self.process.preload,
            on_cpu=self.process.on_cpu,
        )

    def _keep(self, shape: str, sections: Sections, measured: Measured, micro_batches: int) -> None:
        needed, expected_s = self._count(shape, sections, micro_batches)
        self._known = read_probes(self.path)  # another study may have written since
        self._known[shape] = Known(
            device=self.process.device, needed=needed, expected_s=expected_s, measured=measured
        )
        write_probes(self.path, self._known)

    def _prediction(
        self, memory: int, epoch_s: float | None, is_probed: bool = False
    ) -> Prediction:
        seconds = None if epoch_s is None else epoch_s / self.process.processes
        return Prediction(memory_bytes=memory, epoch_s=seconds, is_probed=is_probed)

    def _count(self, shape: str, sections: Sections, micro_batches: int) -> tuple[int, float]:
        if shape not in self._counted:
            config = TrialConfig.from_sections(self.process.part_of(sections))
            needed = needs_of(config, micro_batches=micro_batches, on_cpu=self.process.on_cpu).total
            table = EpochCosts.read()
            self._counted[shape] = needed, table.epoch_s(config, table.speed)
        return self._counted[shape]


def _factor(measured: Measured, needed: int, first: int) -> float:
    """Return the ratio of measured to computed memory."""
    return max(0.1, (measured.peak_bytes - measured.base_bytes - first) / needed)


def predictions_for(
    resources: ResourceConfig, storage: Path, preload: Sequence[str] = ()
) -> Predictions:
    """Return the predictions of trials with these resources, from the probes beside the studies.

    Args:
        resources: resources of a trial.
        storage: folder of all studies.
        preload: modules that are loaded in a trial's process.
    """
    return Predictions(storage / PROBES, process_of(resources, preload))
