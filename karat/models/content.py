"""A probe of trained models: what is left of them without queries and keys."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from karat.models.hosts import attention_layers
from karat.models.observing import with_part
from karat.models.wrappers.base import HostAttention


@contextmanager
def without_content(model: nn.Module) -> Iterator[nn.Module]:
    """Within this context, queries and keys of all attention modules are held at zero.

    All scores are then the same, or the host's position bias: what a model still reaches, it reaches
    by position alone. ConViT's gated layers keep the part that attends to positions. The model may
    have any mechanism, also the host's softmax; it is unchanged afterwards, also after an error.

        with torch.no_grad(), karat.without_content(model):
            accuracy = evaluate(model)

    Raises:
        HostError: the model is not a supported host.
    """
    with ExitStack() as stack:
        for layer in attention_layers(model):
            stack.enter_context(_switched_off(stack.enter_context(with_part(layer))))
        yield model


@contextmanager
def _switched_off(module: HostAttention) -> Iterator[None]:
    before, module.content = module.content, False
    try:
        yield
    finally:
        module.content = before
