"""Disables autocast where an operator needs float32 or wider."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which autocast does not reduce the precision of operations."""
    if device.type == "meta":  # torch.autocast refuses this device
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
