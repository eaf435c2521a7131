"""Every mechanism written out row by row in float64, independent of its implementation.

Each function returns the attention weights of one head for one image, (N, M), from queries and
keys (N, D) and the mechanism's parameters as numpy arrays. A mask is a matrix of truth values.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Array = NDArray[np.float64]
Learned = Mapping[str, Array]
Weights = Callable[[Array, Array, NDArray[np.bool_], int, Learned], Array]


def scores_of(q: Array, k: Array) -> Array:
    return q @ k.T / np.sqrt(q.shape[1])


def by_row(function: Callable[[Array, int, Learned], Array]) -> Weights:
    """Weights from a function of the scores that are not masked in one row."""

    def weights(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
        found = np.zeros(keep.shape)
        for row, (scores, kept) in enumerate(zip(scores_of(q, k), keep, strict=True)):
            found[row, kept] = function(scores[kept], head, own)
        return found

    return weights


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max())
    return np.asarray(powers / powers.sum())


def by_threshold(of_threshold: Callable[[Array, float], Array]) -> Callable[..., Array]:
    """Weights whose threshold is the root of `sum of weights - 1`, by bisection."""

    def weights(x: Array, head: int, own: Learned) -> Array:
        low, high = float(x.min()) - 5, float(x.max())
        return of_threshold(
            x, brentq(lambda t: of_threshold(x, t).sum() - 1, low, high, xtol=1e-15)
        )

    return weights


def sinkhorn(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
    matrix = np.exp(scores_of(q, k))
    matrix /= matrix.sum(1, keepdims=True)
    for _ in range(3):
        matrix = matrix / matrix.sum(0, keepdims=True)
        matrix = matrix / matrix.sum(1, keepdims=True)
    return matrix


def cosine(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
    cosines = (q @ k.T) / np.outer(np.linalg.norm(q, axis=1), np.linalg.norm(k, axis=1))
    cosines *= min(np.exp(own["log_inverse_tau"][head]), 100.0)
    return np.stack([_kept(softmax, row, kept) for row, kept in zip(cosines, keep, strict=True)])


def scalable(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
    scores = scores_of(q, k) * own["slope"][head] * np.log(len(k))
    return np.stack([_kept(softmax, row, kept) for row, kept in zip(scores, keep, strict=True)])


def _kept(function: Callable[[Array], Array], row: Array, kept: NDArray[np.bool_]) -> Array:
    found = np.zeros(len(row))
    found[kept] = function(row[kept])
    return found


def static(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
    return np.asarray((own["back"][head] @ own["into"][head]) * keep)


def softmax_mixed(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
    scores = scores_of(q, k)
    rows = [_kept(softmax, row, kept) * len(row) for row, kept in zip(scores, keep, strict=True)]
    mixed = [own["back"][head] @ (own["into"][head] @ row) for row in rows]
    return np.asarray(np.stack(mixed) * keep)


def closed_form(q: Array, k: Array, keep: NDArray[np.bool_], head: int, own: Learned) -> Array:
    """With the default settings, cos x, also where a test gives no others."""
    rows = [_kept(np.cos, row, kept) for row, kept in zip(scores_of(q, k), keep, strict=True)]
    return np.stack([own["back"][head] @ (own["into"][head] @ row) for row in rows]) * keep


def pointwise(x: Array, head: int, own: Learned) -> Array:
    cos, sin = own["phi_cos"][head, 0, 0], own["phi_sin"][head, 0, 0]
    total = sum(
        a * np.cos((i + 1) * x) + b * np.sin((i + 1) * x)
        for i, (a, b) in enumerate(zip(cos, sin, strict=True))
    )
    return np.asarray(own["scale"][head, 0, 0] * total / np.sqrt(len(x)))


WEIGHTS: Mapping[str, Weights] = {
    "softmax": by_row(lambda x, head, own: softmax(x)),
    "uniform": by_row(lambda x, head, own: np.full(len(x), 1 / len(x))),
    "static": static,
    "softmax_mixed": softmax_mixed,
    "closed_form": closed_form,
    "pointwise": by_row(pointwise),
    "relu": by_row(lambda x, head, own: np.maximum(x, 0) / len(x)),
    "squared_relu": by_row(lambda x, head, own: np.maximum(x, 0) ** 2 / len(x)),
    "sigmoid": by_row(lambda x, head, own: 1 / (1 + len(x) * np.exp(-x - _bias(head, own)))),
    "polynomial": by_row(lambda x, head, own: x**3 / np.sqrt(len(x))),
    "softmax1": by_row(lambda x, head, own: np.exp(x) / (1 + np.exp(x).sum())),
    "softpick": by_row(
        lambda x, head, own: np.maximum(np.expm1(x), 0) / (np.abs(np.expm1(x)).sum() + 1e-6)
    ),
    "temperature": by_row(lambda x, head, own: softmax(own["temperature"][head] * x)),
    "scalable_softmax": scalable,
    "cosine": cosine,
    "sparsemax": by_row(by_threshold(lambda x, t: np.maximum(x - t, 0))),
    "entmax15": by_row(by_threshold(lambda x, t: np.maximum(x / 2 - t, 0) ** 2)),
    "sinkhorn": sinkhorn,
    "gated": by_row(lambda x, head, own: softmax(x)),
}


def _bias(head: int, own: Learned) -> float:
    return float(own["bias"][head]) if "bias" in own else 0.0
