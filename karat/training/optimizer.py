"""The optimizer of a trial and the schedule of its learning rate."""

from typing import Any

import torch
from torch import nn

from karat.training.config import TrainingConfig


def make_optimizer(
    model: nn.Module, training: TrainingConfig, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW for a model, and timm's schedule of the learning rate, to be updated at every step."""
    from timm.optim import create_optimizer_v2  # takes seconds to import
    from timm.scheduler import create_scheduler_v2

    optimizer = create_optimizer_v2(
        model,
        opt="adamw",
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        eps=training.adam_eps,
        fused=True,
    )
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=training.epochs,
        warmup_epochs=training.warmup_epochs,
        warmup_lr=training.warmup_learning_rate,
        min_lr=training.min_learning_rate,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
    )
    return optimizer, scheduler
