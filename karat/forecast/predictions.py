"""What trials will need of memory and time: counted, then corrected by what short probes measured.

Probes are kept in one file beside the studies, by shape: a hash of all that memory and time depend
on. Where a shape was probed its own figures count; elsewhere the residual of the others does.
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
# Of a process on a CPU, with torch and Ray loaded, and of its first steps: before any probe.
BASE_BYTES, FIRST_STEP_BYTES = 800 * 2**20, 32 * 2**20
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Of one process of a trial.

    Args:
        memory_bytes: at the highest.
        epoch_s: of one epoch; None before anything was probed.
        is_probed: whether this very shape was.
    """

    memory_bytes: int
    epoch_s: float | None
    is_probed: bool


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A probe with what was counted for it: needs in bytes, and operations of an epoch."""

    device: str
    needed: int
    operations: int
    measured: Measured


class Predictions:
    """Predictions for the trials of one study on this machine.

    Args:
        path: of the file of probes; need not exist.
        threads: CPU threads of a process.
        processes: of a trial.
        preload: modules that a trial's process has loaded.
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
        """For a configuration.

        Raises:
            InputError: a configuration that cannot be built.
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
        """Probe a shape that was not; whether that was done.

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
        self._known = _read(self.path)  # another study may have written meanwhile
        self._known[shape] = _Known(
            device=self._device, needed=needed, operations=operations, measured=measured
        )
        _write(self.path, self._known)
        return True

    def try_of(self, sections: Mapping[str, Any], micro_batches: int = 1) -> Prediction | None:
        """As `of`; None where it cannot be told, as the trial itself will say."""
        try:
            return self.of(sections, micro_batches)
        except (KaratError, RuntimeError, MemoryError) as error:
            log.warning("nothing is predicted for a trial: %s", error)
            return None

    def try_measure(self, sections: Mapping[str, Any]) -> bool:
        """As `measure`; a failed probe is only said."""
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
        """What one process of a trial does, as a configuration."""
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
    """Of the device that trials here are trained on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _factor(measured: Measured, needed: int, first: int) -> float:
    """How much more than counted was needed."""
    return max(0.1, (measured.peak_bytes - measured.base_bytes - first) / needed)


def _read(path: Path) -> dict[str, _Known]:
    """The probes of a file; none where it is missing or is no such file, since it is only a cache."""
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
    """Of trials with these resources, with the probes beside the studies.

    Args:
        resources: of a trial.
        storage: folder of all studies.
        preload: modules that a trial's process has loaded.
    """
    return Predictions(
        storage / PROBES,
        threads=resources.cpus,
        processes=resources.num_processes,
        preload=preload,
    )
