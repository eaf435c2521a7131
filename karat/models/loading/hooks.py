"""Hooks that run before a converted model loads a state dict, on the whole of it."""

import warnings
from typing import Any

from torch import Tensor, nn

from karat.attention.carried import CarriesSettings, weights_of

_OPERATOR = ".attn.operator."


def before_loading(model: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Refuse weights of another function before any is taken, and give shards of operators under all their names.

    Raises:
        CombinationError: see `CarriesSettings.refuse_others`.
    """
    parts = [
        (f"{prefix}{name}.", module)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, CarriesSettings)
    ]
    for name, part in parts:
        part.refuse_others(state_dict, name)
    first: dict[int, str] = {}
    for name, part in parts:
        if (usual := first.setdefault(id(part), name)) != name:
            _give_shards_again(state_dict, usual, name)


def _give_shards_again(state_dict: dict[str, Any], first: str, name: str) -> None:
    """Give the shards of an operator under the name of a later block that shares it.

    torch's distributed checkpoints make DTensors of what has the first name alone. Under the other names are plain
    tensors, which cannot be copied into shards, or nothing.
    """
    for key in [each for each in state_dict if each.startswith(first)]:
        value, again = state_dict[key], name + key.removeprefix(first)
        is_shard = type(value) not in (Tensor, nn.Parameter)
        if is_shard and type(state_dict.get(again)) is not type(value):
            state_dict[again] = value


def take_host_weights(
    model: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object
) -> None:
    """Let weights of the host be complete for a model of timm's registry, with a warning.

    timm loads a `checkpoint_path` strictly, and then the operators, which weights with softmax do not have, are
    missing. Weights that have some of the operators are not touched here.
    """
    own = weights_of(model.state_dict(prefix=prefix))
    of_operators = {name: value for name, value in own.items() if _OPERATOR in name}
    if of_operators and not any(_OPERATOR in name for name in state_dict):
        state_dict.update(of_operators)
        warnings.warn(
            f"the weights have softmax: {len(of_operators)} weights of the model's operators stay as they are",
            stacklevel=2,
        )
