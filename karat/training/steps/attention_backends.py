"""Chooses by measurement which of torch's backends computes softmax attention in training.

`scaled_dot_product_attention` has several on CUDA, and its own order is not by speed: on Hopper GPUs cuDNN's is up to
twice as fast as the one that torch takes first. A baseline must not be slow by neglect, so a forward and a backward
pass of each backend are timed with the calls that the model makes (shapes, type, mask, scale), and the fastest that
can do all of them is used for the whole segment.

On a CPU there is nothing to choose: torch's flash kernel computes what it can, and the formula the rest.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

BACKENDS: Mapping[str, SDPBackend] = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
ON_CPU = ("flash", "math")  # in torch's order
_WARM_UP, _REPEATS = 3, 10
_Tensors = tuple[Tensor, Tensor, Tensor, Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of `scaled_dot_product_attention` that a model makes.

    Args:
        q, k, v: shapes: (batch, heads, tokens, head width).
        dtype, device: of the three.
        mask: shape and type of the mask, or None.
        dropout, is_causal, scale: its other arguments.
    """

    q: tuple[int, ...]
    k: tuple[int, ...]
    v: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    mask: tuple[tuple[int, ...], torch.dtype] | None = None
    dropout: float = 0.0
    is_causal: bool = False
    scale: float | None = None

    def tensors(self) -> "_Tensors":
        """Tensors for the call: zeros for queries, keys and values, which need gradients."""
        place: dict[str, Any] = {"dtype": self.dtype, "device": self.device}
        q, k, v = (torch.zeros(s, requires_grad=True, **place) for s in (self.q, self.k, self.v))
        if self.mask is None:
            return q, k, v, None
        shape, dtype = self.mask
        return q, k, v, torch.ones(shape, dtype=dtype, device=self.device)

    def attend(self, tensors: "_Tensors") -> Tensor:
        """The result of the call with these tensors."""
        q, k, v, mask = tensors
        return F.scaled_dot_product_attention(
            q, k, v, mask, self.dropout, self.is_causal, scale=self.scale
        )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The backend of a segment.

    Args:
        name: one of `BACKENDS`; empty where the model has no softmax attention of torch's.
        milliseconds: backend to the time of a forward and a backward pass of all calls; without those that
            cannot do one of them, and empty where nothing was measured.
    """

    name: str = ""
    milliseconds: Mapping[str, float] = field(default_factory=dict)


class _Recorder(TorchFunctionMode):
    """Records the calls of softmax attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Call] = Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.calls[_call(*args, **kwargs)] += 1
        return func(*args, **kwargs)


def _call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Call:
    assert not enable_gqa, "no host model groups queries"
    return Call(
        q=tuple(query.shape),
        k=tuple(key.shape),
        v=tuple(value.shape),
        dtype=query.dtype,
        device=query.device,
        mask=None if attn_mask is None else (tuple(attn_mask.shape), attn_mask.dtype),
        dropout=dropout_p,
        is_causal=is_causal,
        scale=scale,
    )


@torch.no_grad()
def calls_of(forward: Callable[[Tensor], Any], images: Tensor) -> Counter[Call]:
    """The calls of a forward pass, and how often each is made; draws no random numbers of the training."""
    devices = [images.device] if images.device.type == "cuda" else []
    recorder = _Recorder()
    with torch.random.fork_rng(devices), recorder:
        forward(images)
    return recorder.calls


def choose(
    calls: Mapping[Call, int], backends: Sequence[str], seconds: Callable[[Call, str], float | None]
) -> Chosen:
    """The backend with the shortest time for all calls; of equal ones the first.

    Args:
        calls: how often each is made.
        backends: names of those to compare.
        seconds: the time of a call on a backend; None if it cannot do the call.
    """
    totals: dict[str, float] = {}
    for name in backends:
        times = [(seconds(call, name), count) for call, count in calls.items()]
        if times and all(each is not None for each, _ in times):
            totals[name] = 1000 * sum(each * count for each, count in times if each is not None)
    if not totals:
        return Chosen()
    return Chosen(name=min(totals, key=totals.__getitem__), milliseconds=totals)


def choose_for(forward: Callable[[Tensor], Any], images: Tensor) -> Chosen:
    """The backend for the softmax attention of a model.

    Args:
        forward: the forward pass, as it is in training, but not compiled.
        images: a micro-batch on the device.
    """
    if images.device.type != "cuda":
        calls = calls_of(forward, images[:1])
        usable = [name for name in ON_CPU if all(_can(call, name) for call in calls)]
        return Chosen(name=usable[0] if calls and usable else "")
    return choose(calls_of(forward, images), tuple(BACKENDS), _seconds)


@contextmanager
def using(chosen: Chosen, device: torch.device) -> Iterator[None]:
    """Compute softmax attention by the chosen backend, within the block; on a CPU as torch does by itself."""
    if device.type != "cuda" or not chosen.name:
        yield
        return
    # The others stay allowed, below it: the last micro-batch may have a shape that it cannot do.
    order = [BACKENDS[chosen.name], *(each for each in BACKENDS.values())]
    with sdpa_kernel(list(dict.fromkeys(order)), set_priority=True):
        yield


def _can(call: Call, name: str) -> bool:
    try:
        with torch.random.fork_rng(devices=[]), sdpa_kernel(BACKENDS[name]):
            call.attend(call.tensors())
    except RuntimeError:  # torch has no class of its own for "No viable backend"
        return False
    return True


def _seconds(call: Call, name: str) -> float | None:
    """The median time on a GPU of a forward and a backward pass; None if the backend refuses the call."""
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    found: list[float] = []
    try:
        with torch.random.fork_rng([call.device]), sdpa_kernel(BACKENDS[name]):
            tensors = call.tensors()
            for _ in range(_WARM_UP + _REPEATS):
                begin.record()
                result = call.attend(tensors)
                result.backward(torch.ones_like(result))  # type: ignore[no-untyped-call]
                end.record()
                end.synchronize()
                found.append(begin.elapsed_time(end) / 1000)
    except torch.OutOfMemoryError:  # as the formula for many tokens
        torch.cuda.empty_cache()
        return None
    except RuntimeError:
        return None
    return statistics.median(found[_WARM_UP:])
