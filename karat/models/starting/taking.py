"""Starts a model from the weights of another: which are taken, resized, left out, and which start anew.

The weights may be those of any host model of the same architecture: another number of tokens, another patch size,
another number of classes, softmax or an operator. What belongs to the attention mechanism alone (an operator's
coefficients) is taken where `karat.models.transfer` can transfer it, and starts anew elsewhere.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from karat.attention.carried import is_setting, weights_of
from karat.errors import CombinationError, HostError
from karat.models.hosts import attention_layers, is_converted
from karat.models.layers import AttentionLayer
from karat.models.loading.hooks import before_loading
from karat.models.transfer import Writes, operator_writes, resized

_HEADS = ("head", "head_dist")
_REGISTERS = "registers"  # of `karat.models.registers`
_OPERATOR = ".attn.operator."
_SHOWN = 4  # weights in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a model was started from.

    Args:
        taken: number of tensors that were taken as they are, or resized.
        resized: name of each tensor that was interpolated, with both shapes.
        fresh: what starts anew, and why.
        left_out: what the weights have and the model does not.
    """

    taken: int
    resized: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.taken} tensors taken"]
        for what, names in (
            ("resized", self.resized),
            ("started anew", self.fresh),
            ("left out", self.left_out),
        ):
            if names:
                parts.append(f"{what}: {', '.join(names)}")
        return "; ".join(parts)


def take(target: nn.Module, state: Mapping[str, Tensor], source: nn.Module | None = None) -> Taken:
    """Fill `target` with weights, as far as both have them.

    Args:
        target: a host model, converted or not, with its initial weights.
        state: names as in the host model.
        source: the model that has these weights, where its settings are known; without it operators are taken
            only where names and shapes are the same.

    Returns:
        What was taken. `target` is changed in place.

    Raises:
        HostError: the weights are of another architecture: names and shapes. `target` is unchanged then.
    """
    layers = attention_layers(target)
    state = dict(state)
    noted = {name: state.pop(name) for name in list(state) if is_setting(name)}
    host, resizes, problems = _host(target, state, layers, source)
    fresh = [*_fresh_parts(target, state)]
    if problems:
        more = len(problems) - _SHOWN
        raise HostError(
            f"the weights are of another architecture: {'; '.join(problems[:_SHOWN])}"
            f"{f'; and {more} more' if more > 0 else ''}"
        )
    operators, why = _operators(target, state, layers, source, noted)
    fresh += [why] if why else []
    writes = host + operators
    with torch.no_grad():
        for parameter, value in writes:
            parameter.copy_(value)
    return Taken(
        taken=len(writes),
        resized=tuple(resizes),
        fresh=tuple(fresh),
        left_out=tuple(_left_out(target, state)),
    )


def _host(
    target: nn.Module,
    state: Mapping[str, Tensor],
    layers: list[AttentionLayer],
    source: nn.Module | None,
) -> tuple[Writes, list[str], list[str]]:
    """Values of all weights but the operators', what was resized, and what does not fit."""
    before = attention_layers(source) if source is not None else []
    writes: Writes = []
    resizes: list[str] = []
    problems = [*_other_heads(before, layers)]
    missing: list[str] = []
    for name, own in _weights(target).items():
        if _OPERATOR in name:
            continue
        value = state.get(name)
        if value is None:
            if name != _REGISTERS:
                missing.append(f"{name} is missing there and {_shape(own)} here")
        elif value.shape == own.shape:
            writes.append((own, value))
        elif name.split(".")[0] not in _HEADS:
            here = _layer_of(name, layers)
            there = _layer_of(name, before) if before else _inferred(name, value, own, here)
            try:
                writes.append((own, resized(name, value, own, there, here)))
                resizes.append(f"{name} {_shape(value)} to {_shape(own)}")
            except (HostError, RuntimeError):
                problems.append(f"{name} is {_shape(value)} there and {_shape(own)} here")
    for name in state.keys() - _weights(target).keys():
        if _OPERATOR not in name and name.split(".")[0] not in _HEADS:
            missing.append(f"{name} is {_shape(state[name])} there and missing here")
    return writes, resizes, problems + missing


def _other_heads(before: list[AttentionLayer], layers: list[AttentionLayer]) -> Iterator[str]:
    """Blocks whose heads differ, which shapes alone do not show."""
    for there, here in zip(before, layers, strict=False):
        if there.num_heads != here.num_heads:
            yield f"{here.name} has {there.num_heads} heads there and {here.num_heads} here"


def _fresh_parts(target: nn.Module, state: Mapping[str, Tensor]) -> Iterator[str]:
    for name, own in _weights(target).items():
        if name == _REGISTERS and name not in state:
            yield f"{name} ({own.shape[1]} tokens)"
        is_head = name.split(".")[0] in _HEADS and name.endswith(".weight")
        if is_head and name in state and state[name].shape != own.shape:
            there, here = state[name].shape[0], own.shape[0]
            yield f"{name.split('.')[0]} ({there} classes there, {here} here)"


def _operators(
    target: nn.Module,
    state: Mapping[str, Tensor],
    layers: list[AttentionLayer],
    source: nn.Module | None,
    noted: Mapping[str, Tensor],
) -> tuple[Writes, str]:
    """Values of the operators' parameters; or none, and that they start anew, with the reason."""
    own = {name: value for name, value in _weights(target).items() if _OPERATOR in name}
    if not own:
        return [], ""
    fresh = f"the attention's own parameters ({len(own)} tensors"
    if not any(_OPERATOR in name for name in state):
        return [], f"{fresh}; the weights have softmax)"
    if source is None:
        try:
            before_loading(target, dict(noted), "")
        except CombinationError as error:
            return [], f"{fresh}; {error})"
        if all(name in state and state[name].shape == value.shape for name, value in own.items()):
            return [(value, state[name]) for name, value in own.items()], ""
        return [], f"{fresh}; those of the weights have other names or shapes)"
    pairs = list(zip(attention_layers(source), layers, strict=True))
    if any(is_converted(new) and not is_converted(old) for old, new in pairs):
        return [], f"{fresh}; some blocks have softmax there)"
    if any(old.prefix_tokens != new.prefix_tokens for old, new in pairs):
        return [], f"{fresh}; there are other tokens before the patches)"
    try:
        return list(operator_writes(pairs)), ""
    except (CombinationError, HostError) as error:
        return [], f"{fresh}; {error})"


def _left_out(target: nn.Module, state: Mapping[str, Tensor]) -> Iterator[str]:
    here = _weights(target)
    operators = [name for name in state if _OPERATOR in name]
    if operators and not any(_OPERATOR in name for name in here):
        yield f"the operators of the weights ({len(operators)} tensors)"
    yield from sorted(name for name in state.keys() - here.keys() if name.split(".")[0] in _HEADS)


def _weights(target: nn.Module) -> dict[str, Tensor]:
    return weights_of(target.state_dict())


def _layer_of(name: str, layers: list[AttentionLayer]) -> AttentionLayer:
    """The layer that a weight belongs to; the first one for weights of the whole model."""
    own = (layer for layer in layers if name.startswith(f"{layer.name}."))
    return next(own, layers[0])


def _inferred(name: str, value: Tensor, own: Tensor, here: AttentionLayer) -> AttentionLayer:
    """The layer there, with the square grid that the number of its positions means."""
    if name == "pos_embed" and value.dim() == own.dim() == 3:
        prefix = own.shape[1] - math.prod(here.grid)
        side = math.isqrt(max(0, value.shape[1] - prefix))
    else:  # Swin's tables have a row for each of (2 w - 1)² distances
        side = (math.isqrt(value.shape[0]) + 1) // 2 if value.dim() else 0
    return replace(here, grid=(side, side))


def _shape(value: Any) -> str:
    return "x".join(map(str, value.shape)) or "a number"
