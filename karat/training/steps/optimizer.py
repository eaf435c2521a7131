"""The optimiser of a trial and the schedule of its learning rate."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from karat.errors import SettingError
from karat.training.config import TrainingConfig
from karat.training.steps.config import LOOKAHEAD

# timm's names. `poly` has timm's default power where `decay_rate` is not given; 1 is a straight line.
_SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"sched": "cosine"},
    "linear": {"sched": "poly", "decay_rate": 1.0},
    "tanh": {"sched": "tanh"},
    "wsd": {"sched": "wsd"},
    "constant": {"sched": "constant"},
}
_HYBRID = "muon"  # the names of optimisers with another one for what is no matrix contain it


def make_optimizer(
    model: nn.Module, training: TrainingConfig, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, Any]:
    """The optimiser of a model, and timm's schedule of the learning rate, to be updated at every step.

    Raises:
        SettingError: the optimiser needs a package or a device that is not there.
    """
    from timm.scheduler import create_scheduler_v2  # takes seconds to import

    optimizer = _optimizer_of(model, training)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        num_epochs=training.epochs,
        warmup_epochs=training.warmup_epochs,
        warmup_lr=training.warmup_learning_rate,
        min_lr=training.min_learning_rate,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
        **_SCHEDULES[training.schedule],
    )
    return optimizer, scheduler


def learning_rate_of(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate now, before the layer decay."""
    group = optimizer.param_groups[0]
    rate: float = group["lr"]
    return rate / group["lr_scale"] if "lr_scale" in group else rate


def described(optimizer: torch.optim.Optimizer) -> str:
    """The class of an optimiser, and whether a step is one fused kernel: `AdamW, fused`."""
    inner = getattr(optimizer, "_base_optimizer", optimizer)  # of timm's Lookahead
    fused = ", fused" if inner.defaults.get("fused") else ""
    around = f"{type(optimizer).__name__} of " if inner is not optimizer else ""
    return f"{around}{type(inner).__name__}{fused}"


def _optimizer_of(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    from timm.optim import create_optimizer_v2  # takes seconds to import

    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            model,
            opt=training.optimizer,
            lr=training.peak_learning_rate,
            weight_decay=training.weight_decay,
            eps=training.adam_eps,
            **_arguments(model, training),
        )
        return optimizer
    # timm's wrappers of apex and bitsandbytes assert that the package and a GPU are there.
    except (AssertionError, ImportError) as error:
        rule = f"cannot be used on this machine: {error}"
        raise SettingError("training.optimizer", rule, training.optimizer) from error


def _arguments(model: nn.Module, training: TrainingConfig) -> dict[str, Any]:
    """What only some optimisers have."""
    from timm.optim import get_optimizer_class

    name = training.optimizer.removeprefix(LOOKAHEAD)
    given = {key: getattr(training, key) for key in ("betas", "momentum", "layer_decay")}
    found: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if "fused" in inspect.signature(get_optimizer_class(name, bind_defaults=False)).parameters:
        found["fused"] = True
    if _HYBRID in name:
        found["fallback_list"] = tuple(_no_hidden_matrices(model))
    return found


def _no_hidden_matrices(model: nn.Module) -> Iterator[str]:
    """Names of the parameters that are no matrix of a linear layer within a block.

    An orthogonalised update is meant for matrices between hidden layers: not for embeddings, the classifier,
    or tables of an operator's coefficients, whose rows and columns are no inputs and outputs.
    """
    matrices = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "blocks." in name
    }
    yield from (name for name, _ in model.named_parameters() if name not in matrices)
