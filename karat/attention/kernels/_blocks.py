"""Rows and their gradients in torch operations, for a block of images or queries at a time.

The buffers of a block fit into the cache of a CPU, or a part of a device's memory, and are reused
by the next block. Shapes as in `karat.attention.kernels`; scores are M N, keys first.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from karat.attention.kernels._features import features_of

CACHE_NUMBERS = 1 << 20  # size of the feature buffer on a CPU: 4 MB in float32, for its cache
LEAST_QUERIES = 16  # in a block; with fewer, the matrix products are too small to be fast
DEVICE_NUMBERS = 1 << 26  # size on a GPU: each operation has a launch cost, so blocks are large


def rows_in_blocks(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
    """`sum_m sum_f weights_rfm feature_f(scale q kᵀ)`, shape (B, H, R, N)."""
    features, operators = features_of(spec), weights.shape[0]
    rows = weights.new_empty(*q.shape[:2], weights.shape[1], q.shape[2])
    weights_PRX = weights.flatten(2)
    buffers = _Buffers(weights)
    for images, queries in blocks(q, k, weights.shape[2]):
        some_q = q[images, :, queries]
        scores_PML = _scores(some_q, k[images], scale, operators, buffers)
        features_PFML = buffers.features(scores_PML)
        features.write(scores_PML, features_PFML)
        rows_PRL = torch.bmm(weights_PRX, features_PFML.flatten(1, 2))
        rows[images, :, :, queries] = from_columns(rows_PRL, some_q.shape)
    return rows


def rows_backward_in_blocks(
    grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k and weights, given that of the rows (B, H, R, N); and the rows."""
    features, operators = features_of(spec), weights.shape[0]
    grad_q, grad_k = (weights.new_zeros(x.shape) for x in (q, k))
    weights_PRX = weights.flatten(2)
    rows = torch.empty_like(grad, memory_format=torch.contiguous_format)
    grad_weights_PRX = torch.zeros_like(weights_PRX)
    slopes_PXR = features.slope_weights(weights).flatten(2).transpose(1, 2)
    buffers = _Buffers(weights)
    for images, queries in blocks(q, k, weights.shape[2]):
        some_q, some_k = q[images, :, queries], k[images]
        scores_PML = _scores(some_q, some_k, scale, operators, buffers)
        features_PFML = buffers.features(scores_PML)
        features.write(scores_PML, features_PFML)
        rows_PRL = torch.bmm(weights_PRX, features_PFML.flatten(1, 2))
        rows[images, :, :, queries] = from_columns(rows_PRL, some_q.shape)
        grad_PRL = to_columns(grad[images, :, :, queries], operators)
        grad_weights_PRX.baddbmm_(grad_PRL, features_PFML.flatten(1, 2).transpose(1, 2))
        pulled_PFML = buffers.pulled(features_PFML)
        torch.bmm(slopes_PXR, grad_PRL, out=pulled_PFML.flatten(1, 2))
        features.pull_back(scores_PML, features_PFML, pulled_PFML)
        grad_scores_IMN = from_columns(scores_PML, some_q.shape).flatten(0, 1)
        wide_q, wide_k = (x.flatten(0, 1).to(weights.dtype) for x in (some_q, some_k))
        grad_q[images, :, queries] = _product(grad_scores_IMN.mT, wide_k, scale).view(some_q.shape)
        grad_k[images] += _product(grad_scores_IMN, wide_q, scale).view(some_k.shape)
    return grad_q.to(q.dtype), grad_k.to(k.dtype), grad_weights_PRX.view_as(weights), rows


def blocks(q: Tensor, k: Tensor, numbers_of_score: int) -> Iterator[tuple[slice, slice]]:
    """Ranges of images, or of queries of one image, whose features or units fit into the buffer."""
    batch, heads, tokens, _ = q.shape
    of_query = max(1, heads * k.shape[2] * numbers_of_score)
    numbers = CACHE_NUMBERS if q.device.type == "cpu" else DEVICE_NUMBERS
    queries = max(1, min(tokens, max(LEAST_QUERIES, numbers // of_query)))
    images = max(1, numbers // (of_query * max(1, tokens))) if queries == tokens else 1
    for image in range(0, batch, images):
        for query in range(0, tokens, queries):
            yield slice(image, image + images), slice(query, query + queries)


class _Buffers:
    """Memory that is reused by all blocks of the same size."""

    def __init__(self, like: Tensor) -> None:
        self._like, self._count = like, like.shape[2]
        self._made: dict[tuple[str, torch.Size], Tensor] = {}

    def get(self, name: str, shape: torch.Size) -> Tensor:
        if (name, shape) not in self._made:
            self._made[name, shape] = self._like.new_empty(shape)
        return self._made[name, shape]

    def features(self, scores_PML: Tensor) -> Tensor:
        operators, keys, columns = scores_PML.shape
        shape = torch.Size((operators, self._count, keys, columns))
        return self.get("features", shape)

    def pulled(self, features_PFML: Tensor) -> Tensor:
        return self.get("pulled", features_PFML.shape)


def _scores(q: Tensor, k: Tensor, scale: float, operators: int, buffers: _Buffers) -> Tensor:
    """Scores of a block as columns, shape (P, M, L)."""
    dtype = buffers._like.dtype
    wide_q, wide_k = (x.flatten(0, 1).to(dtype) for x in (q, k))
    scores_IMN = buffers.get("scores", torch.Size((*wide_k.shape[:2], wide_q.shape[1])))
    _product(wide_k, wide_q.mT, scale, out=scores_IMN)
    return to_columns(scores_IMN.view(*q.shape[:2], *scores_IMN.shape[1:]), operators)


def _product(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    # `scale a b` in one call; with beta=0 the first argument is ignored.
    return torch.baddbmm(a.new_empty(1), a, b, beta=0, alpha=scale, out=out)


def to_columns(x_BHXN: Tensor, operators: int) -> Tensor:
    """(B, H, X, N) to (P, X, L): for one image and one head per operator a view, else a copy."""
    batch, heads, size, tokens = x_BHXN.shape
    x_BPKXN = x_BHXN.reshape(batch, operators, heads // operators, size, tokens)
    return x_BPKXN.permute(1, 3, 0, 2, 4).reshape(operators, size, -1)


def from_columns(x_PXL: Tensor, shape: torch.Size) -> Tensor:
    """(P, X, L) back to (B, H, X, N), for queries of `shape`."""
    batch, heads, tokens, _ = shape
    operators, size, _ = x_PXL.shape
    x_PXBKN = x_PXL.view(operators, size, batch, heads // operators, tokens)
    return x_PXBKN.permute(2, 0, 3, 1, 4).reshape(batch, heads, size, tokens)
