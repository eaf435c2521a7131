"""The model that a study registers, as a module of torch.

MLflow keeps this file beside the weights and imports it from there, so it needs torch and nothing else.
"""

import io
from typing import Any

import torch
from torch import Tensor, nn


class RegisteredModel(nn.Module):
    """An exported program, which is in the mode of evaluation and has no other.

    Args:
        stored: `torch.export.save` of it.
        program: the same, where it is loaded already, which takes seconds.
    """

    def __init__(self, stored: bytes, program: torch.export.ExportedProgram | None = None) -> None:
        super().__init__()
        self._stored = stored
        self.program = (program or torch.export.load(io.BytesIO(stored))).module()
        self.training = False

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """What the program gives."""
        found: Tensor = self.program(images_BCHW)
        return found

    def train(self, mode: bool = True) -> "RegisteredModel":
        """Does nothing for `mode=False`.

        Raises:
            RuntimeError: it shall be trained.
        """
        if mode:
            raise RuntimeError("this model is exported for prediction and cannot be trained")
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return RegisteredModel, (self._stored,)
