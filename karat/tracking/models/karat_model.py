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
        program: `torch.export.save` of it.
    """

    def __init__(self, program: bytes) -> None:
        super().__init__()
        self._stored = program
        self.program = torch.export.load(io.BytesIO(program)).module()
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
