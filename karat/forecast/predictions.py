"""Predicts memory and time of trials: computed, then corrected by the measurements of short probes.

Probes are stored in one file beside the studies. Their key is the shape: a hash of everything that
memory and time depend on. If the shape of a trial was probed, its measurements are returned;
otherwise the computed values are scaled by the median residual of the other probes.
"""

import dataclasses
import hashlib
import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from karat.errors import KaratError, TrialError
from karat.forecast.memory import needs_of
from karat.forecast.probe import Measured, probe
from karat.journal.layout import PROBES
from karat.space.settings import ResourceConfig
from karat.system.files import replace_file
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial

VERSION = 1
MAX_BYTES = 10 * 2**20
# Assumed without a probe: memory of a CPU process with torch and Ray loaded, and of its first steps.
BASE_BYTES, FIRST_STEP_BYTES = 800 * 2**20, 32 * 2**20
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


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A probe with the values computed for it: memory in bytes, and operations of an epoch."""

    device: str
    needed: int
    operations: int
    measured: Measured


class Predictions:
    """Predictions for the trials of one study on this machine.

    Args:
        path: file of probes; need not exist.
        threads: CPU threads of a process.
        processes: the number of processes of a trial.
        preload: modules that are loaded in a trial's process.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, processes: int = 1, preload: Sequence[str] = ()
    ) -> None:
        self.path, self._threads, self._processes = path, threads, processes
        self._preload = tuple(preload)
        self._device = device_name()
        self._known = _read(path)
        self._counted: dict[str, tuple[int, int]] = {}

    def of(self, sections: Mapping[str, Any], micro_batches: int = 1) -> Prediction:
        """Predict the trials of a configuration.

        Args:
            sections: `data`, `model`, `attention` and `training`.
            micro_batches: the number of parts into which a batch is split.

        Raises:
            InputError: the model of the configuration cannot be built.
        """
        shape = self._shape(sections, micro_batches)
        probed = self._known.get(shape)
        alike = [each for each in self._known.values() if each.device == self._device]
        if probed is not None:
            memory, epoch_s = probed.measured.peak_bytes, probed.measured.epoch_s
            return self._prediction(memory, epoch_s, is_probed=True)
        needed, operations = self._count(shape, sections, micro_batches)
        on_cpu = self._device == "cpu"
        base, first = (BASE_BYTES, FIRST_STEP_BYTES) if on_cpu else (0, 0)
        factor, pace = 1.0, None
        if alike:
            base = round(statistics.median(each.measured.base_bytes for each in alike))
            factor = statistics.median(_factor(each.measured, each.needed, first) for each in alike)
            pace = statistics.median(each.measured.epoch_s / each.operations for each in alike)
        memory = round(base + first + factor * needed)
        return self._prediction(memory, None if pace is None else pace * operations)

    def measure(self, sections: Mapping[str, Any], micro_batches: int = 1) -> bool:
        """Probe the shape of a configuration unless it is known; return whether it was probed now.

        Raises:
            TrialError: the probe failed.
        """
        shape = self._shape(sections, micro_batches)
        if shape in self._known:
            return False
        needed, operations = self._count(shape, sections, micro_batches)
        measured = probe(
            self._part(sections),
            threads=self._threads,
            micro_batches=micro_batches,
            preload=self._preload,
        )
        self._known = _read(self.path)  # another study may have written since
        self._known[shape] = _Known(
            device=self._device, needed=needed, operations=operations, measured=measured
        )
        _write(self.path, self._known)
        return True

    def try_of(self, sections: Mapping[str, Any], micro_batches: int = 1) -> Prediction | None:
        """Like `of`, but returns None if that fails: the trial will report the error itself."""
        try:
            return self.of(sections, micro_batches)
        except (KaratError, RuntimeError, MemoryError) as error:
            log.warning("memory and time of a trial cannot be predicted: %s", error)
            return None

    def try_measure(self, sections: Mapping[str, Any]) -> bool:
        """Like `measure`, but only logs a failed probe."""
        try:
            return self.measure(sections)
        except (TrialError, RuntimeError, MemoryError) as error:
            log.warning("%s", error)
            return False

    def _prediction(
        self, memory: int, epoch_s: float | None, is_probed: bool = False
    ) -> Prediction:
        seconds = None if epoch_s is None else epoch_s / self._processes
        return Prediction(memory_bytes=memory, epoch_s=seconds, is_probed=is_probed)

    def _part(self, sections: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of one process: with its share of the batch."""
        batch = -(-TrialConfig.from_sections(sections).training.batch_size // self._processes)
        return {**sections, "training": {**sections["training"], "batch_size": batch}}

    def _count(
        self, shape: str, sections: Mapping[str, Any], micro_batches: int
    ) -> tuple[int, int]:
        if shape not in self._counted:
            config = TrialConfig.from_sections(self._part(sections))
            costs = costs_of_trial(config)
            needed = needs_of(config, micro_batches=micro_batches).total
            self._counted[shape] = needed, costs.forward_flops * config.data.info().train_size
        return self._counted[shape]

    def _shape(self, sections: Mapping[str, Any], micro_batches: int) -> str:
        training = TrialConfig.from_sections(self._part(sections)).training
        meaning = {
            **{key: sections.get(key, {}) for key in ("data", "model", "attention")},
            "batch_size": training.batch_size,
            "workers": training.workers,
            "micro_batches": micro_batches,
            "threads": self._threads,
            "preload": self._preload,
            "device": self._device,
            "torch": torch.__version__,
        }
        text = json.dumps(meaning, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def device_name() -> str:
    """Return the name of the device that trains on this machine: that of a GPU, or `cpu`."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _factor(measured: Measured, needed: int, first: int) -> float:
    """Return the ratio of measured to computed memory."""
    return max(0.1, (measured.peak_bytes - measured.base_bytes - first) / needed)


def _read(path: Path) -> dict[str, _Known]:
    """Read a file of probes; a missing or invalid one counts as empty, since it is only a cache."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        data = json.loads(path.read_text())
        if data["version"] != VERSION:
            return {}
        return {
            shape: _Known(**{**each, "measured": Measured(**each["measured"])})
            for shape, each in data["probes"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(path: Path, known: Mapping[str, _Known]) -> None:
    probes = {shape: dataclasses.asdict(each) for shape, each in known.items()}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, json.dumps({"version": VERSION, "probes": probes}, indent=1).encode())


def predictions_for(
    resources: ResourceConfig, storage: Path, preload: Sequence[str] = ()
) -> Predictions:
    """Return the predictions of trials with these resources, from the probes beside the studies.

    Args:
        resources: resources of a trial.
        storage: folder of all studies.
        preload: modules that are loaded in a trial's process.
    """
    return Predictions(
        storage / PROBES,
        threads=resources.cpus,
        processes=resources.num_processes,
        preload=preload,
    )
