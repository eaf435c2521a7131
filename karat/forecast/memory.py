"""What memory a trial needs, before it is trained: counted on a few pictures, scaled to its batch.

Weights, their gradients and AdamW's two moments follow from the number of parameters. What the
forward pass keeps and the backward pass needs for a while depends on host and kernel: both run once
with `FEW` and with `MORE` pictures, on the device that trains, and the bytes of all tensors alive
are noted after every operation. Each moment is a line in the number of pictures, and the highest of
these lines at the trial's batch is its peak.
"""

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from karat.models.build import build_model
from karat.training.config import EVAL_BATCH_SIZE, TrialConfig

FEW, MORE = 2, 4  # one picture alone is a special case of some operations
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes of one process of a trial.

    Args:
        weights, gradients, optimizer: of all parameters.
        activations: the most that is there beside these, in training or in validation.
        saving: on a CPU, the checkpoint while it is written.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    saving: int

    @property
    def total(self) -> int:
        """The peak, without what the process takes before it trains."""
        training = self.gradients + max(self.activations, self.saving)
        return self.weights + self.optimizer + training


def needs_of(config: TrialConfig, *, micro_batches: int = 1, processes: int = 1) -> Needs:
    """Predicted needs of a trial on this machine's device.

    Args:
        config: the trial's.
        micro_batches: parts in which a batch goes through the model.
        processes: that share a batch.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    info = config.data.info()
    model = build_model(config.model, config.attention, seed=0, **config.data_shape()).to(device)
    weights = sum(each.untyped_storage().nbytes() for each in model.parameters())
    pictures = -(-min(config.training.batch_size, info.train_size) // (processes * micro_batches))
    shape = (info.channels, info.image_size, info.image_size)

    def step(count: int) -> None:
        labels = torch.zeros(count, dtype=torch.long, device=device)
        F.cross_entropy(model(torch.randn(count, *shape, device=device)), labels).backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def evaluate(count: int) -> None:
        model(torch.randn(count, *shape, device=device))

    training = _peak(model.train(), step, pictures)
    evaluation = _peak(model.eval(), evaluate, max(1, EVAL_BATCH_SIZE // micro_batches))
    moments = 2 * weights
    return Needs(
        weights=weights,
        gradients=weights,
        optimizer=moments,
        # The timeline of a step has the gradients in it; in a group they have a place of their own.
        activations=max(training - (weights if processes == 1 else 0), evaluation),
        saving=weights + moments if device.type == "cpu" else 0,
    )


class _Timeline(TorchDispatchMode):
    """Bytes of the tensors made and still alive, after each operation."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moments: list[int] = []
        self._alive = 0
        self._known = {each.untyped_storage()._cdata for each in given}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_own = func.namespace not in ("aten", "prim")
        out = _elsewhere(func, args, kwargs or {}) if is_own else func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor):
                self._note(each.untyped_storage())
        self.moments.append(self._alive)
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self._alive += size
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


def _elsewhere(operation: Any, arguments: Any, more: Any) -> Any:
    """The result of an operation of ours, some of which derive inside.

    A dispatch mode switches that off in its own thread.
    """

    def call() -> Any:
        with torch.no_grad():
            return operation(*arguments, **more)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def _peak(model: nn.Module, call: Callable[[int], None], pictures: int) -> int:
    """The highest memory of a call with so many pictures, from two with few."""
    few, more = (_moments(model, call, count) for count in (FEW, MORE))
    if len(few) != len(more):  # a kernel that works in blocks has more of them
        few, more = [max(few)], [max(more)]
    steps = (pictures - FEW) / (MORE - FEW)
    return int(max(one + (other - one) * steps for one, other in zip(few, more, strict=True)))


def _moments(model: nn.Module, call: Callable[[int], None], count: int) -> list[int]:
    model.zero_grad()
    with torch.random.fork_rng(), _Timeline([*model.parameters(), *model.buffers()]) as timeline:
        call(count)
    moments: list[int] = timeline.moments
    return moments
