"""A check that looking at a model leaves it, and all random states, as they were."""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def leaves_all_unchanged(model: nn.Module, look: Callable[[], object]) -> None:
    """Assert it of weights, mode, what is trained, gradients, modules, hooks and random states."""
    model.eval()
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
    before = _state(model)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    look()
    drawn = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert drawn == (random.random(), np.random.random(), torch.rand(1).item())
    after = _state(model)
    assert before.keys() == after.keys()
    for name, value in before.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, after[name]), name
        else:
            assert value == after[name], name


def _state(model: nn.Module) -> dict[str, object]:
    found: dict[str, object] = {f"state {k}": v.clone() for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"trained {name}"] = parameter.requires_grad
        found[f"gradient {name}"] = None if parameter.grad is None else parameter.grad.clone()
    for name, module in model.named_modules():
        found[f"module {name}"] = (id(module), module.training, len(module._forward_hooks))
    return found
