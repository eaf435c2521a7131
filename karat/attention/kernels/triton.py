"""Rows of a Fourier operator on the GPU, fused: scores and features are never written to memory.

Shapes as in `karat.attention.kernels`; G frequencies, F = 2 G features (the cosines, then the
sines). A kernel works on blocks of N queries, M keys, R outputs and head width D; R and D are padded
with zeros to the powers of two that a block product needs.

Forward: one program per block of queries of a head. It computes scores with a block of keys, one
cosine and sine per score, the other frequencies by angle addition, and their product with the
weights.

Backward: only q, k and weights are kept; each of three gradients recomputes the features. The
gradient of q has one program per block of queries; those of k and of the weights have one per block
of keys. A program for weights loops over the queries of its share of the images and accumulates in
registers; the few programs that share a weight write partial sums, which are added afterwards.
There are no atomics, so that the same call gives the same bits.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from karat.attention.kernels import Kernel, Task, Units
from karat.attention.kernels._vmap import one_by_one

try:
    import triton  # type: ignore[import-untyped]
    import triton.language as tl  # type: ignore[import-untyped]
    from triton.language import constexpr
except ImportError:
    triton = tl = constexpr = None

if TYPE_CHECKING:
    from collections.abc import Callable


MAX_GRID = 16
MAX_OUTPUTS = 64
MAX_WIDTH = 256
DTYPES = ("torch.float32", "torch.bfloat16", "torch.float16")

PRECISIONS = {torch.float32: "ieee", torch.bfloat16: "tf32x3", torch.float16: "tf32x3"}

WEIGHT_NUMBERS = 8192  # gradients of weights per program: 64 registers in each of 128 threads
# Programs for the gradient of the weights, about. A constant, and not the number of processors of
# the device, so that sums have the same order and the same bits on every device.
PROGRAMS = 1024

INTERPRETED = triton is not None and bool(triton.knobs.runtime.interpret)


class Triton(Kernel):
    """Fourier units on a CUDA device, or, in tests, on the CPU with Triton's interpreter.

    Everything is float32 for float32 queries and keys. For bfloat16 and float16, the products in a
    score are exact and summed in float32; the other products take three passes of TF32, which keep
    about 21 bits.
    """

    def refusal(self, task: Task) -> str | None:
        grid_size = task.features // 2
        limits = {
            "triton is not installed": triton is None,
            f"the basis must be fourier, not {task.basis}": task.basis != "fourier",
            f"takes no base activation, got {task.base_activation}": task.base_activation != "zero",
            f"G at most {MAX_GRID}, got {grid_size}": grid_size > MAX_GRID,
            f"R at most {MAX_OUTPUTS}, got {task.outputs}": task.outputs > MAX_OUTPUTS,
            f"head width at most {MAX_WIDTH}, got {task.head_dim}": task.head_dim > MAX_WIDTH,
            f"dtype must be float32, bfloat16 or float16, not {task.dtype.removeprefix('torch.')}": (
                task.dtype not in DTYPES
            ),
            f"needs a CUDA device, not {task.device}": task.device != "cuda"
            and not (INTERPRETED and task.device == "cpu"),
        }
        return next((limit for limit, broken in limits.items() if broken), None)

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        weights_PRFM = units.feature_weights(torch.float32)
        rows_BHNR: Tensor = _Rows.apply(q_BHND, k_BHMD, weights_PRFM, scale)
        return rows_BHNR


@torch.library.custom_op("karat::triton_fourier_rows", mutates_args=())
def fourier_rows(q: Tensor, k: Tensor, weights: Tensor, scale: float) -> Tensor:
    """`sum_m sum_g a_rgm cos(g x) + b_rgm sin(g x)` at `x = scale q kᵀ`, shape (B, H, N, R).

    Args:
        q, k: queries (B, H, N, D) and keys (B, H, M, D), any strides, the same dtype.
        weights: shape (P, R, 2 G, M), first all a, then all b; float32, any strides.
        scale: factor of the scores.

    Returns:
        Tensor of float32.
    """
    rows = _rows_like(q, weights)
    if rows.numel():
        with torch.cuda.device(q.get_device()):
            _Launch(q, k, weights, scale).rows(rows)
    return rows


@torch.library.custom_op("karat::triton_fourier_rows_backward", mutates_args=())
def fourier_rows_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    weights: Tensor,
    scale: float,
    need_q: bool,
    need_k: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and weights, given that of the rows; those not needed are empty.

    With `u_gnm = sum_r grad_nr a_rgm`, and v the same for b, the gradient of the scores is
    `dx_nm = sum_g g (v_gnm cos(g x_nm) - u_gnm sin(g x_nm))`, so that `dq = scale dx k` and
    `dk = scale dxᵀ q`. That of the weights is `da_rgm = sum_n grad_nr cos(g x_nm)`, and `db` with
    sines.

    Args:
        grad: gradient of the rows (B, H, N, R), float32, any strides.
        q, k, weights, scale: as for `fourier_rows`.
        need_q, need_k, need_weights: whether to compute each gradient.
    """
    if not grad.numel() or not k.numel():
        grad_q, grad_k, grad_weights = _grads_like(q, k, weights, need_q, need_k, need_weights)
        return grad_q.zero_(), grad_k.zero_(), grad_weights.zero_()
    launch = _Launch(q, k, weights, scale)
    with torch.cuda.device(q.get_device()):
        return (
            launch.grad_side(grad, of_keys=False) if need_q else q.new_empty(0),
            launch.grad_side(grad, of_keys=True) if need_k else k.new_empty(0),
            launch.grad_weights(grad) if need_weights else weights.new_empty(0),
        )


def _rows_like(q: Tensor, weights: Tensor) -> Tensor:
    return q.new_empty((*q.shape[:3], weights.shape[1]), dtype=torch.float32)


def _grads_like(
    q: Tensor, k: Tensor, weights: Tensor, need_q: bool, need_k: bool, need_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        q.new_empty(q.shape if need_q else 0),
        k.new_empty(k.shape if need_k else 0),
        weights.new_empty(weights.shape if need_weights else 0),
    )


@fourier_rows.register_fake
def _(q: Tensor, k: Tensor, weights: Tensor, scale: float) -> Tensor:
    return _rows_like(q, weights)


@fourier_rows_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    weights: Tensor,
    scale: float,
    need_q: bool,
    need_k: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _grads_like(q, k, weights, need_q, need_k, need_weights)


for _each in (fourier_rows, fourier_rows_backward):
    _each.register_vmap(one_by_one(_each))


class _Rows(torch.autograd.Function):
    """`fourier_rows` with its gradient, in the form that torch.func requires."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, weights: Tensor, scale: float) -> Tensor:
        rows: Tensor = fourier_rows(q, k, weights, scale)
        return rows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[:3]
        grads = _RowsBackward.apply(grad, *ctx.saved_tensors, ctx.scale, *needed)
        return *(each if need else None for each, need in zip(grads, needed, strict=True)), None


class _RowsBackward(torch.autograd.Function):
    """`fourier_rows_backward`, whose own gradient is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        weights: Tensor,
        scale: float,
        need_q: bool,
        need_k: bool,
        need_weights: bool,
    ) -> tuple[Tensor, ...]:
        grads: tuple[Tensor, ...] = fourier_rows_backward(
            grad, q, k, weights, scale, need_q, need_k, need_weights
        )
        return grads

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "kernel triton has no second derivative; use attention.kernel: reference"
        )


class _Launch:
    """One call: its shapes, block sizes and kernel launches."""

    def __init__(self, q: Tensor, k: Tensor, weights: Tensor, scale: float) -> None:
        self.q, self.k, self.weights, self.scale = q, k, weights, scale
        self.batch, self.heads, self.tokens, width = q.shape
        self.operators, outputs, features, self.keys = weights.shape
        assert k.shape == (self.batch, self.heads, self.keys, width), (q.shape, k.shape)
        assert self.heads % self.operators == 0, (self.heads, self.operators)
        assert q.dtype == k.dtype, (q.dtype, k.dtype)
        assert weights.dtype == torch.float32, weights.dtype
        self.grid_size, self.sharing = features // 2, self.heads // self.operators
        self.constants: dict[str, Any] = {
            "GRID": self.grid_size,
            "OUTPUTS": outputs,
            "WIDTH": width,
            "BLOCK_R": _padded(outputs),
            "BLOCK_D": _padded(width),
            "PRECISION": PRECISIONS[q.dtype],
            "WIDEN": INTERPRETED,
            **_blocks(_padded(outputs), _padded(width)),
        }

    def rows(self, rows: Tensor) -> None:
        tensors = (self.q, self.k, self.weights, rows)
        _rows_kernel[self._grid(self.tokens)](
            *tensors,
            self.scale,
            *(each.stride() for each in tensors),
            self.heads,
            self.sharing,
            self.tokens,
            self.keys,
            **self.constants,
        )

    def grad_side(self, grad: Tensor, of_keys: bool) -> Tensor:
        """Gradient of the queries or of the keys."""
        own, other = (self.k, self.q) if of_keys else (self.q, self.k)
        grad_own = own.new_empty(own.shape)
        tensors = (grad, own, other, self.weights, grad_own)
        _side_kernel[self._grid(own.shape[2])](
            *tensors,
            self.scale,
            *(each.stride() for each in tensors),
            self.heads,
            self.sharing,
            own.shape[2],
            other.shape[2],
            OWN_KEYS=of_keys,
            **self.constants,
        )
        return grad_own

    def grad_weights(self, grad: Tensor) -> Tensor:
        """Gradient of the weights.

        A program handles a block of keys, as many frequencies as fit into its registers, and every
        s-th pair of image and head of an operator.
        """
        block: int = self.constants["BLOCK_OWN"]
        group = _group(self.grid_size, block, self.constants["BLOCK_R"])
        groups = _ceil(self.grid_size, group)
        tiles, images = groups * _ceil(self.keys, block), self.batch * self.sharing
        splits = max(1, min(PROGRAMS // (tiles * self.operators), images))
        parts = self.weights.new_empty((splits, *self.weights.shape))
        tensors = (grad, self.q, self.k, parts)
        _weights_kernel[(tiles, self.operators, splits)](
            *tensors,
            self.scale,
            *(each.stride() for each in tensors),
            images,
            self.sharing,
            self.tokens,
            self.keys,
            GROUP=group,
            **self.constants,
        )
        return parts.sum(0)

    def _grid(self, length: int) -> tuple[int]:
        return (self.batch * self.heads * _ceil(length, self.constants["BLOCK_OWN"]),)


def _blocks(outputs: int, width: int) -> dict[str, int]:
    """Block sizes and launch options for padded R and D; tune them here."""
    return {"BLOCK_OWN": 64, "BLOCK_OTHER": 16, "num_warps": 4, "num_stages": 2}


def _group(grid_size: int, block: int, outputs: int) -> int:
    """Number of frequencies per program for the gradient of the weights, as equal as possible."""
    most = max(1, WEIGHT_NUMBERS // (2 * block * outputs))
    return _ceil(grid_size, _ceil(grid_size, most))


def _padded(length: int) -> int:
    """The next power of two, at least 16, as `tl.dot` requires."""
    return max(16, 1 << (length - 1).bit_length())


def _ceil(length: int, block: int) -> int:
    return -(-length // block)


def _jit(function: "Callable[..., Any]") -> Any:
    """`triton.jit`; None if Triton is not installed."""
    return triton.jit(function) if triton is not None else None


@_jit
def _place(length, heads, BLOCK: constexpr):  # type: ignore[no-untyped-def]
    """Block, batch item and head of this program; the blocks of a head are consecutive."""
    blocks = tl.cdiv(length, BLOCK)
    head = tl.program_id(0) // blocks
    return tl.program_id(0) % blocks, (head // heads).to(tl.int64), (head % heads).to(tl.int64)


@_jit
def _tile(  # type: ignore[no-untyped-def]
    start, row_stride, column_stride, rows, columns, row_count, column_count
):
    """Load a block of a matrix, with 0 outside of the matrix."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < column_count)
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    return tl.load(start + at, mask=inside, other=0.0)


@_jit
def _put(  # type: ignore[no-untyped-def]
    start, values, row_stride, column_stride, rows, columns, row_count, column_count
):
    """Store a block of a matrix, and nothing outside of the matrix."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < column_count)
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    tl.store(start + at, values.to(start.dtype.element_ty), mask=inside)


@_jit
def _scores(  # type: ignore[no-untyped-def]
    a, b, scale, PRECISION: constexpr, WIDEN: constexpr
):
    """`scale a bᵀ`. Triton's interpreter cannot multiply bfloat16, so it widens the operands."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, tl.trans(b), input_precision=PRECISION) * scale


@_jit
def _cos_sin(x):  # type: ignore[no-untyped-def]
    """Cosine and sine without a branch, with an error of about 1e-7, for |x| below 2^20.

    A larger x counts as 0: float32 numbers there are at least 1/8 apart, so that x does not
    determine an angle. Source: S. Moshier, Cephes, `sinf.c` (π/2 in three parts, polynomials).
    """
    x = tl.where(tl.abs(x) < 1048576.0, x, x * 0.0)  # NaN and infinity give NaN
    # Adding 1.5 * 2^23 rounds to an integer, the quarter turn, which is then in the lowest bits.
    shifted = x * 0.6366197723675814 + 12582912.0
    turns = shifted - 12582912.0
    quarter = shifted.to(tl.int32, bitcast=True)
    x = x - turns * 1.5703125 - turns * 4.837512969970703125e-4 - turns * 7.549789954891882e-8
    square = x * x
    sin = -1.9515295891e-4 * square + 8.3321608736e-3
    sin = (sin * square - 1.6666654611e-1) * square * x + x
    cos = 2.443315711809948e-5 * square - 1.388731625493765e-3
    cos = (cos * square + 4.166664568298827e-2) * square * square - 0.5 * square + 1.0
    odd = (quarter & 1) != 0
    cos, sin = tl.where(odd, sin, cos), tl.where(odd, cos, sin)
    cos = tl.where(((quarter + 1) & 2) != 0, -cos, cos)
    sin = tl.where((quarter & 2) != 0, -sin, sin)
    return cos, sin


@_jit
def _next(cos, sin, cos_1, sin_1):  # type: ignore[no-untyped-def]
    """Cosine and sine of the next frequency, by angle addition."""
    return cos * cos_1 - sin * sin_1, sin * cos_1 + cos * sin_1


@_jit
def _rows_kernel(  # type: ignore[no-untyped-def]
    q,
    k,
    weights,
    rows,
    scale,
    q_strides,
    k_strides,
    w_strides,
    rows_strides,
    heads,
    sharing,
    tokens,
    keys,
    GRID: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_OWN: constexpr,
    BLOCK_OTHER: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """The rows for a block of queries of one head."""
    block, b, h = _place(tokens, heads, BLOCK_OWN)
    at_n, at_m = block * BLOCK_OWN + tl.arange(0, BLOCK_OWN), tl.arange(0, BLOCK_OTHER)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    q += b * q_strides[0] + h * q_strides[1]
    k += b * k_strides[0] + h * k_strides[1]
    weights += (h // sharing) * w_strides[0]
    rows += b * rows_strides[0] + h * rows_strides[1]

    q_ND = _tile(q, q_strides[2], q_strides[3], at_n, at_d, tokens, WIDTH)
    rows_NR = tl.zeros((BLOCK_OWN, BLOCK_R), tl.float32)
    for start in range(0, keys, BLOCK_OTHER):
        k_MD = _tile(k, k_strides[2], k_strides[3], start + at_m, at_d, keys, WIDTH)
        cos_1, sin_1 = _cos_sin(_scores(q_ND, k_MD, scale, PRECISION, WIDEN))
        cos, sin = cos_1, sin_1
        for g in range(GRID):
            a_g = weights + g * w_strides[2]
            b_g = a_g + GRID * w_strides[2]
            a_MR = _tile(a_g, w_strides[3], w_strides[1], start + at_m, at_r, keys, OUTPUTS)
            b_MR = _tile(b_g, w_strides[3], w_strides[1], start + at_m, at_r, keys, OUTPUTS)
            rows_NR = tl.dot(cos, a_MR, rows_NR, input_precision=PRECISION)
            rows_NR = tl.dot(sin, b_MR, rows_NR, input_precision=PRECISION)
            cos, sin = _next(cos, sin, cos_1, sin_1)
    _put(rows, rows_NR, rows_strides[2], rows_strides[3], at_n, at_r, tokens, OUTPUTS)


@_jit
def _side_kernel(  # type: ignore[no-untyped-def]
    grad,
    own,
    other,
    weights,
    grad_own,
    scale,
    grad_strides,
    own_strides,
    other_strides,
    w_strides,
    grad_own_strides,
    heads,
    sharing,
    owns,
    others,
    OWN_KEYS: constexpr,
    GRID: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_OWN: constexpr,
    BLOCK_OTHER: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """Gradient of a block of queries (X) over all keys (Y) of a head, or with both exchanged."""
    block, b, h = _place(owns, heads, BLOCK_OWN)
    at_x, at_y = block * BLOCK_OWN + tl.arange(0, BLOCK_OWN), tl.arange(0, BLOCK_OTHER)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    own += b * own_strides[0] + h * own_strides[1]
    other += b * other_strides[0] + h * other_strides[1]
    grad += b * grad_strides[0] + h * grad_strides[1]
    weights += (h // sharing) * w_strides[0]
    grad_own += b * grad_own_strides[0] + h * grad_own_strides[1]

    own_XD = _tile(own, own_strides[2], own_strides[3], at_x, at_d, owns, WIDTH)
    if not OWN_KEYS:
        grad_XR = _tile(grad, grad_strides[2], grad_strides[3], at_x, at_r, owns, OUTPUTS)
    sum_XD = tl.zeros((BLOCK_OWN, BLOCK_D), tl.float32)
    for start in range(0, others, BLOCK_OTHER):
        now_y = start + at_y
        other_YD = _tile(other, other_strides[2], other_strides[3], now_y, at_d, others, WIDTH)
        if OWN_KEYS:
            grad_RY = _tile(grad, grad_strides[3], grad_strides[2], at_r, now_y, OUTPUTS, others)
        cos_1, sin_1 = _cos_sin(_scores(own_XD, other_YD, scale, PRECISION, WIDEN))
        cos, sin = cos_1, sin_1
        dx_XY = tl.zeros((BLOCK_OWN, BLOCK_OTHER), tl.float32)
        for g in range(GRID):
            a_g = weights + g * w_strides[2]
            b_g = a_g + GRID * w_strides[2]
            if OWN_KEYS:
                a_XR = _tile(a_g, w_strides[3], w_strides[1], at_x, at_r, owns, OUTPUTS)
                b_XR = _tile(b_g, w_strides[3], w_strides[1], at_x, at_r, owns, OUTPUTS)
                u_XY = tl.dot(a_XR, grad_RY, input_precision=PRECISION)
                v_XY = tl.dot(b_XR, grad_RY, input_precision=PRECISION)
            else:
                a_RY = _tile(a_g, w_strides[1], w_strides[3], at_r, now_y, OUTPUTS, others)
                b_RY = _tile(b_g, w_strides[1], w_strides[3], at_r, now_y, OUTPUTS, others)
                u_XY = tl.dot(grad_XR, a_RY, input_precision=PRECISION)
                v_XY = tl.dot(grad_XR, b_RY, input_precision=PRECISION)
            dx_XY += (g + 1) * (v_XY * cos - u_XY * sin)
            cos, sin = _next(cos, sin, cos_1, sin_1)
        sum_XD = tl.dot(dx_XY, other_YD.to(tl.float32), sum_XD, input_precision=PRECISION)
    sum_XD *= scale
    _put(grad_own, sum_XD, grad_own_strides[2], grad_own_strides[3], at_x, at_d, owns, WIDTH)


@_jit
def _weights_kernel(  # type: ignore[no-untyped-def]
    grad,
    q,
    k,
    parts,
    scale,
    grad_strides,
    q_strides,
    k_strides,
    parts_strides,
    images,
    sharing,
    tokens,
    keys,
    GROUP: constexpr,
    GRID: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_OWN: constexpr,
    BLOCK_OTHER: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """Partial sum over images of the gradient of weights: GROUP frequencies, a block of keys."""
    blocks = tl.cdiv(keys, BLOCK_OWN)
    block, first = tl.program_id(0) % blocks, tl.program_id(0) // blocks * GROUP
    p, split = tl.program_id(1).to(tl.int64), tl.program_id(2)
    at_n, at_m = tl.arange(0, BLOCK_OTHER), block * BLOCK_OWN + tl.arange(0, BLOCK_OWN)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    parts += split.to(tl.int64) * parts_strides[0] + p * parts_strides[1]

    sums = ()
    for _i in tl.static_range(2 * GROUP):
        sums += (tl.zeros((BLOCK_OWN, BLOCK_R), tl.float32),)  # type: ignore[assignment]
    for image in range(split, images, tl.num_programs(2)):
        b, h = (image // sharing).to(tl.int64), p * sharing + image % sharing
        q_bh = q + b * q_strides[0] + h * q_strides[1]
        k_bh = k + b * k_strides[0] + h * k_strides[1]
        grad_bh = grad + b * grad_strides[0] + h * grad_strides[1]
        k_MD = _tile(k_bh, k_strides[2], k_strides[3], at_m, at_d, keys, WIDTH)
        for start in range(0, tokens, BLOCK_OTHER):
            now_n = start + at_n
            q_ND = _tile(q_bh, q_strides[2], q_strides[3], now_n, at_d, tokens, WIDTH)
            grad_NR = _tile(grad_bh, grad_strides[2], grad_strides[3], now_n, at_r, tokens, OUTPUTS)
            cos_1, sin_1 = _cos_sin(_scores(k_MD, q_ND, scale, PRECISION, WIDEN))
            cos, sin = cos_1, sin_1
            for _g in range(first):
                cos, sin = _next(cos, sin, cos_1, sin_1)
            added = ()
            for i in tl.static_range(GROUP):
                a_sum = tl.dot(cos, grad_NR, sums[2 * i], input_precision=PRECISION)
                b_sum = tl.dot(sin, grad_NR, sums[2 * i + 1], input_precision=PRECISION)
                added += (a_sum, b_sum)  # type: ignore[assignment]
                cos, sin = _next(cos, sin, cos_1, sin_1)
            sums = added
    for i in tl.static_range(GROUP):
        a_g = parts + (first + i) * parts_strides[3]
        b_g = a_g + GRID * parts_strides[3]
        count = tl.where(first + i < GRID, keys, 0)  # the last group may be smaller
        _put(a_g, sums[2 * i], parts_strides[4], parts_strides[2], at_m, at_r, count, OUTPUTS)
        _put(b_g, sums[2 * i + 1], parts_strides[4], parts_strides[2], at_m, at_r, count, OUTPUTS)
