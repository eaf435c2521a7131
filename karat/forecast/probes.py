"""The file of probes beside the studies: what short trainings of each shape took. Read without torch.

The key of a probe is its shape: a hash of everything that memory and time depend on.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.space.settings import ResourceConfig
from karat.system.files import replace_file
from karat.training.config import TrialConfig

VERSION = 3
MAX_BYTES = 10 * 2**20
CPU = "cpu"
# Only the weights at the start, which images, and what a trial is tested on at its end.
FREE = frozenset({"weight_init", "pos_embed_std", "init", "split_seed", "download", "corruptions"})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Result of a probe, in bytes and seconds. Its field names are keys of the file of probes.

    Args:
        base_bytes: memory of the process with its data, before training.
        peak_bytes: peak of its memory.
        step_s: time of one training step.
        evaluation_s: time to validate one image.
        save_s: time to write a checkpoint.
        steps, validated: the number of training steps and of validated images in an epoch.
    """

    base_bytes: int
    peak_bytes: int
    step_s: float
    evaluation_s: float
    save_s: float
    steps: int
    validated: int

    @property
    def epoch_s(self) -> float:
        """Seconds of one epoch: training, validation and checkpoint."""
        return self.steps * self.step_s + self.validated * self.evaluation_s + self.save_s


@dataclass(frozen=True, kw_only=True)
class Known:
    """A probe with the values computed for it: bytes, and seconds of an epoch by the table of step costs."""

    device: str
    needed: int
    expected_s: float
    measured: Measured


@dataclass(frozen=True, kw_only=True)
class Process:
    """What of a process of a trial its memory and time depend on, beside its configuration.

    Args:
        device: name of the GPU, or `cpu`.
        threads: CPU threads of the process.
        processes: the number of processes that share a batch.
        preload: modules that are loaded in it.
    """

    device: str = CPU
    threads: int = 1
    processes: int = 1
    preload: Sequence[str] = ()

    @property
    def on_cpu(self) -> bool:
        return self.device == CPU

    def part_of(self, sections: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of one process: with its share of the batch."""
        batch = -(-TrialConfig.from_sections(sections).training.batch_size // self.processes)
        # A rate in proportion to this smaller batch could be below the least one.
        own = {"batch_size": batch, "learning_rate_batch": None}
        return {**sections, "training": {**sections["training"], **own}}

    def shape_of(self, sections: Mapping[str, Any], micro_batches: int = 1) -> str:
        """The key of a configuration in the file of probes."""
        training = TrialConfig.from_sections(self.part_of(sections)).training
        meaning = {
            **{key: _costly(sections.get(key, {})) for key in ("data", "model", "attention")},
            "batch_size": training.batch_size,
            "workers": training.workers,
            **{f"training.{key}": value for key, value in training.costly().items()},
            "micro_batches": micro_batches,
            "threads": self.threads,
            "preload": self.preload,
            "device": self.device,
            "torch": importlib.metadata.version("torch"),
        }
        text = json.dumps(meaning, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _costly(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that memory and time depend on."""
    return {key: value for key, value in settings.items() if key not in FREE}


def process_of(resources: ResourceConfig, preload: Sequence[str] = ()) -> Process:
    """A process of a trial with these resources; loads torch if they have GPUs.

    Args:
        resources: resources of a trial.
        preload: modules that are loaded in it.
    """
    return Process(
        device=device_name() if resources.gpus else CPU,
        threads=resources.cpus,
        processes=resources.num_processes,
        preload=tuple(preload),
    )


def device_name() -> str:
    """The name of the device that trains on this machine: that of a GPU, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else CPU


def read_probes(path: Path) -> dict[str, Known]:
    """The probes in a file, by shape; a missing or invalid one counts as empty, since it is only a cache."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            return {}
        return {
            shape: Known(**{**each, "measured": Measured(**each["measured"])})
            for shape, each in data["probes"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def write_probes(path: Path, known: Mapping[str, Known]) -> None:
    """Replace a file of probes."""
    probes = {shape: dataclasses.asdict(each) for shape, each in known.items()}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, json.dumps({"version": VERSION, "probes": probes}, indent=1).encode())
