"""Autocast, switched off where an operator needs float32 or wider."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which autocast does not narrow what is computed."""
    if device.type == "meta":  # has no autocast to switch off
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
