"""What the parts of a study take on this machine: measured by probes, else from the table of step costs.

On GPUs nothing was measured for the table: there an epoch is a guess from its multiply-adds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from karat.datasets import STRENGTHS
from karat.forecast.capacity import crowding
from karat.forecast.probes import Known, Process, process_of, read_probes
from karat.forecast.speed import decoding
from karat.forecast.speed.epochs import EpochCosts
from karat.forecast.speed.yardsticks import Speed, measured_speed
from karat.journal.layout import PROBES
from karat.space.settings import ResourceConfig
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial

GPU_MULTIPLY_ADDS_PER_S = 1e14  # of a fast GPU
EFFICIENCY = 0.25  # share of it that training reaches
_GPU_STEP_S = 0.01  # lower bound: a step of a small model waits for its kernel launches
# Seconds on a core of that speed (docs/decisions/0034-honest-times.md), whatever the tables were measured on since.
_ROUNDS_PER_S = 5984.0
_START_S, _TRIAL_S, _END_S, _PROBE_START_S = 20.0, 0.2, 14.0, 13.0
_PROBED_S, _PROBED_STEPS = 4.0, 6


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far forecasts of epochs are off: standard deviations of the logarithm of taken over forecast.

    Args:
        machine: common to all arms.
        arm: of each arm beside that.
    """

    machine: float
    arm: float

    @property
    def factor(self) -> float:
        """By which one in ten epochs takes more, and one in ten less."""
        return math.exp(1.2816 * math.hypot(self.machine, self.arm))


MEASURED, TABLE, GUESSED = (
    Spread(machine=0.1, arm=0.1),
    Spread(machine=0.45, arm=0.25),
    Spread(machine=1.0, arm=0.5),
)


@dataclass(frozen=True, kw_only=True)
class EpochTime:
    """Seconds of an epoch of a trial, and of an image in an evaluation; peak bytes of a process, None without a
    probe; whether it was probed."""

    seconds: float
    evaluation_s: float
    memory_bytes: int | None
    is_probed: bool


class Times:
    """What the parts of a study take here.

    Args:
        resources: of a trial.
        storage: folder of all studies and of the file of probes; None leaves probes out.
        preload: modules that are loaded in a trial's process.
    """

    def __init__(
        self, resources: ResourceConfig, storage: Path | None, preload: Sequence[str] = ()
    ) -> None:
        self._resources = resources
        self._process: Process | None = None
        self._probes: Mapping[str, Known] = {}
        if storage is not None and (probes := read_probes(storage / PROBES)):
            self._process, self._probes = process_of(resources, preload), probes

    @cached_property
    def _table(self) -> EpochCosts:
        return EpochCosts.read()

    @cached_property
    def _speed(self) -> Speed:
        return measured_speed()

    @property
    def slowness(self) -> float:
        """How many times as long as stated here everything takes that is no large product."""
        return _ROUNDS_PER_S / self._speed.rounds_per_s

    @property
    def start_s(self) -> float:
        """From the command to the first step: imports, Ray, worker processes."""
        return _START_S * self.slowness

    @property
    def trial_s(self) -> float:
        """Of a trial beside its epochs: building the model, the evaluation on the test split."""
        return _TRIAL_S * self.slowness

    @property
    def end_s(self) -> float:
        """After the last trial: stopping the workers, the report, MLflow."""
        return _END_S * self.slowness

    @property
    def is_guessed(self) -> bool:
        """Whether what was not probed is a guess."""
        return bool(self._resources.gpus)

    @property
    def spread(self) -> Spread:
        """How far forecasts without a probe are off."""
        return GUESSED if self.is_guessed else TABLE

    def of(self, sections: Mapping[str, Any]) -> EpochTime:
        """An epoch of a configuration, with `data`, `model`, `attention` and `training`."""
        crowded = crowding(self._resources)
        if self._process is not None:
            known = self._probes.get(self._process.shape_of(sections))
            if known is not None:
                share = crowded / self._resources.num_processes
                return EpochTime(
                    seconds=share * known.measured.epoch_s,
                    evaluation_s=share * known.measured.evaluation_s,
                    memory_bytes=known.measured.peak_bytes,
                    is_probed=True,
                )
        config = TrialConfig.from_sections(sections)
        return EpochTime(
            seconds=crowded * self.unprobed_s(config),
            evaluation_s=crowded * self._evaluation_s(config),
            memory_bytes=None,
            is_probed=False,
        )

    def unprobed_s(self, config: TrialConfig, efficiency: float = EFFICIENCY) -> float:
        """Seconds of an epoch without a probe.

        Args:
            config: of the trial.
            efficiency: share of a GPU's speed that training reaches; 1 gives a lower bound.
        """
        resources = self._resources
        decoding_s = decoding.epoch_s(config, resources) if efficiency < 1 else 0.0
        if not resources.gpus:
            threads = resources.cpus * resources.num_processes
            return decoding_s + self._table.epoch_s(config, self._speed, threads)
        images = config.data.info().train_size
        # A backward pass costs as much as two forward passes.
        operations = 3 * costs_of_trial(config).forward_flops * images
        rate = efficiency * GPU_MULTIPLY_ADDS_PER_S * max(1.0, resources.gpus_at_most)
        waiting = _GPU_STEP_S * images / config.training.batch_size if efficiency < 1 else 0.0
        step_s = max(waiting, operations / rate)
        # Processes that load data do it while the GPU computes.
        return max(step_s, decoding_s) if config.training.workers else step_s + decoding_s

    def tests_s(self, config: TrialConfig, evaluation_s: float) -> float:
        """Of the tests at the end of a confirmed trial: on the test images, and on corrupted copies of them.

        0 where nobody says how many test images there are.

        Args:
            config: of the trial.
            evaluation_s: of an image in an evaluation.
        """
        images, resources = config.data.info().test_size or 0, self._resources
        copies = len(STRENGTHS) * len(config.data.corruptions)
        lanes = decoding.lanes(config, resources)
        corrupting_s = 0.0
        if copies:
            corrupting_s = self._table.images.corrupting_s(config.data, images, self._speed) / lanes
        return (1 + copies) * images * evaluation_s + corrupting_s

    def _evaluation_s(self, config: TrialConfig) -> float:
        """Seconds of an image in an evaluation without a probe."""
        resources = self._resources
        read_s = 0.0
        if decoding.decodes_each_epoch(config.data):
            read_s = decoding.image_s(config.data) / decoding.lanes(config, resources)
        if not resources.gpus:
            threads = resources.cpus * resources.num_processes
            return read_s + self._table.evaluation_s(config, self._speed, threads)
        rate = EFFICIENCY * GPU_MULTIPLY_ADDS_PER_S * max(1.0, resources.gpus_at_most)
        return read_s + costs_of_trial(config).forward_flops / rate

    def decoded_once_s(self, config: TrialConfig) -> float:
        """To decode the images once per node, before the first epoch; 0 where they are no files."""
        return decoding.once_s(config.data, self._resources)

    def probe_s(self, sections: Mapping[str, Any]) -> float:
        """What a probe of a configuration takes, about."""
        config = TrialConfig.from_sections(sections)
        steps = max(1, config.data.info().train_size // config.training.batch_size)
        step_s = self.unprobed_s(config) / steps
        return _PROBE_START_S * self.slowness + max(_PROBED_S, _PROBED_STEPS * step_s)
