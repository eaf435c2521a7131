"""What a training step reads, writes and keeps: found by running it on tensors without memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from karat.attention.config import AttentionConfig
from karat.models.build import build_model
from karat.models.config import ModelConfig

FEW, MORE = 2, 4  # images; the difference leaves out what does not grow with them


@dataclass(frozen=True, kw_only=True)
class StepBytes:
    """Bytes of the forward and backward pass of one image, in float32.

    Args:
        moved: that operations read and write, without the inside of a fused kernel, which works on
            tiles that stay in the cache.
        kept: of activations that the forward pass leaves for the backward pass.
    """

    moved: float
    kept: float


def step_bytes(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
) -> StepBytes:
    """Count on the operations that torch would run on a CPU; nothing is computed.

    Raises:
        InputError: the settings are not compatible.
    """
    shape = {"image_size": image_size, "channels": channels, "classes": classes}
    built = build_model(model, attention, seed=0, **shape).train()
    few, more = (
        _counted(built, torch.Size((count, channels, image_size, image_size)))
        for count in (FEW, MORE)
    )
    return StepBytes(
        moved=(more[0] - few[0]) / (MORE - FEW), kept=(more[1] - few[1]) / (MORE - FEW)
    )


def _counted(model: torch.nn.Module, shape: torch.Size) -> tuple[int, int]:
    """Bytes moved and kept by a step on images of that shape."""
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor.detach()  # the tensor itself would hold the graph, which holds the tensor

    with FakeTensorMode() as fake, _Traffic() as traffic:
        own: dict[str, Tensor] = {
            name: fake.from_tensor(each)
            for name, each in [*model.named_parameters(), *model.named_buffers()]
        }
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            out = functional_call(model, own, (torch.empty(shape),))
            loss = F.cross_entropy(out, torch.zeros(shape[0], dtype=torch.long))
        loss.backward()  # type: ignore[no-untyped-call]
    for each in own.values():
        kept.pop(each.untyped_storage()._cdata, None)
    return traffic.bytes, sum(storage.nbytes() for storage in kept.values())


class _Traffic(TorchDispatchMode):
    """Adds up what each operation reads and writes; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        read, written = _tensors((args, kwargs)), _tensors(out)
        given = {each.untyped_storage()._cdata for each in read}
        is_view = all(each.untyped_storage()._cdata in given for each in written)
        if func._schema.is_mutable or not is_view:
            self.bytes += sum(_size(each) for each in (*read, *written))
        return out


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _size(tensor: Tensor) -> int:
    """Bytes; what is broadcast counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
