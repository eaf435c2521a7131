"""How near a trial's memory and time are to what was predicted, in processes of their own.

    python -m benchmarks.predictions

Four shapes are probed, as `resources.probe: true` does, and trained for two epochs: the peak of
memory, and the processor time of the second epoch. The machine should have nothing else to do:
programs that share its caches make both times longer, and not by the same.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.measuring import machine
from karat.forecast.predictions import Predictions
from karat.journal.layout import HANG_TRACE, PAUSE_FILE, trial_folder
from karat.training.segment import Segment
from karat.training.worker import SegmentWorker

MOST = 0.2  # by which a prediction may be off
MIB = 2**20
Sections = Mapping[str, Mapping[str, Any]]


def sections(
    attention: Mapping[str, Any], batch_size: int, **model: Any
) -> dict[str, dict[str, Any]]:
    """A trial of the small model on digits."""
    return {
        "data": {"name": "digits", "val_share": 0.5},
        "model": {"name": "vit_micro", "patch_size": 2, **model},
        "attention": dict(attention),
        "training": {"epochs": 2, "batch_size": batch_size},
    }


FOURIER = {"basis": "fourier", "grid_size": 3, "rank": 8}
SHAPES = {
    "softmax": sections({"basis": "softmax"}, 64),
    "fourier": sections(FOURIER, 128),
    "reference": sections({**FOURIER, "kernel": "reference"}, 128),
    "wide": sections({"basis": "softmax"}, 128, embed_dim=384, depth=1),
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a trial really took: bytes at its most, and processor seconds of its second epoch."""

    peak_bytes: int
    epoch_s: float


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One shape: predicted by its own probe and, in memory, by those of the others alone."""

    shape: str
    actual: Trained
    memory_bytes: int
    by_others_bytes: int
    epoch_s: float

    @property
    def off(self) -> dict[str, float]:
        """How far off, as a share of what was measured."""
        peak, seconds = self.actual.peak_bytes, self.actual.epoch_s
        return {
            "memory": self.memory_bytes / peak - 1,
            "memory by the others": self.by_others_bytes / peak - 1,
            "time": self.epoch_s / seconds - 1,
        }


def segment_of(folder: Path, shape: Sections) -> Segment:
    """A whole trial of a shape, on one thread."""
    return Segment(
        trial=0,
        config=shape,
        seed=1,
        folder=str(trial_folder(folder, 0)),
        owner="me",
        pause_file=str(folder / PAUSE_FILE),
        hang_trace=str(trial_folder(folder, 0) / HANG_TRACE),
        from_epoch=0,
        test_at_end=True,
        metric="val_accuracy",
        mode="max",
        threads=1,
        processes=1,
        gpus=0,
        micro_batches=1,
        limit_s=600,
        disk_folder=str(folder),
        disk_gb=None,
    )


def trained(folder: Path, shape: Sections) -> Trained:
    """Train a shape in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_train, args=(theirs, segment_of(folder, shape)))
    child.start()
    theirs.close()
    found: Trained = ours.recv()
    child.join()
    return found


def _train(answer: Connection, segment: Segment) -> None:
    import timm.optim
    import timm.scheduler
    import torch

    assert timm.optim
    assert timm.scheduler
    torch.set_num_threads(1)
    worker = SegmentWorker(segment)
    peak = worker.step()["peak_bytes"]
    started = time.process_time()  # other programs take their part of the clock's
    worker.step()
    answer.send(Trained(peak_bytes=peak, epoch_s=time.process_time() - started))


def compared(folder: Path) -> Iterator[Compared]:
    """Every shape, all probed and trained."""
    predictions, actual = Predictions(folder / "probes.json"), {}
    for name, shape in SHAPES.items():
        actual[name] = trained(folder / name, shape)
        predictions.measure(shape)
    for place, (name, shape) in enumerate(SHAPES.items()):
        own, others = predictions.of(shape), without(folder, place).of(shape)
        assert own.epoch_s is not None
        assert not others.is_probed
        yield Compared(
            shape=name,
            actual=actual[name],
            memory_bytes=own.memory_bytes,
            by_others_bytes=others.memory_bytes,
            epoch_s=own.epoch_s,
        )


def without(folder: Path, place: int) -> Predictions:
    """Predictions that know all probes of the folder but one: they lie there in their order."""
    data = json.loads((folder / "probes.json").read_text())
    del data["probes"][list(data["probes"])[place]]
    (folder / "others.json").write_text(json.dumps(data))
    return Predictions(folder / "others.json")


def row_of(each: Compared) -> str:
    """Of the table."""
    kept = all(abs(off) < MOST for off in each.off.values())
    return (
        f"| {each.shape} | {each.actual.peak_bytes / MIB:.0f} | {each.off['memory']:+.0%} | "
        f"{each.off['memory by the others']:+.0%} | {each.actual.epoch_s:.2f} | "
        f"{each.off['time']:+.0%} | {'kept' if kept else 'BROKEN'} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.predictions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    print(machine())
    print(
        f"\n| shape | MiB | predicted | by the others' probes | epoch (CPU s) | predicted | bound {MOST:.0%} |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for each in compared(Path(place)):
            print(row_of(each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
