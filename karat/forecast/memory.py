"""Predicts the memory of a trial before training: measured on a few images, scaled to its batch.

Weights, gradients and AdamW's two moments follow from the number of parameters. Activations and
temporary tensors of the backward pass depend on the host model and the kernel. So one step runs with
`FEW` and one with `MORE` images, on the device that trains, and the bytes of all live tensors are
recorded after every operation, with those that live inside an operation of ours. At each operation they are a linear function of the number of
images; the maximum of these functions at the trial's batch size is the peak.

These are bytes of tensors. A process on a CPU takes 5 to 15 % more for a whole model, up to 40 % more for one
block whose scores are all in memory: the C library does not give back at once what was freed.
"""

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._library.custom_ops import OPDEFS
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from karat.models.build import build_model
from karat.models.config import OWN
from karat.training.config import EVAL_BATCH_SIZE, TrialConfig
from karat.training.steps.config import BF16

FEW, MORE = 2, 4  # not 1: some operations treat a batch of one image as a special case


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Memory of one process of a trial, in bytes.

    Args:
        weights, gradients, optimizer: memory for all parameters.
        activations: peak of all other tensors, in training or in validation.
        saving: copy of the state while a checkpoint is written, on a CPU.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    saving: int

    @property
    def total(self) -> int:
        """Peak in bytes, without the memory that the process has before training."""
        training = self.gradients + max(self.activations, self.saving)
        return self.weights + self.optimizer + training


def needs_of(
    config: TrialConfig, *, micro_batches: int = 1, processes: int = 1, on_cpu: bool = False
) -> Needs:
    """Predict the memory of a trial on this machine's device.

    Args:
        config: configuration of the trial.
        micro_batches: the number of parts into which a batch is split.
        processes: the number of processes that share a batch.
        on_cpu: whether the trial trains on the CPU, even where there is a GPU.
    """
    on_gpu = torch.cuda.is_available() and not on_cpu
    device = torch.device("cuda" if on_gpu else "cpu")
    info = config.data.info()
    drop_path, shape = config.training.drop_path, config.data_shape()
    model = build_model(config.model, config.attention, seed=0, drop_path=drop_path, **shape)
    model.to(device)
    weights = sum(each.untyped_storage().nbytes() for each in model.parameters())
    parts = processes * micro_batches * config.training.micro_batches
    images = -(-min(config.training.batch_size, info.train_size) // parts)
    pixels = (info.channels, info.image_size, info.image_size)

    def step(count: int) -> None:
        labels = torch.zeros(count, dtype=torch.long, device=device)
        is_bf16 = config.training.precision == BF16
        with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
            logits = model(torch.randn(count, *pixels, device=device))
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def evaluate(count: int) -> None:
        model(torch.randn(count, *pixels, device=device))

    with _one_thread(), warnings.catch_warnings():
        # The first forward-mode derivative of a process calls torch.jit.script, within torch.
        warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
        training = _peak(model.train(), step, images)
        evaluation = _peak(model.eval(), evaluate, max(1, EVAL_BATCH_SIZE // micro_batches))
    # Two moments are AdamW's; other optimisers have as many or fewer. An average is one more copy.
    moments = (2 + bool(config.training.ema_decay)) * weights
    # The model that gives its attention is frozen: it has weights alone, about as many.
    given = 0 if config.model.attention_from == OWN else weights
    return Needs(
        weights=weights + given,
        gradients=weights,
        optimizer=moments,
        # The timeline of a step includes the gradients. With several processes `gradients` counts
        # another copy: the buckets in which DDP reduces them.
        activations=max(training - (weights if processes == 1 else 0), evaluation),
        saving=weights + moments if device.type == "cpu" else 0,
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, since the others would mostly wait for work, and burn a core each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Timeline(TorchDispatchMode):
    """Records after each operation the bytes of all live tensors that were created within it."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moments: list[int] = []
        self._alive = 0
        self._known = {each.untyped_storage()._cdata for each in given}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace not in ("aten", "prim"):
            out = self._seen_inside(func, args, kwargs or {})
        else:
            out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor):
                self._note(each.untyped_storage())
        self.moments.append(self._alive)
        return out

    def _seen_inside(self, func: Any, arguments: Any, more: Any) -> Any:
        """Return the result of a custom operation, whose own tensors are recorded too.

        Within an operation a dispatch mode is off, for autograd too, which some of ours call: so what
        the operation is implemented by runs in another thread, with the mode on.
        """
        known = OPDEFS.get(func.name())  # None for one that is not defined in Python
        operation = func if known is None else known._init_fn

        def call() -> Any:
            with torch.no_grad(), contextlib.nullcontext() if known is None else _Inside(self):
                return operation(*arguments, **more)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(call).result()

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self._alive += size
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


class _Inside(TorchDispatchMode):
    """What runs in another thread, as a part of a timeline."""

    def __init__(self, timeline: _Timeline) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._timeline = timeline

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._timeline.__torch_dispatch__(func, types, args, kwargs)


def _peak(model: nn.Module, call: Callable[[int], None], images: int) -> int:
    """Extrapolate the peak in bytes of a call with `images` images from two calls with few."""
    few, more = (_moments(model, call, count) for count in (FEW, MORE))
    if len(few) != len(more):  # a blockwise kernel runs more operations on more images
        few, more = [max(few)], [max(more)]
    steps = (images - FEW) / (MORE - FEW)
    return int(max(one + (other - one) * steps for one, other in zip(few, more, strict=True)))


def _moments(model: nn.Module, call: Callable[[int], None], count: int) -> list[int]:
    model.zero_grad()
    with torch.random.fork_rng(), _Timeline([*model.parameters(), *model.buffers()]) as timeline:
        call(count)
    moments: list[int] = timeline.moments
    return moments
