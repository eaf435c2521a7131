"""The health of attention after an epoch, on a few validation images that are the same for all trials.

It needs one more forward and backward pass of a few images. Weights, gradients and random numbers of the training are
as they were, so that a trial has the same numbers with and without it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.datasets import Images
from karat.models.hosts import attention_layers
from karat.models.observing import Seen, observed
from karat.seeds import derive
from karat.training.watching import numbers
from karat.training.watching.gradients import norms, pieces_of

IMAGES = 8  # more would make the results no clearer, and small models' epochs longer
RANKED = 2  # of these, those whose matrices of weights are decomposed
DIGITS = 4  # significant ones, of the numbers of single heads
PREFIX = "health_"
_SQUARED = ("output_norm", "gradient_norm")  # whose mean is that of squares
ByHead: TypeAlias = list[list[float | None]]


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was found after an epoch.

    Args:
        metrics: mean over heads and blocks, each head counting the same; of norms the root mean square. What no head has
            is left out.
        by_head: the same, without the prefix of the names, by block and head; None for what a head lacks.
        tokens: N of each block.
    """

    metrics: Mapping[str, float]
    by_head: Mapping[str, ByHead]
    tokens: Sequence[int]

    def plain(self) -> dict[str, Any]:
        """`tokens` and `by_head`, as a report has them."""
        return {"tokens": list(self.tokens), **self.by_head}


class Probe:
    """A few images of a split, and what a model's attention does with them.

    Args:
        split: pairs (image, label). The images are the first ones in an order that depends on their number alone.
        device: of the model.
    """

    def __init__(self, split: Images, device: torch.device) -> None:
        count: int = len(split)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(derive("health", count))
        chosen = torch.randperm(count, generator=generator)[:IMAGES].tolist()
        pairs = [split[number] for number in chosen]
        self._images = torch.stack([image for image, _ in pairs]).to(device)
        self._labels = torch.tensor([int(label) for _, label in pairs], device=device)

    def look(self, model: nn.Module) -> Health:
        """Look at a model that has the weights to be looked at; it is left in the mode of evaluation."""
        if model.training:
            model.eval()
        device = self._images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
            tokens, by_block = self._look(model)
        metrics = {f"{PREFIX}{name}": _mean(name, found) for name, found in by_block.items()}
        by_head = {name: [_plain(each) for each in found] for name, found in by_block.items()}
        return Health(
            metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
            by_head={name: each for name, each in by_head.items() if _has_any(each)},
            tokens=tokens,
        )

    def _look(self, model: nn.Module) -> tuple[list[int], dict[str, list[Tensor]]]:
        """N of every attention module, and each quantity, (H,) for every module."""
        giver = getattr(model, "attention_giver", None)
        if giver is not None:
            # Attention of another model, which is frozen: its weights are those that are applied, to other values.
            with observed(giver.model) as seen, torch.no_grad():
                model(self._images)
            return [each.layer.num_tokens for each in seen], _of_weights(seen)
        layers = attention_layers(model)
        pieces = pieces_of(layers)
        with observed(model) as seen:
            loss = F.cross_entropy(model(self._images), self._labels)
        gradients = torch.autograd.grad(
            loss, [piece.parameter for piece in pieces], allow_unused=True
        )
        with torch.no_grad():
            found = _of_weights(seen)
            found["output_norm"] = [numbers.output_norm(each.out.detach()) for each in seen]
            found["gradient_norm"] = norms(pieces, gradients, layers)
        return [layer.num_tokens for layer in layers], found


@torch.no_grad()
def _of_weights(seen: Sequence[Seen]) -> dict[str, list[Tensor]]:
    """What follows from the weights of each module."""
    weights = [each.weights.detach() for each in seen]
    ranked = [each[: max(1, RANKED * len(each) // IMAGES)] for each in weights]
    return {
        "entropy": [numbers.entropy(w, s.keep) for w, s in zip(weights, seen, strict=True)],
        "effective_rank": [numbers.effective_rank(each) for each in ranked],
        "row_sum": [numbers.row_sum(each) for each in weights],
        "row_sum_std": [numbers.row_sum_std(each) for each in weights],
        "negative": [numbers.negative(each) for each in weights],
    }


def _mean(name: str, found: Sequence[Tensor]) -> float:
    """The mean over heads and blocks of what they have, or its root mean square; NaN where none has it."""
    values = torch.cat([each.double().cpu() for each in found])
    values = values[values.isfinite()]
    if not len(values):
        return math.nan
    mean = values.square().mean().sqrt() if name in _SQUARED else values.mean()
    return mean.item()


def _plain(values: Tensor) -> list[float | None]:
    return [
        float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values.tolist()
    ]


def _has_any(by_head: ByHead) -> bool:
    return any(value is not None for block in by_head for value in block)
