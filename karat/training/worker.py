"""Trains a segment and reports every epoch or the failure; independent of Ray.

A report is plain data, one of three:

* `epoch`, `metrics` and `seconds`; the first report of a segment adds `kernels`, `computed`, `peak_bytes`,
  `images` and `loading`, the last one of a trial that is tested `tested` (`karat.tested.Tested`), `scores` and, where
  corruptions are asked for, `shifted` (`karat.training.testing`), and where weights of epochs are kept `snapshots`;
  all of a trial with `training.health` add `health` (`karat.training.watching.health`);
* `paused`, with epochs and steps done;
* `failed`, one of `karat.causes.Failure`, with its `details`. The study decides on a retry.
"""

import dataclasses
import faulthandler
import re
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.causes import Failure, Loss
from karat.errors import CheckpointError, NonFiniteError, ResumeError
from karat.system import fault_injection
from karat.system.disk_quota import DiskBudget
from karat.training import pause
from karat.training.segment import Segment

if TYPE_CHECKING:
    from karat.system.process.memory import PeakMemory
    from karat.training.process_group import ProcessGroup, RankInfo

# torch has no class for this error, only a RuntimeError (torch/utils/data/dataloader.py).
_LOADER_DIED = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal|exited unexpectedly)")


class SegmentWorker:
    """One segment in this process, epoch by epoch.

    Args:
        segment: what to run.
        info: rank of this process; None for a trial in a single process.
        listener: on rank 0, the socket of the rendezvous.
    """

    def __init__(
        self,
        segment: Segment,
        info: "RankInfo | None" = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.segment, self._info, self._listener = segment, info, listener
        self._should_pause = pause.reader(Path(segment.pause_file))
        self._trainer: Any = None
        self._watch: Callable[[], None] = lambda: None  # from now on, for the limit of an epoch

    def step(self) -> dict[str, Any]:
        """The report of the next epoch.

        If the epoch takes longer than the segment's limit, a watchdog thread writes the stack
        traces to the segment's `hang_trace` and exits the process, even if it hangs in C code.
        The evaluation of each corrupted copy of the test images may take as long again.
        """
        trace = Path(self.segment.hang_trace)
        try:
            trace.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with trace.open("w", encoding="utf-8") as file:
                later, limit_s = faulthandler.dump_traceback_later, self.segment.limit_s
                self._watch = lambda: later(limit_s, exit=True, file=file)
                self._watch()
                try:
                    return self.step_unlimited()
                finally:
                    self._watch = lambda: None
                    faulthandler.cancel_dump_traceback_later()
                    trace.unlink(missing_ok=True)
        except OSError as error:
            message = f"{trace}: cannot be written ({error.strerror})"
            return failed(Failure.CHECKPOINT, message=message)

    def step_unlimited(self) -> dict[str, Any]:
        """As `step`, but without a watchdog: rank 0 kills the process of a rank that hangs."""
        try:
            fault_injection.at("step.before")
            fault_injection.at(f"trial{self.segment.trial}.step")
            return self._epoch()
        except NonFiniteError as error:
            return failed(Failure.NON_FINITE, **error.details)
        except ResumeError as error:
            return failed(Failure.LOST, what=Loss.RESUME, message=str(error))
        except CheckpointError as error:
            return failed(Failure.CHECKPOINT, message=str(error))
        except Exception as error:  # noqa: BLE001 - an exception fails this trial, not the worker
            return _failed_by(error)

    def _epoch(self) -> dict[str, Any]:
        from karat.training.trainer import Pause

        is_first = self._trainer is None
        if is_first:
            # Only rank 0 decides: another rank that returned here would leave rank 0 waiting for it
            # in the rendezvous.
            if not self._rank and self._should_pause():
                return {"paused": {"epoch": self.segment.from_epoch, "step": 0}}
            self._memory = _limit_memory(self.segment)
            self._trainer = _trainer_of(
                self.segment, self._should_pause, lambda: self._watch(), self._join()
            )
        result = self._trainer.run_epoch()
        if isinstance(result, Pause):
            return {"paused": dataclasses.asdict(result)}
        found = {k: v for k, v in dataclasses.asdict(result).items() if v is not None}
        if is_first:
            found |= {
                "kernels": self._trainer.kernels(),
                "computed": self._trainer.computed(),
                "peak_bytes": self._peak_bytes(),
                "images": self._trainer.images(),
                "loading": self._trainer.loading(),
            }
        return found

    def _peak_bytes(self) -> int | None:
        """The peak so far, on a CPU without the images that all trials of the node share."""
        import torch

        peak = self._memory.peak()
        if peak is None or torch.cuda.is_available():
            return peak
        return peak - int(self._trainer.shared_bytes())

    def close(self) -> None:
        """Release the trainer, with its model and optimizer."""
        self._trainer = None

    @property
    def _rank(self) -> int:
        return self._info.rank if self._info else 0

    def _join(self) -> "ProcessGroup":
        from karat.training.process_group import ProcessGroup

        return ProcessGroup.join(self._info, self._listener) if self._info else ProcessGroup()


def failed(cause: Failure, **details: Any) -> dict[str, Any]:
    """The report of a failure."""
    return {"failed": cause, "details": details}


def _failed_by(error: Exception) -> dict[str, Any]:
    """The report of an exception from outside of karat."""
    from karat.training.process_group import is_process_group_error

    message = (str(error).strip() or "no message").splitlines()[0]
    if _is_out_of_memory(error):
        return failed(Failure.MEMORY, message=message)
    if _LOADER_DIED.match(message):
        return failed(Failure.LOST, what=Loss.LOADER, message=message)
    if is_process_group_error(error):
        return failed(Failure.LOST, what=Loss.GROUP, message=message)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return failed(Failure.ERROR, type=type(error).__name__, message=message, place=place)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a device or on the CPU."""
    import torch

    # torch raises a plain RuntimeError when the CPU's allocator or cuBLAS runs out of memory.
    signs = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
    )


def _limit_memory(segment: Segment) -> "PeakMemory":
    """Limit torch to the segment's fraction of the GPU, and start to measure peak memory."""
    import torch

    from karat.system.process.memory import PeakMemory
    from karat.training.gpu_share import fraction_of

    if torch.cuda.is_available():
        # Ray places fractions of a GPU but does not enforce them. A segment without GPUs that
        # nevertheless sees one is not limited.
        share = segment.gpus or 1.0
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(fraction_of(min(1.0, share), total))
    return PeakMemory()


def _trainer_of(
    segment: Segment,
    should_pause: Callable[[], bool],
    on_test: Callable[[], None],
    group: "ProcessGroup",
) -> Any:
    """The trainer, after setting the number of CPU threads of this process."""
    import torch

    from karat.training.config import TrialConfig
    from karat.training.trainer import Trainer

    torch.set_num_threads(segment.threads)
    trainer = Trainer(
        TrialConfig.from_sections(segment.config),
        segment.seed,
        folder=Path(segment.folder),
        initial=Path(segment.initial_folder),
        test_at_end=segment.test_at_end,
        weights=segment.weights,
        metric=segment.metric,
        mode=segment.mode,
        resume_at_most=segment.from_epoch,
        micro_batches=segment.micro_batches,
        owner=segment.owner,
        budget=DiskBudget(Path(segment.disk_folder), segment.disk_gb) if segment.disk_gb else None,
        should_pause=should_pause,
        on_test=on_test,
        group=group,
        fingerprint=segment.fingerprint,
    )
    if trainer.epoch != segment.from_epoch:
        raise ResumeError(
            f"{segment.folder}: the checkpoint after epoch {segment.from_epoch} is missing "
            "or damaged"
        )
    return trainer
