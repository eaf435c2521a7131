"""The training loop of one trial: data, model, optimizer, metrics and checkpoints."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from karat.datasets import Images
from karat.errors import CheckpointError, NonFiniteError, ResumeError, SettingError, TrialError
from karat.models.convert import kernels_of
from karat.seeds import derive
from karat.system import fault_injection
from karat.system.disk_quota import DiskBudget
from karat.tested import WEIGHTS, Weights
from karat.training import evaluation
from karat.training.checkpoint import (
    drop_after,
    drop_half_written,
    epoch_of,
    keep_newest,
    load_last_good,
    save_series,
    save_snapshot,
    snapshots,
)
from karat.training.config import TrialConfig
from karat.training.initial.start import starting_model
from karat.training.loading.batches import TrainingBatches
from karat.training.loading.resident import resident_of
from karat.training.loading.splits import splits_of
from karat.training.process_group import ProcessGroup
from karat.training.results import EpochResult, Pause, Within
from karat.training.steps.averaging import average_of
from karat.training.steps.forward import StepForward
from karat.training.steps.gradients import accumulate
from karat.training.steps.optimizer import described, learning_rate_of, make_optimizer
from karat.training.steps.random_states import random_states, set_random_states
from karat.training.testing.final import evaluate_finally
from karat.training.watching.health import Probe

__all__ = ["EpochResult", "Pause", "Trainer"]


class Trainer:
    """Trains one trial, epoch by epoch; resumes from the last good checkpoint in its folder.

    For one seed, all configurations see the data in the same order. With several ranks, each trains
    on its shard of every batch, and gradients are combined so that the step is that of the whole
    batch; rank 0 writes the checkpoints, and all ranks read them.

    Args:
        config: configuration of the trial.
        seed: seed of the weights and of the data order.
        folder: folder for checkpoints; None writes none.
        initial: folder with the weights of `model.init_from`; None where they are drawn.
        test_at_end: whether the test split is evaluated, once, after the last epoch; then the tested
            weights are kept, and those of `training.keep_checkpoints`, otherwise those of the best epoch.
        weights: which are tested: of the `last` epoch, or of the `best` one by `metric`.
        metric: validation metric that selects the best epoch; the first of equal ones.
        mode: whether the best `metric` is the highest (`max`) or the lowest (`min`).
        resume_at_most: epochs in the record of the trial; checkpoints of later epochs are ignored.
        micro_batches: number of parts in which a batch goes through the model; gradients are
            accumulated, which gives the same step in less memory.
        owner: fingerprint of the trial, written to its checkpoints and checked when they are read.
        budget: disk budget of the study.
        should_pause: called after every step; True makes `run_epoch` write a checkpoint within the
            epoch and return. If it is True on one rank, all ranks pause.
        on_test: called before each evaluation of corrupted test images, whose time does not count as the epoch's.
        group: the process group that trains this trial.
        fingerprint: of the data, so that its images are decoded once per node; empty if it is not known.
    """

    def __init__(
        self,
        config: TrialConfig,
        seed: int,
        *,
        folder: Path | None = None,
        initial: Path | None = None,
        test_at_end: bool = False,
        weights: Weights = WEIGHTS,
        metric: str = "val_accuracy",
        mode: str = "max",
        resume_at_most: int = 0,
        micro_batches: int = 1,
        owner: str = "",
        budget: DiskBudget | None = None,
        should_pause: Callable[[], bool] = lambda: False,
        on_test: Callable[[], None] = lambda: None,
        group: ProcessGroup | None = None,
        fingerprint: str = "",
    ) -> None:
        self.group = group or ProcessGroup()
        self.micro_batches, self._should_pause = micro_batches, should_pause
        self._on_test = on_test
        self.owner, self.budget = owner, budget
        self.config, self.folder = config, folder
        self.seed = config.training.seed_of(seed)
        self.test_at_end, self.weights = test_at_end, weights
        training = config.training
        self._kept = training.kept_of(training.epochs) if test_at_end else ()
        self.metric, self.mode = metric, mode
        self._loaded = splits_of(config.data, fingerprint)
        self.splits = self._loaded.splits
        self.model = starting_model(config, self.seed, initial)
        self.device = self.group.device()
        self.model.to(self.device)
        size = len(self.splits.train)  # type: ignore[arg-type]
        self.batch_size = min(config.training.batch_size, size)
        self.steps_per_epoch = size // self.batch_size
        if self.batch_size < self.group.world_size:
            rule = f"must be at least the number of the trial's processes, {self.group.world_size}"
            raise SettingError("training.batch_size", rule, self.batch_size)
        self._batches = TrainingBatches(
            self.splits.train, config, self.seed, self.batch_size, self.group, _init_loader
        )
        self.optimizer, self.scheduler = make_optimizer(
            self.model, config.training, self.steps_per_epoch
        )
        self.average = average_of(self.model, config.training.ema_decay)
        # Rank 0 alone, as with checkpoints: the others wait for it in the next step.
        is_watching = training.health and self.group.is_rank_zero
        self._probe = Probe(self.splits.val, self.device) if is_watching else None
        parallel = self.group.wrap(self.model)
        self._forward = StepForward(parallel, config.training, self.device)
        self.epoch = 0
        self.best, self.best_epoch = -math.inf, 0
        # Where they are tested; in the training state too, which may be all that is left of a trial.
        self._best_weights: dict[str, Tensor] | None = None
        self._within: Within | None = None
        if folder is not None:
            self._resume(folder, resume_at_most)

    @property
    def finished(self) -> bool:
        return self.epoch >= self.config.training.epochs

    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that compute attention on this device; empty for softmax."""
        return kernels_of(self.model)

    def computed(self) -> dict[str, Any]:
        """How steps are computed: precision, optimiser, backend of softmax attention; after the first step."""
        return {**self._forward.described(), "optimizer": described(self.optimizer)}

    def shared_bytes(self) -> int:
        """Resident memory of this process that is images which all trials of the node share, in bytes."""
        return resident_of(self._loaded.path) if self._loaded.path else 0

    def loading(self) -> dict[str, float]:
        """Mean seconds of a step and of waiting for its batch in the last epoch; size of the memory map."""
        return {**self._batches.timing.described(), "map_bytes": self._loaded.map_bytes}

    def images(self) -> dict[str, int]:
        """Number of images in each split."""
        parts = ("train", "val", "test")
        return {name: len(getattr(self.splits, name)) for name in parts}

    def run_epoch(self) -> EpochResult | Pause:
        """Train for one epoch, validate, and write a checkpoint; or pause within the epoch.

        Raises:
            NonFiniteError: the loss or a metric is NaN or infinite.
            CheckpointError: the checkpoint could not be written; the previous one is intact.
        """
        started = time.monotonic() - (self._within.seconds if self._within else 0.0)
        if not self._train_epoch(started):
            return self._pause()
        assert self._within is not None
        train_loss = self._within.loss.item() / self.steps_per_epoch
        self._within = None
        self.epoch += 1
        with evaluation.holding(self.model, self._averaged()):
            found_val = self.evaluate(self.splits.val)
            health = None if self._probe is None else self._probe.look(self.model)
        metrics = {"train_loss": train_loss, **found_val.metrics("val")}
        metrics["learning_rate"] = learning_rate_of(self.optimizer)
        metrics = fault_injection.corrupt_metric("metrics", metrics, self.metric)
        if self.metric not in metrics:
            raise TrialError(f"{self.metric} is missing at epoch {self.epoch}")
        evaluation.check_finite(metrics, self.epoch)
        is_best = self._note_best(metrics[self.metric])
        tests: dict[str, Any] = {}
        if health is not None:
            metrics |= health.metrics
            tests["health"] = health.plain()
        if self.finished and self.test_at_end:
            found, more = self._test()
            tests, metrics = {**tests, **found}, {**metrics, **more}
        self._save(is_best)
        if self.finished and self.folder is not None and self._kept:
            tests["snapshots"] = [epoch_of(path) for path in snapshots(self.folder)]
        seconds = time.monotonic() - started
        return EpochResult(epoch=self.epoch, metrics=metrics, seconds=seconds, **tests)

    def _note_best(self, value: float) -> bool:
        """Whether this epoch is the best so far; keeps its weights if they may be tested."""
        value = value if self.mode == "max" else -value
        if not value > self.best:
            return False
        self.best, self.best_epoch = value, self.epoch
        if self.test_at_end and self.weights == "best":
            self._best_weights = evaluation.copy_of(self._averaged() or self.model.state_dict())
        return True

    def _averaged(self) -> Mapping[str, Tensor] | None:
        """The averaged weights, which are evaluated and kept in place of the model's; None without any."""
        return None if self.average is None else self.average.state()

    def _test(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Evaluate the test split, and keep the weights that were tested; fields of the result, and metrics."""
        is_earlier = self.weights == "best" and self.best_epoch != self.epoch
        epoch = self.best_epoch if is_earlier else self.epoch
        chosen = self._best_weights if is_earlier else self._averaged()
        with evaluation.holding(self.model, chosen) as weights:
            final = evaluate_finally(
                self.evaluate, self.splits.test, self.config.data, self.epoch, self._on_test
            )
            where = evaluation.conditions(self.model, self.group, self.micro_batches)
            if self.folder is not None and self.group.is_rank_zero:
                content = {"model": weights, "epoch": epoch}
                with self._writing("of the tested weights"):
                    save_series(self.folder, "tested", self.epoch, content, self.owner, self.budget)
            record = evaluation.record(final.found, weights, epoch, where)
        tests = {"tested": record, "scores": final.scores, "shifted": final.shifted}
        return tests, final.found.metrics("test")

    def _train_epoch(self, started: float) -> bool:
        """Train to the end of the epoch (True) or to a pause (False); updates `_within`."""
        training = self.config.training
        self.model.train()
        done, total = 0, torch.zeros((), device=self.device)
        if self._within is not None:
            done, total = self._within.step, self._within.loss.to(self.device)
        batches = self._training_batches(done)
        if self._within is not None:
            self._restore_random_states(self._within.random)
        for step, (images, labels) in enumerate(batches, start=done + 1):
            fault_injection.at(f"rank{self.group.rank}.batch")
            self.scheduler.step_update(self.epoch * self.steps_per_epoch + step - 1)
            self.optimizer.zero_grad()
            loss = self._backward(images, labels)
            if training.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_grad)
            self.optimizer.step()
            if self.average is not None:
                self.average.update()
            loss, should_pause = self._reduce_step(loss, step)
            total += loss
            if not torch.isfinite(total):
                raise NonFiniteError("train_loss", loss.item(), self.epoch + 1, step)
            done = step
            if should_pause:
                break
        seconds = time.monotonic() - started
        self._within = Within(step=done, loss=total.cpu(), seconds=seconds, random=[])
        return done == self.steps_per_epoch

    def _reduce_step(self, loss: Tensor, step: int) -> tuple[Tensor, bool]:
        """The loss of the whole batch, and whether to pause after this step; equal on all ranks."""
        # No pause after the last step of an epoch: its regular checkpoint follows in a moment.
        pause = step < self.steps_per_epoch and self._should_pause()
        if self.group.world_size == 1:
            return loss, pause
        # The ranks read the pause file at different times; the sum makes all stop at the same step.
        sums = self.group.all_reduce(torch.stack([loss, loss.new_tensor(float(pause))]))
        return sums[0], bool(sums[1] > 0)

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Accumulate the gradients of the micro-batches; returns this rank's part of the mean loss."""
        training = self.config.training
        return accumulate(
            self._forward,
            images,
            labels,
            parts=self.micro_batches * training.micro_batches,
            batch_size=self.batch_size,
            label_smoothing=training.label_smoothing,
            group=self.group,
        )

    def _training_batches(self, done: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        # Ranks draw different dropout masks; rank 0 draws those of a single process.
        draws = ("draws", self.epoch, *([self.group.rank] if self.group.rank else []))
        torch.manual_seed(derive(self.seed, *draws))
        return self._batches.of_epoch(self.epoch, skip=done)

    def evaluate(
        self, split: Images, *, hash_images: bool = False, details: bool = False
    ) -> evaluation.Evaluated:
        """The model's answers on a split; each rank evaluates its shard."""
        return evaluation.evaluate(
            self.model,
            split,
            self.group,
            micro_batches=self.micro_batches,
            workers=self.config.training.workers,
            hash_images=hash_images,
            details=details,
        )

    def _pause(self) -> Pause:
        assert self._within is not None
        random = self.group.all_gather(random_states())
        self._within = dataclasses.replace(self._within, random=random)
        if self.folder is not None and self.group.is_rank_zero:
            state = {**self._state(), "within": dataclasses.asdict(self._within)}
            with self._writing(f"within epoch {self.epoch + 1}"):
                save_series(self.folder, "within", self.epoch, state, self.owner, self.budget)
        return Pause(epoch=self.epoch, step=self._within.step)

    def _save(self, is_best: bool) -> None:
        if self.folder is None or not self.group.is_rank_zero:
            return
        with self._writing(f"after epoch {self.epoch}"):
            if is_best and not self.test_at_end:
                weights = {"model": self._averaged() or self.model.state_dict()}
                save_series(self.folder, "best", self.epoch, weights, self.owner, self.budget)
            if self.epoch in self._kept:
                kept = self._averaged() or self.model.state_dict()
                save_snapshot(self.folder, self.epoch, kept, self.owner, self.budget)
            state = self._state()
            save_series(self.folder, "epoch", self.epoch, state, self.owner, self.budget)
            keep_newest(self.folder, within=0)

    @contextlib.contextmanager
    def _writing(self, when: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"{self.folder}: the checkpoint {when} could not be written "
                f"({error.strerror or error}); the previous one is intact"
            ) from error

    def _state(self) -> dict[str, Any]:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        more = {
            "best_weights": self._best_weights,
            "average": self._averaged(),
            "forward": self._forward.state() or None,
        }
        return state | {key: value for key, value in more.items() if value is not None}

    def _resume(self, folder: Path, at_most: int) -> None:
        found = load_last_good(folder, "epoch", at_most, self.owner)
        if found is not None:
            self.epoch, state = found
            self._restore(state)
        within = load_last_good(folder, "within", self.epoch, self.owner)
        if within is not None and within[0] == self.epoch:
            self._restore(within[1])
            self._within = Within(**within[1]["within"])
        positions = self.group.all_gather((self.epoch, self._within.step if self._within else 0))
        if len(set(positions)) > 1:
            raise ResumeError(
                f"{folder}: the ranks of the trial found different checkpoints, by rank "
                f"(epoch, step) = {', '.join(map(str, positions))}; they must see the same folder"
            )
        if self.group.is_rank_zero:  # only after the gather: all ranks have read their checkpoints
            drop_after(folder, self.epoch)
            drop_half_written(folder)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        # States of older versions have neither; they tested the last epoch's weights only.
        self.best_epoch = state.get("best_epoch", 0)
        self._best_weights = state.get("best_weights")
        self._forward.restore(state.get("forward", {}))
        if self.average is not None:
            self.average.restore(state["average"])

    def _restore_random_states(self, random: list[list[Tensor]]) -> None:
        """Continue this rank's random numbers; with another world size the epoch's seed stays."""
        if len(random) == self.group.world_size:
            set_random_states(random[self.group.rank])


def _init_loader(_: int) -> None:
    fault_injection.at("loader")
