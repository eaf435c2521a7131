"""Looks into the attention of a model: scores, weights and output of every block, and changes to them.

Shapes: B batch, H heads, N queries, M keys, D head width; W windows of an image.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from karat.attention.kernels import QKV
from karat.attention.mechanisms.softmax import Softmax
from karat.attention.part import MechanismPart, Part
from karat.models.convert import wrapped
from karat.models.hosts import attention_layers
from karat.models.layers import AttentionLayer
from karat.models.wrappers.base import HostAttention, Observer

# What becomes of the scores or the weights of an attention module.
ChangeOf: TypeAlias = Callable[[AttentionLayer, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one attention module formed in one forward pass.

    Args:
        layer: the module.
        scores: (B, H, N, M), scaled, with the host's bias, after any change; None for a mechanism without
            scores, NaN for those heads of a hybrid that have none. For differential attention those of
            its first half.
        weights: (B, H, N, M), after any change; of ConViT's gated layers the part that attends to content.
        values: (B, H, M, D).
        out: (B, H, N, D), what attention gives, before gates and the output projection.
        keep: truth values that broadcast to the scores: the pairs that are not masked; None for all.
    """

    layer: AttentionLayer
    scores: Tensor | None
    weights: Tensor
    values: Tensor
    out: Tensor
    keep: Tensor | None = None


@contextmanager
def observed(
    model: nn.Module,
    *,
    change_scores: ChangeOf | None = None,
    change_weights: ChangeOf | None = None,
    record: bool = True,
) -> Iterator[list[Seen]]:
    """Within this context, every forward pass forms scores and weights, and adds them to the list.

    One `Seen` for each attention module in the order of blocks; clear the list between passes. For hosts
    with windows the batch is B W windows. Without a change the model's answers are the same up to rounding, since another
    kernel computes them. The model may have any mechanism, also the host's softmax; it is unchanged
    afterwards, also after an error.

        with torch.no_grad(), observed(model) as seen:
            model(images)
        weights = [each.weights for each in seen]

    Args:
        model: a supported host, in eval mode.
        change_scores: gets a module and its scores, returns the scores to go on with.
        change_weights: the same with the weights.
        record: whether the list is filled.

    Raises:
        HostError: the model is not a supported host.
        ValueError: the model is in training mode, whose dropout would be left out.
    """
    if model.training:
        raise ValueError("a model is observed in eval mode: call model.eval() first")
    seen: list[Seen] = []
    with ExitStack() as stack:
        for layer in attention_layers(model):
            module = stack.enter_context(with_part(layer))
            observer = _observer(layer, change_scores, change_weights, seen if record else None)
            stack.enter_context(_observing(module, observer))
        yield seen


@contextmanager
def with_part(layer: AttentionLayer) -> Iterator[HostAttention]:
    """Within this context, the layer's module has a mechanism: its own, or softmax in place of timm's module."""
    own = layer.block.attn
    if isinstance(own, HostAttention):
        yield own
        return
    part = MechanismPart(Softmax(), layer.place)
    part.to(own.proj.weight.device)
    layer.block.attn = wrapped(layer, part)
    try:
        yield layer.block.attn
    finally:
        layer.block.attn = own


@contextmanager
def _observing(module: HostAttention, observer: Observer) -> Iterator[None]:
    before, module.observer = module.observer, observer
    try:
        yield
    finally:
        module.observer = before


def _observer(
    layer: AttentionLayer,
    change_scores: ChangeOf | None,
    change_weights: ChangeOf | None,
    seen: list[Seen] | None,
) -> Observer:
    def observe(
        part: Part, qkv: QKV, scale: float, bias: Tensor | None, keep: Tensor | None
    ) -> Tensor:
        def scores(matrix: Tensor) -> Tensor:
            return matrix if change_scores is None else change_scores(layer, matrix)

        def weights(matrix: Tensor) -> Tensor:
            return matrix if change_weights is None else change_weights(layer, matrix)

        found = part.look(
            qkv, scale, bias=bias, keep=keep, change_scores=scores, change_weights=weights
        )
        if seen is not None:
            values = qkv[2]
            seen.append(
                Seen(
                    layer=layer,
                    scores=found.scores,
                    weights=found.weights,
                    values=values,
                    out=found.out,
                    keep=keep,
                )
            )
        return found.out

    return observe
