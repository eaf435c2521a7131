"""Rows without keeping scores or features: both are computed again in the backward pass.

Work goes picture by picture through buffers that stay in the cache; for the Fourier basis on the
CPU by a compiled function where there is a compiler (`fourier_rows.cpp`), else by torch's own. What is kept for the backward
pass are the queries and keys as they lie in the host's qkv projection, and the weights.

Shapes as in `karat.kernels`. Scores are M N, keys first, so that a feature of all scores of a
head is one run of memory.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from karat.base_activations import BASE_ACTIVATIONS
from karat.bases import BASES, LinearBasis
from karat.kernels import Kernel, Task, Units, _compiled
from karat.kernels.reference import Reference
from karat.settings import build

CACHE_NUMBERS = 1 << 20  # numbers in the feature buffer, on a CPU
DEVICE_NUMBERS = 1 << 26  # on a device, where few large operations are better than many


class Recompute(Kernel):
    """Takes any basis: one of shared features in blocks, any other checkpointed as a whole."""

    def refusal(self, task: Task) -> str | None:
        return None

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        if isinstance(units.basis, LinearBasis):
            dtype = torch.promote_types(q_BHND.dtype, torch.float32)
            weights_PRFM = units.feature_weights(dtype)
            rows_BHRN: Tensor = _Rows.apply(q_BHND, k_BHMD, weights_PRFM, scale, units.spec)
            return rows_BHRN.transpose(-2, -1)
        if not torch.is_grad_enabled():
            return Reference().rows(q_BHND, k_BHMD, scale, units)
        rows: Tensor = checkpoint(
            Reference().rows, q_BHND, k_BHMD, scale, units, use_reentrant=False
        )
        return rows

    def attend(
        self,
        q_BHND: Tensor,
        k_BHMD: Tensor,
        v_BHMD: Tensor,
        scale: float,
        units: Units,
        matrix_PMR: Tensor,
    ) -> Tensor:
        wide = torch.promote_types(q_BHND.dtype, torch.float32)
        if not isinstance(units.basis, LinearBasis) or matrix_PMR.dtype != wide:
            return super().attend(q_BHND, k_BHMD, v_BHMD, scale, units, matrix_PMR)
        names = units.basis.coefficient_shapes()
        out: Tensor = _Attend.apply(
            *(q_BHND, k_BHMD, v_BHMD, matrix_PMR, scale, units.spec),
            *(units.scale, units.base_scale),
            *(units.coefficients[name] for name in names),
        )
        return out


# -- weights of the features, from the parameters of the units --------------------------------


def feature_weights(
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    spec: str,
) -> Tensor:
    """The weight of each feature in each unit, the base activation last, shape (P, R, F, M).

    Args:
        coefficients: (P, R, M, own) each, in the order of the basis.
        unit_scale, base_scale: (P, R, M), or None without unit scales.
        spec: as `Units.spec` writes it.
    """
    weights = torch.cat([each.mT for each in coefficients], 2)
    if unit_scale is not None:
        weights = weights * unit_scale.unsqueeze(2)
    if spec.endswith('"zero"]'):  # no base activation; torch.compile does not trace json
        return weights
    base = torch.ones_like(weights[:, :, :1]) if base_scale is None else base_scale.unsqueeze(2)
    return torch.cat([weights, base], 2)


def _feature_weights_backward(
    grad_PRFM: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
) -> Iterator[Tensor | None]:
    """Gradients of unit scale, base scale and each of the coefficients."""
    sizes = [each.shape[3] for each in coefficients]
    of_units, of_base = grad_PRFM[:, :, : sum(sizes)], grad_PRFM[:, :, sum(sizes) :]
    if unit_scale is None:
        yield None
    else:
        yield (of_units * torch.cat([each.mT for each in coefficients], 2)).sum(2)
        of_units = of_units * unit_scale.unsqueeze(2)
    yield of_base.squeeze(2) if base_scale is not None and of_base.shape[2] else None
    first = 0
    for size in sizes:
        yield of_units[:, :, first : first + size].mT
        first += size


# -- the operation, opaque to torch.compile ---------------------------------------------------


@torch.library.custom_op("karat::linear_rows", mutates_args=())
def linear_rows(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
    """`sum_m sum_f weights_rfm feature_f(scale q kᵀ)`, shape (B, H, R, N).

    Args:
        q, k: queries (B, H, N, D) and keys (B, H, M, D), any strides.
        weights: (P, R, F, M), float32 or float64.
        scale: of the scores.
        spec: which features, as `Units.spec` writes them.
    """
    if _is_compiled(q, weights, spec):
        compiled: Tensor = torch.ops.karat_native.fourier_rows(*_plain(q, k), weights, scale)
        return compiled
    features, operators = _features(spec), weights.shape[0]
    rows = weights.new_empty(*q.shape[:2], weights.shape[1], q.shape[2])
    weights_PRX = weights.flatten(2)
    buffers = _Buffers(weights)
    for part in _parts(q, k, weights):
        scores_PML = _scores(q[part], k[part], scale, operators, buffers)
        features_PFML = buffers.features(scores_PML)
        features.write(scores_PML, features_PFML)
        rows_PRL = torch.bmm(weights_PRX, features_PFML.flatten(1, 2))
        rows[part] = _from_columns(rows_PRL, q[part].shape)
    return rows


@torch.library.custom_op("karat::linear_rows_backward", mutates_args=())
def linear_rows_backward(
    grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k and weights, given that of the rows (B, H, R, N); and the rows again."""
    features, operators = _features(spec), weights.shape[0]
    if _is_compiled(q, weights, spec):
        slopes = features.slope_weights(weights)
        of_q, of_k, of_weights, rows = torch.ops.karat_native.fourier_rows_backward(
            grad.contiguous(), *_plain(q, k), weights, slopes, scale
        )
        return of_q.to(q.dtype), of_k.to(k.dtype), of_weights, rows
    grad_q, grad_k = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k))
    weights_PRX, rows = weights.flatten(2), torch.empty_like(grad)
    grad_weights_PRX = torch.zeros_like(weights_PRX)
    slopes_PXR = features.slope_weights(weights).flatten(2).transpose(1, 2)
    buffers = _Buffers(weights)
    for part in _parts(q, k, weights):
        scores_PML = _scores(q[part], k[part], scale, operators, buffers)
        features_PFML = buffers.features(scores_PML)
        features.write(scores_PML, features_PFML)
        rows_PRL = torch.bmm(weights_PRX, features_PFML.flatten(1, 2))
        rows[part] = _from_columns(rows_PRL, q[part].shape)
        grad_PRL = _to_columns(grad[part], operators)
        grad_weights_PRX.baddbmm_(grad_PRL, features_PFML.flatten(1, 2).transpose(1, 2))
        pulled_PFML = buffers.pulled(features_PFML)
        torch.bmm(slopes_PXR, grad_PRL, out=pulled_PFML.flatten(1, 2))
        features.pull_back(scores_PML, features_PFML, pulled_PFML)
        grad_scores_IMN = _from_columns(scores_PML, q[part].shape).flatten(0, 1)
        of_q, of_k = (x[part].flatten(0, 1).to(weights.dtype) for x in (q, k))
        grad_q[part] = _product(grad_scores_IMN.mT, of_k, scale).view(q[part].shape)
        grad_k[part] = _product(grad_scores_IMN, of_q, scale).view(k[part].shape)
    return grad_q, grad_k, grad_weights_PRX.view_as(weights), rows


@linear_rows.register_fake
def _(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
    return weights.new_empty(*q.shape[:2], weights.shape[1], q.shape[2])


@linear_rows_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_q, of_k = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k))
    return of_q, of_k, torch.empty_like(weights), torch.empty_like(grad)


class _Rows(torch.autograd.Function):
    """`linear_rows` with its gradient; a function of its own, as torch.func wants it."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
        rows: Tensor = linear_rows(q, k, weights, scale, spec)
        return rows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.scale, ctx.spec = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = _RowsBackward.apply(grad, *ctx.saved_tensors, ctx.scale, ctx.spec)
        return (*grads[:3], None, None)


class _Attend(torch.autograd.Function):
    """`Φ̂(A) (Wᵀ V)` of which only the inputs are kept: views of the projection, and parameters."""

    @staticmethod
    def forward(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        matrix: Tensor,
        scale: float,
        spec: str,
        unit_scale: Tensor | None,
        base_scale: Tensor | None,
        *coefficients: Tensor,
    ) -> Tensor:
        weights = feature_weights(coefficients, unit_scale, base_scale, spec)
        rows_BHRN = linear_rows(q, k, weights.contiguous(), scale, spec)
        out: Tensor = rows_BHRN.mT @ _narrow(matrix, v)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        q, k, v, matrix, ctx.scale, ctx.spec, *parameters = inputs
        ctx.save_for_backward(q, k, v, matrix, *parameters)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, matrix, unit_scale, base_scale, *coefficients = ctx.saved_tensors
        weights = feature_weights(coefficients, unit_scale, base_scale, ctx.spec)
        of_rows = _narrow(matrix, v) @ grad.mT
        of_q, of_k, of_weights, rows_BHRN = _RowsBackward.apply(
            of_rows, q, k, weights.contiguous(), ctx.scale, ctx.spec
        )
        of_narrow = rows_BHRN @ grad
        operators, sharing = matrix.shape[0], v.shape[1] // matrix.shape[0]
        of_v = matrix.repeat_interleave(sharing, 0) @ of_narrow
        of_heads = torch.einsum("bhmd,bhrd->hmr", v.to(of_narrow.dtype), of_narrow)
        of_matrix = of_heads.view(operators, sharing, *matrix.shape[1:]).sum(1)
        of_parameters = _feature_weights_backward(of_weights, coefficients, unit_scale, base_scale)
        return (of_q, of_k, of_v.to(v.dtype), of_matrix, None, None, *of_parameters)


def _narrow(matrix_PMR: Tensor, v_BHMD: Tensor) -> Tensor:
    """Wᵀ V, shape (B, H, R, D)."""
    sharing = v_BHMD.shape[1] // matrix_PMR.shape[0]
    return matrix_PMR.mT.repeat_interleave(sharing, 0) @ v_BHMD.to(matrix_PMR.dtype)


class _RowsBackward(torch.autograd.Function):
    """`linear_rows_backward`, whose own gradient is refused."""

    @staticmethod
    def forward(
        grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
    ) -> tuple[Tensor, ...]:
        grads: tuple[Tensor, ...] = linear_rows_backward(grad, q, k, weights, scale, spec)
        return grads

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "kernel recompute has no second derivative; set attention.kernel: reference"
        )


# -- compiled, for Fourier on the CPU ---------------------------------------------------------


def _is_compiled(q: Tensor, weights: Tensor, spec: str) -> bool:
    name, _, base = json.loads(spec)
    return (
        (q.device.type, weights.dtype, name, base) == ("cpu", torch.float32, "fourier", "zero")
        and weights.shape[2] <= 2 * _compiled.LARGEST_GRID
        and _compiled.is_available()
    )


def _plain(*tensors: Tensor) -> Iterator[Tensor]:
    """In float32, with the head width side by side; what is so already is taken as it lies."""
    for tensor in tensors:
        wide = tensor.float()
        yield wide if wide.stride(-1) == 1 else wide.contiguous()


# -- blocks -----------------------------------------------------------------------------------


def _parts(q: Tensor, k: Tensor, weights: Tensor) -> Iterator[slice]:
    """Runs of pictures whose features fit the buffer, at least one picture each."""
    of_picture = q.shape[1] * q.shape[2] * k.shape[2] * weights.shape[2]
    numbers = CACHE_NUMBERS if q.device.type == "cpu" else DEVICE_NUMBERS
    pictures = max(1, numbers // max(1, of_picture))
    for start in range(0, q.shape[0], pictures):
        yield slice(start, start + pictures)


class _Buffers:
    """Memory that is used again in every block of the same size."""

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
    of_q, of_k = (x.flatten(0, 1).to(dtype) for x in (q, k))
    scores_IMN = buffers.get("scores", torch.Size((*of_k.shape[:2], of_q.shape[1])))
    _product(of_k, of_q.mT, scale, out=scores_IMN)
    return _to_columns(scores_IMN.view(*q.shape[:2], *scores_IMN.shape[1:]), operators)


def _product(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    return torch.baddbmm(a.new_empty(1), a, b, beta=0, alpha=scale, out=out)


def _to_columns(x_BHXN: Tensor, operators: int) -> Tensor:
    """(B, H, X, N) to (P, X, L): a view of one picture whose heads share nothing."""
    batch, heads, size, tokens = x_BHXN.shape
    x_BPKXN = x_BHXN.view(batch, operators, heads // operators, size, tokens)
    return x_BPKXN.permute(1, 3, 0, 2, 4).reshape(operators, size, -1)


def _from_columns(x_PXL: Tensor, shape: torch.Size) -> Tensor:
    """(P, X, L) back to (B, H, X, N), for queries of `shape`."""
    batch, heads, tokens, _ = shape
    operators, size, _ = x_PXL.shape
    x_PXBKN = x_PXL.view(operators, size, batch, heads // operators, tokens)
    return x_PXBKN.permute(2, 0, 3, 1, 4).reshape(batch, heads, size, tokens)


# -- features ---------------------------------------------------------------------------------


class _Features:
    """The features of a basis and, after them, its base activation if it has one."""

    def __init__(self, basis: LinearBasis, base: str) -> None:
        self.basis, self.base = basis, BASE_ACTIVATIONS[base]

    def write(self, scores_PML: Tensor, out_PFML: Tensor) -> None:
        """Every feature of the scores, into `out`."""
        if self.base is None:
            self.basis.write_features(scores_PML, out_PFML)
            return
        self.basis.write_features(scores_PML, out_PFML[:, :-1])
        out_PFML[:, -1] = self.base(scores_PML)

    def slope_weights(self, weights_PRFM: Tensor) -> Tensor:
        """The weights of what `pull_back` sums."""
        closed = self.basis.slope_weights(weights_PRFM) if self.base is None else None
        return weights_PRFM if closed is None else closed

    def pull_back(self, scores_PML: Tensor, features_PFML: Tensor, pulled_PFML: Tensor) -> None:
        """Put the gradient of the scores in their place.

        Args:
            scores_PML: the scores, overwritten.
            features_PFML: as `write` made them.
            pulled_PFML: the slope weights, transposed, times the gradient of the rows.
        """
        factors_PFML = features_PFML
        if self.base is not None or not self.basis.has_closed_slopes:
            factors_PFML = self._slopes(scores_PML)
        torch.mul(factors_PFML[:, 0], pulled_PFML[:, 0], out=scores_PML)
        for factor, pulled in zip(
            factors_PFML.unbind(1)[1:], pulled_PFML.unbind(1)[1:], strict=True
        ):
            scores_PML.addcmul_(factor, pulled)

    def _slopes(self, scores_PML: Tensor) -> Tensor:
        """The derivative of every feature: each depends on its own score alone."""

        def all_features(x: Tensor) -> Tensor:
            found = self.basis.features(x)
            return found if self.base is None else torch.cat([found, self.base(x).unsqueeze(1)], 1)

        slopes: Tensor = torch.func.jvp(
            all_features, (scores_PML,), (torch.ones_like(scores_PML),)
        )[1]
        return slopes


@functools.lru_cache(maxsize=64)
def _features(spec: str) -> _Features:
    name, settings, base = json.loads(spec)
    basis = build(BASES[name], settings, "attention")
    assert isinstance(basis, LinearBasis)
    return _Features(basis, base)
