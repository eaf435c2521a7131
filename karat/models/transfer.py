"""Transfers weights from one model to another: other resolution, finer grid, less sharing.

Shapes: P operators, N tokens; a token axis has the prefix tokens, then the patch grid by rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.attention.carried import weights_of
from karat.attention.heads import HeadParts
from karat.attention.mechanisms import name_of
from karat.attention.operator import Operator
from karat.attention.part import MechanismPart, Part
from karat.attention.units import Units
from karat.errors import CombinationError, HostError
from karat.models.hosts import attention_layers, is_converted
from karat.models.layers import AttentionLayer

Writes = list[tuple[Tensor, Tensor]]
_MUST_AGREE = (
    *("rank", "operator_order", "projection", "output_scale"),
    *("base_activation", "unit_scales"),
)


def transfer(source: nn.Module, target: nn.Module) -> nn.Module:
    """Fill `target` with the weights of `source`, as far as both have them.

    The host's weights are copied; position embeddings, patch filters and Swin's bias tables are
    resampled with timm's functions. Operators are transferred by `OperatorTransfer`. An operator
    that only the target has (the source uses softmax) keeps its initial weights, and so does a
    classifier with another number of classes.

    Args:
        source: a timm model, converted or not.
        target: a model of the same architecture; it may have another input size, a finer grid of
            its basis, or less sharing between blocks and heads.

    Returns:
        The target.

    Raises:
        InputError (a ValueError): the models do not match, or the target has no place for an operator of the
            source; the target is unchanged then.
    """
    layers = list(zip(_matching_layers(source, target), attention_layers(target), strict=True))
    _refuse_dropped(layers)
    # First compute all, then write: an error must leave the target unchanged.
    writes = list(operator_writes(layers)) + list(_host_writes(source, target, layers))
    with torch.no_grad():
        for parameter, value in writes:
            parameter.copy_(value)
    return target


def _matching_layers(source: nn.Module, target: nn.Module) -> list[AttentionLayer]:
    found, wanted = attention_layers(source), attention_layers(target)
    if type(source) is not type(target) or len(found) != len(wanted):
        raise HostError(
            f"a {type(source).__name__} of {len(found)} blocks cannot be transferred to a "
            f"{type(target).__name__} of {len(wanted)}"
        )
    for old, new in zip(found, wanted, strict=True):
        for key in ("num_heads", "head_dim", "prefix_tokens"):
            before, after = getattr(old, key), getattr(new, key)
            if before != after:
                raise HostError(
                    f"{new.name}: {key} is {before} in the source, {after} in the target"
                )
    return found


def _refuse_dropped(layers: list[tuple[AttentionLayer, AttentionLayer]]) -> None:
    """Refuse to leave trained operators out in silence, where the target has softmax."""
    lost = [new.name for old, new in layers if is_converted(old) and not is_converted(new)]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise HostError(
            f"{lost[0]}{more}: the source has an operator here and the target softmax, so that it would be "
            "dropped; karat.convert the target with the settings of the source first, or, for the weights of "
            "the host alone, load those of source.state_dict() without .attn.operator. into the target"
        )


# -- operators --------------------------------------------------------------------------------


def operator_writes(
    layers: list[tuple[AttentionLayer, AttentionLayer]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Parameters of the operators of converted layers with their new values, for pairs (source, target).

    Raises:
        CombinationError: the operators differ in kind, or the target is coarser or has more sharing.
        HostError: other tokens, which in this model are not the patches of a grid by rows.
    """
    served: dict[int, nn.Module] = {}
    for old, new in layers:
        if not (is_converted(old) and is_converted(new)):
            continue
        _refuse_off_grid(old, new)
        source: Part = old.block.attn.operator
        target: Part = new.block.attn.operator
        if served.setdefault(id(target), source) is not source:
            raise CombinationError(
                ("attention.block_sharing",),
                f"{new.name}: operators of different blocks cannot be transferred to a universal one",
            )
        for part, into in _pairs(source, target, new.name):
            if isinstance(part, Operator) and isinstance(into, Operator):
                yield from OperatorTransfer(part, into, old, new).writes()
            else:
                yield from _mechanism_writes(part, into, new.name)


def _refuse_off_grid(old: AttentionLayer, new: AttentionLayer) -> None:
    """Refuse an operator for other tokens where these are not the patches of a grid by rows."""
    if new.off_grid and (old.num_tokens, old.keys) != (new.num_tokens, new.keys):
        raise HostError(
            f"{new.name}: an operator of {old.keys} keys cannot be transferred to {new.keys}, since in this model "
            f"{new.off_grid}"
        )


def _pairs(source: Part, target: Part, name: str) -> Iterator[tuple[nn.Module, nn.Module]]:
    if isinstance(source, HeadParts) and isinstance(target, HeadParts):
        if source.heads == target.heads:
            yield from zip(source.operators, target.operators, strict=True)
            return
    elif not isinstance(source, HeadParts) and not isinstance(target, HeadParts):
        yield source, target
        return
    raise CombinationError(
        ("attention.heads",), f"{name}: the target has other KArAt heads or settings per head"
    )


def _mechanism_writes(source: nn.Module, target: nn.Module, name: str) -> Writes:
    """The parameters of a mechanism other than the operator, which are copied as they are."""
    if not (isinstance(source, MechanismPart) and isinstance(target, MechanismPart)) or (
        type(source.mechanism) is not type(target.mechanism)
    ):
        raise CombinationError(
            ("attention.mechanism",), f"{name}: the target has another attention.mechanism"
        )
    found = []
    for key, parameter in target.learned.items():
        value = source.learned.get(key)
        if value is None or value.shape != parameter.shape:
            what = f"shape {tuple(parameter.shape)}, and in the source "
            what += "it does not exist" if value is None else f"{tuple(value.shape)}"
            raise CombinationError(
                ("attention.mechanism",),
                f"{name}: attention.mechanism = {name_of(target.mechanism)}: its parameter {key} "
                f"has {what}; only the operator can be transferred to other shapes",
            )
        found.append((parameter, value.detach()))
    return found


@dataclass(frozen=True)
class OperatorTransfer:
    """Transfers the weights of one operator.

    The output stays exactly the same from shared heads to groups or single heads, and to a finer
    grid if the basis supports it (`Basis.refined`). For another number of tokens, every token axis
    is interpolated over the patch grid (bilinear, antialiased; prefix tokens are copied), and
    functions and W are multiplied by the ratio of the numbers of patches, so that sums over the
    tokens of an image keep their size.

    Args:
        source, target: the operators.
        old, new: their layers.
    """

    source: Operator
    target: Operator
    old: AttentionLayer
    new: AttentionLayer

    def writes(self) -> Writes:
        """Parameters of the target with their new values.

        Raises:
            CombinationError: the operators differ in kind, or the target is coarser.
        """
        ours, theirs = self.source.config, self.target.config
        for key in _MUST_AGREE:
            before, after = getattr(ours, key), getattr(theirs, key)
            if before != after:
                self._refuse(key, f"{before} cannot be transferred to {after}")
        if self.target.num_operators % self.source.num_operators:
            counts = f"{self.source.num_operators} operators cannot be transferred to"
            self._refuse("head_sharing", f"{counts} {self.target.num_operators}")
        full, order = ours.rank == "full", ours.operator_order
        found = self._of_units(
            self.source.phi,
            self.target.phi,
            inputs=order != "phi_w",
            outputs=full or order == "phi_w",
        )
        if self.source.phi_2 is not None and self.target.phi_2 is not None:
            found += self._of_units(
                self.source.phi_2, self.target.phi_2, inputs=False, outputs=True
            )
        if self.source.weight is not None and self.target.weight is not None:
            gives_weights = order == "w_phi"
            axis = 1 if gives_weights else 2
            weight = self._resampled(self._repeated(self.source.weight), axis)
            weight = weight * self._along(axis, self._gains(outputs=gives_weights), 3)
            found.append((self.target.weight, weight))
        if self.source.output_scale is not None and self.target.output_scale is not None:
            found.append((self.target.output_scale, self._repeated(self.source.output_scale)))
        return found

    def _of_units(self, source: Units, target: Units, *, inputs: bool, outputs: bool) -> Writes:
        coefficients = source.basis.refined(
            {name: self._repeated(value) for name, value in source.coefficients.items()},
            target.basis,
        )
        scales = {
            name: self._repeated(value)
            for name, value in (("scale", source.scale), ("base_scale", source.base_scale))
            if value is not None
        }
        for axis, has_tokens in ((2, inputs), (1, outputs)):
            if not has_tokens:
                continue
            gains = self._along(axis, self._gains(outputs=axis == 1), 3)
            coefficients = {n: self._resampled(v, axis) for n, v in coefficients.items()}
            scales = {name: self._resampled(v, axis) * gains for name, v in scales.items()}
            if not scales:
                some = next(iter(coefficients.values()))
                scale = torch.ones_like(some[..., 0] if some.dim() > 3 else some) * gains
                coefficients = source.basis.scaled(coefficients, scale)
        of_scales = {"scale": target.scale, "base_scale": target.base_scale}
        return [(target.coefficients[name], value) for name, value in coefficients.items()] + [
            (parameter, scales[name])
            for name, parameter in of_scales.items()
            if parameter is not None
        ]

    def _repeated(self, value: Tensor) -> Tensor:
        times = self.target.num_operators // self.source.num_operators
        return value.detach().repeat_interleave(times, 0)

    def _resampled(self, value: Tensor, axis: int) -> Tensor:
        if self.old.grid == self.new.grid:
            return value
        return resample_tokens(
            value, axis, self.old.grid, self.new.grid, prefix=self.old.prefix_tokens
        )

    def _gains(self, *, outputs: bool) -> Tensor:
        """Factor of each token, shape (N,): with more tokens, the terms of a sum must be smaller."""
        gains = torch.ones(self.new.keys)
        config = self.source.config
        projects_weights = config.projection != "none" and (
            config.rank == "full" or config.operator_order != "w_phi"
        )
        if outputs and projects_weights:  # a projected row sums to 1, whatever its length
            if config.output_scale in ("1/N", "1/sqrt(N)") and self.old.grid != self.new.grid:
                rule = "of a projected row cannot be transferred to another number of tokens"
                self._refuse("output_scale", f"{config.output_scale} {rule}")
            return gains
        gains[self.new.prefix_tokens :] = math.prod(self.old.grid) / math.prod(self.new.grid)
        if outputs:
            more = self.new.keys / self.old.keys
            gains *= {"1/N": more, "1/sqrt(N)": math.sqrt(more)}.get(str(config.output_scale), 1.0)
        return gains

    def _along(self, axis: int, gains: Tensor, dims: int) -> Tensor:
        weight = self.source.phi.coefficients
        like = next(iter(weight.values()))
        return gains.to(like).view([-1 if each == axis else 1 for each in range(dims)])

    def _refuse(self, key: str, what: str) -> None:
        raise CombinationError((f"attention.{key}",), f"{self.new.name}: attention.{key}: {what}")


def resample_tokens(
    value: Tensor, axis: int, old: tuple[int, int], new: tuple[int, int], prefix: int
) -> Tensor:
    """Interpolate a token axis over the patch grid; the prefix tokens are copied.

    Args:
        value: any shape; `axis` has `prefix` + rows x columns entries.
        axis: the token axis.
        old, new: rows and columns of patches before and after.
        prefix: number of tokens before the patches.
    """
    tokens_last = value.movedim(axis, -1)
    first, patches = tokens_last[..., :prefix], tokens_last[..., prefix:]
    images = patches.reshape(-1, 1, *old).float()
    resized = F.interpolate(images, size=new, mode="bilinear", antialias=True)
    resized = resized.to(value.dtype).reshape(*patches.shape[:-1], -1)
    return torch.cat([first, resized], -1).movedim(-1, axis)


# -- the host ---------------------------------------------------------------------------------


def _host_writes(
    source: nn.Module, target: nn.Module, layers: list[tuple[AttentionLayer, AttentionLayer]]
) -> Iterator[tuple[Tensor, Tensor]]:
    old_state, new_state = weights_of(source.state_dict()), weights_of(target.state_dict())
    by_module = {old.name: (old, new) for old, new in layers}
    for name in old_state.keys() - new_state.keys():
        if ".attn.operator." not in name:
            raise HostError(f"{name}: the target does not have these weights")
    for name, value in new_state.items():
        if ".attn.operator." in name:
            continue
        if name not in old_state:
            raise HostError(f"{name}: the source does not have these weights")
        old = old_state[name]
        if old.shape != value.shape:
            if name.split(".")[0] in ("head", "head_dist"):
                continue
            own = (pair for module, pair in by_module.items() if name.startswith(f"{module}."))
            old = resized(name, old, value, *next(own, layers[0]))
        yield value, old


def resized(
    name: str, old: Tensor, new: Tensor, before: AttentionLayer, after: AttentionLayer
) -> Tensor:
    """A host's weight interpolated to another shape, by timm's functions.

    Args:
        name: of the weight in the model.
        old, new: its values in the source and in the target; of the target only the shape counts.
        before, after: the layers whose grids it belongs to.

    Raises:
        HostError: it has no meaning at another shape, or would not fit.
    """
    from timm.layers import (  # takes seconds to import
        resample_abs_pos_embed,
        resample_abs_pos_embed_nhwc,
        resample_patch_embed,
        resize_rel_pos_bias_table,
    )

    resized: Any = None
    if name == "pos_embed" and old.dim() == 4:  # of SAM, as a map
        resized = resample_abs_pos_embed_nhwc(old, list(new.shape[1:3]))
    elif name == "pos_embed":
        prefix = old.shape[1] - math.prod(before.grid)
        if 0 <= prefix <= before.prefix_tokens:
            resized = resample_abs_pos_embed(
                old, new_size=list(after.grid), old_size=list(before.grid), num_prefix_tokens=prefix
            )
    elif name.endswith((".rel_pos_h", ".rel_pos_w")):  # of SAM, a vector for each distance
        resized = F.interpolate(old.T[None], size=len(new), mode="linear")[0].T
    elif name == "patch_embed.proj.weight" and old.shape[:2] == new.shape[:2]:
        resized = resample_patch_embed(old, list(new.shape[-2:]))
    elif name.endswith("relative_position_bias_table") and (
        old.shape[-1] == new.shape[-1] or old.dim() == 3
    ):
        resized = resize_rel_pos_bias_table(
            old,
            new_window_size=after.grid,
            new_bias_shape=tuple(new.shape),
            old_window_size=before.grid,
        )
    if resized is None or resized.shape != new.shape:
        raise HostError(
            f"{name}: weights of shape {tuple(old.shape)} do not fit {tuple(new.shape)}"
        )
    found: Tensor = resized
    return found
