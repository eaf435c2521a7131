"""A short probe: runs a few steps of a trial in a new process and measures memory and time."""

import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from karat.errors import TrialError
from karat.forecast.probes import Measured
from karat.training.preload import preload as preload_trainer

LEAST_STEPS, MOST_STEPS, LONG_ENOUGH_S = 6, 40, 3.0
LIMIT_S = 600.0


def probe(
    sections: Mapping[str, Any],
    *,
    threads: int = 1,
    micro_batches: int = 1,
    preload: Sequence[str] = (),
    on_cpu: bool = False,
) -> Measured:
    """Measure a configuration in a new process.

    Args:
        sections: `data`, `model`, `attention` and `training`.
        threads: the number of CPU threads.
        micro_batches: the number of parts into which a batch is split.
        preload: modules that are loaded in a trial's process.
        on_cpu: train on the CPU, even where there is a GPU.

    Raises:
        TrialError: the probe failed, perhaps for lack of memory.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, dict(sections), threads, micro_batches, tuple(preload), on_cpu)
    child = context.Process(target=_measure, args=arguments, daemon=True)
    child.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(LIMIT_S) else f"it took longer than {LIMIT_S:g} s"
    except EOFError:
        child.join()
        found = f"its process ended with {child.exitcode}"
    child.kill()
    child.join()
    if isinstance(found, Measured):
        return found
    raise TrialError(f"the probe of a configuration failed: {found}")


def _measure(
    answer: Connection,
    sections: Mapping[str, Any],
    threads: int,
    micro_batches: int,
    preload: Sequence[str],
    on_cpu: bool,
) -> None:
    if on_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # as Ray does for a trial without GPUs
    import torch

    preload_trainer()  # before the memory without a trial is measured
    for name in preload:
        import_module(name)
    torch.set_num_threads(threads)
    # The first forward-mode derivative of a process calls torch.jit.script, within torch.
    warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
    try:
        answer.send(_steps(sections, micro_batches))
    except Exception as error:  # noqa: BLE001 - any error of a configuration is the result of its probe
        answer.send(f"{type(error).__name__}: {error}")


def _clock() -> Callable[[], float]:
    """Return a clock in seconds; on a CPU it counts CPU time per thread, not that of other programs."""
    import torch

    if torch.cuda.is_available():
        return time.perf_counter
    return lambda: time.process_time() / torch.get_num_threads()


def _steps(sections: Mapping[str, Any], micro_batches: int) -> Measured:
    import torch
    from torch.utils.data import Subset

    from karat.datasets import load_splits
    from karat.forecast.probing.stand_in import stand_in
    from karat.system.process.memory import PeakMemory
    from karat.training.config import EVAL_BATCH_SIZE, TrialConfig
    from karat.training.initial.start import drawn
    from karat.training.trainer import EpochResult, Trainer

    config = TrialConfig.from_sections(sections)
    training = config.training
    if not torch.cuda.is_available():
        # The CPU time of this process counts, in which images that are files are decoded then.
        training = replace(training, workers=0)
    config = replace(config, data=stand_in(config.data), training=training)
    splits = load_splits(config.data)
    memory, clock = PeakMemory(), _clock()
    moments: list[float] = []

    def should_pause() -> bool:
        moments.append(clock())
        steps, took = len(moments) - 1, moments[-1] - moments[0]
        return steps >= LEAST_STEPS and (took > LONG_ENOUGH_S or steps >= MOST_STEPS)

    with tempfile.TemporaryDirectory() as folder:
        initial = Path(folder, "initial")
        trainer = Trainer(
            drawn(config, initial),
            0,
            folder=Path(folder),
            initial=initial,
            micro_batches=micro_batches,
            should_pause=should_pause,
        )
        begun, is_whole = clock(), True
        times: list[float] = []
        while (
            is_whole and trainer.epoch < config.training.epochs
        ):  # several epochs, if they are short
            moments.clear()
            is_whole = isinstance(trainer.run_epoch(), EpochResult)
            rest_s = clock() - moments[-1]  # the checkpoint, and the validation after a whole epoch
            times += [after - before for before, after in itertools.pairwise(moments)]
            if clock() - begun > LONG_ENOUGH_S:
                break
    size = len(splits.val)  # type: ignore[arg-type]
    some = Subset(splits.val, range(min(size, EVAL_BATCH_SIZE)))
    trainer.evaluate(some)
    started = clock()
    trainer.evaluate(some)
    evaluation_s = (clock() - started) / len(some)
    return Measured(
        base_bytes=memory.base,
        peak_bytes=memory.peak() or 0,
        step_s=statistics.median(times[len(times) // 2 :]),  # the first half is warm-up
        evaluation_s=evaluation_s,
        save_s=max(0.0, rest_s - size * evaluation_s) if is_whole else rest_s,
        steps=trainer.steps_per_epoch,
        validated=size,
    )
