"""The forward pass of a training step: its precision, its backend of softmax attention, compiled or not."""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from karat.system.environment import tf32
from karat.training.steps.attention_backends import Chosen, choose_for, using
from karat.training.steps.config import BF16, StepConfig
from karat.training.steps.device import check_device


class StepForward:
    """A model as a training step calls it. Its weights and their names stay those of the model.

    Args:
        model: on the device; with several processes, as DistributedDataParallel.
        training: its `precision` and `compile`.
        device: of the model.

    Attributes:
        model: as given.

    Raises:
        SettingError: the device cannot do what `training` asks for.
    """

    def __init__(self, model: nn.Module, training: StepConfig, device: torch.device) -> None:
        check_device(training, device)
        self.model = model
        self._device, self._precision = device, training.precision
        self._compiled = torch.compile(model) if training.compile else model
        self._is_compiled = training.compile
        self._chosen: Chosen | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """The logits of a micro-batch: float32 (images, classes)."""
        if self._chosen is None:
            self._chosen = choose_for(self._uncompiled, images)
        with using(self._chosen, self._device), self._autocast():
            logits: Tensor = self._compiled(images)
        return logits.float()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must have, so that a resumed trial computes in the same way; empty if nothing."""
        if self._chosen is None:
            return {}
        return {"name": self._chosen.name, "milliseconds": dict(self._chosen.milliseconds)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the backend of a checkpoint, which is not measured again."""
        if state:
            self._chosen = Chosen(**state)

    def described(self) -> dict[str, Any]:
        """How steps are computed, as plain data for the journal; call it after the first step.

        `precision`, `compiled`, `softmax` (the backend of softmax attention, where the model has one) and
        `softmax_ms` (backend to milliseconds, where they were measured); on a GPU `tf32`, of products and
        convolutions in float32.
        """
        found: dict[str, Any] = {"precision": self._precision, "compiled": self._is_compiled}
        if self._chosen is not None and self._chosen.name:
            found["softmax"] = self._chosen.name
        if self._chosen is not None and self._chosen.milliseconds:
            found["softmax_ms"] = {k: round(v, 4) for k, v in self._chosen.milliseconds.items()}
        if self._device.type == "cuda":
            found["tf32"] = tf32()
        return found

    def _uncompiled(self, images: Tensor) -> Any:
        # Not through DistributedDataParallel, whose forward pass prepares a backward pass.
        model = getattr(self.model, "module", self.model)
        with self._autocast():
            return model(images)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._precision != BF16:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)
