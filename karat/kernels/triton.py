"""Rows of a Fourier operator on the GPU, fused: no score or feature of a pair reaches memory.

Shapes as in `karat.kernels`; G frequencies, F = 2 G features (the cosines, then the sines). A
kernel works on blocks of N queries, M keys, R outputs and D head width; R and D are padded to
the powers of two that a block product needs, and what is padded is read as 0.

Forward, one program for a block of queries of a head: scores with a block of keys, one cosine
and sine each, the other frequencies by angle addition, and their product with the weights.

Backward, nothing but q, k and weights being kept, features are computed again twice: for the
gradient of q in programs for a block of queries, and for those of k and weights in programs for
a block of keys, which go over the queries of all their pictures and so sum the gradients of
their weights in registers. Few programs share a weight: each writes a part, and the parts are
summed afterwards. There are no atomics, so the same call gives the same bits.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from karat.kernels import Kernel, Task

try:
    import triton  # type: ignore[import-untyped]
    import triton.language as tl  # type: ignore[import-untyped]
    from triton.language import constexpr
except ImportError:
    triton = tl = constexpr = None

if TYPE_CHECKING:
    from collections.abc import Callable

    from karat.attention import Units

MAX_GRID = 16
MAX_OUTPUTS = 64
MAX_WIDTH = 256
DTYPES = ("torch.float32", "torch.bfloat16", "torch.float16")

BLOCK_QUERIES = 64
BLOCK_KEYS = 32
WIDE = 128  # padded head width from which a block has half the queries
WEIGHT_NUMBERS = 8192  # gradients of weights that a program sums: 64 registers of each thread
PROGRAMS = 1024  # about as many share the gradients of k and weights; fixed, so that bits are

INTERPRETED = triton is not None and bool(triton.knobs.runtime.interpret)


class Triton(Kernel):
    """Fourier units on a CUDA device, or on the CPU under Triton's interpreter, for tests.

    Float32 throughout for float32 queries and keys. For bfloat16 and float16 ones, scores are
    summed in float32 from products that are exact, and the other products take three passes of
    TF32, which keep about 21 bits.
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

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: "Units") -> Tensor:
        weights_PRFM = units.feature_weights(torch.float32)
        rows_BHNR: Tensor = fourier_rows(q_BHND, k_BHMD, weights_PRFM, scale)
        return rows_BHNR


@torch.library.custom_op("karat::triton_fourier_rows", mutates_args=())
def fourier_rows(q: Tensor, k: Tensor, weights: Tensor, scale: float) -> Tensor:
    """`sum_m sum_g a_rgm cos(g x) + b_rgm sin(g x)` at `x = scale q kᵀ`, shape (B, H, N, R).

    Args:
        q, k: queries (B, H, N, D) and keys (B, H, M, D), any strides, of the same dtype.
        weights: (P, R, 2 G, M), the a first, float32, any strides.
        scale: of the scores.

    Returns:
        Tensor of float32.
    """
    rows = _rows_like(q, weights)
    if rows.numel():
        launch = _Launch(q, k, weights)
        grid = (q.shape[0] * q.shape[1] * launch.blocks(q.shape[2], "BLOCK_N"),)
        strides = (q.stride(), k.stride(), weights.stride(), rows.stride())
        with torch.cuda.device(q.get_device()):
            _rows_kernel[grid](q, k, weights, rows, scale, strides, launch.sizes, **launch.fixed)
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
    """Gradients of q, k and weights, given that of the rows; one not needed is empty.

    With `u_gnm = sum_r grad_nr a_rgm` and v likewise of b, those of the scores are
    `dx_nm = sum_g g (v_gnm cos(g x_nm) - u_gnm sin(g x_nm))`, so that `dq = scale dx k` and
    `dk = scale dxᵀ q`; of the weights `da_rgm = sum_n grad_nr cos(g x_nm)` and `db` with sines.

    Args:
        grad: (B, H, N, R), float32, any strides.
        q, k, weights, scale: as for `fourier_rows`.
        need_q, need_k, need_weights: which gradients to compute.
    """
    if not grad.numel() or not k.numel():
        grad_q, grad_k, grad_weights = _grads_like(q, k, weights, need_q, need_k, need_weights)
        return grad_q.zero_(), grad_k.zero_(), grad_weights.zero_()
    launch = _Launch(q, k, weights)
    with torch.cuda.device(q.get_device()):
        grad_q = launch.grad_q(grad, scale) if need_q else q.new_empty(0)
        return grad_q, *launch.grads_by_keys(grad, scale, need_k, need_weights)


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


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needed = ctx.needs_input_grad[:3]
    grads = fourier_rows_backward(grad, *ctx.saved_tensors, ctx.scale, *needed)
    return *(each if need else None for each, need in zip(grads, needed, strict=True)), None


def _refuse_second(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError("kernel triton: has no second derivative; kernel reference has")


fourier_rows.register_autograd(_backward, setup_context=_keep)
fourier_rows_backward.register_autograd(_refuse_second)


class _Launch:
    """What the kernels are told about one call, and how the backward pass is cut into programs."""

    def __init__(self, q: Tensor, k: Tensor, weights: Tensor) -> None:
        self.q, self.k, self.weights = q, k, weights
        self.batch, heads, tokens, width = q.shape
        self.operators, outputs, features, keys = weights.shape
        assert k.shape == (self.batch, heads, keys, width), (q.shape, k.shape, weights.shape)
        assert heads % self.operators == 0, (heads, self.operators)
        assert q.dtype == k.dtype, (q.dtype, k.dtype)
        assert weights.dtype == torch.float32, weights.dtype
        self.grid_size, self.sharing = features // 2, heads // self.operators
        self.sizes = (heads, self.sharing, tokens, keys)
        padded = max(16, triton.next_power_of_2(width))
        self.fixed: dict[str, Any] = {
            "GRID": self.grid_size,
            "OUTPUTS": outputs,
            "WIDTH": width,
            "BLOCK_N": BLOCK_QUERIES // 2 if padded >= WIDE else BLOCK_QUERIES,
            "BLOCK_M": BLOCK_KEYS,
            "BLOCK_R": max(16, triton.next_power_of_2(outputs)),
            "BLOCK_D": padded,
            "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32x3",
            "WIDEN": INTERPRETED,
            "num_warps": 4,
        }

    def blocks(self, length: int, block: str) -> int:
        return -(-length // int(self.fixed[block]))

    def grad_q(self, grad: Tensor, scale: float) -> Tensor:
        q, k, weights = self.q, self.k, self.weights
        grad_q = q.new_empty(q.shape)
        grid = (q.shape[0] * q.shape[1] * self.blocks(q.shape[2], "BLOCK_N"),)
        strides = (q.stride(), k.stride(), weights.stride(), grad.stride(), grad_q.stride())
        _grad_q_kernel[grid](grad, q, k, weights, grad_q, scale, strides, self.sizes, **self.fixed)
        return grad_q

    def grads_by_keys(
        self, grad: Tensor, scale: float, need_k: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor]:
        """Gradients of k and weights.

        A program has a block of keys, some of the frequencies (as many as its registers hold)
        and every s-th picture and head of an operator.
        """
        q, k, weights = self.q, self.k, self.weights
        block_numbers = 2 * self.fixed["BLOCK_M"] * self.fixed["BLOCK_R"]
        chunks = -(-self.grid_size // max(1, WEIGHT_NUMBERS // block_numbers))
        key_blocks, pictures = self.blocks(k.shape[2], "BLOCK_M"), self.batch * self.sharing
        splits = PROGRAMS // (key_blocks * chunks * self.operators)
        splits = max(1, min(splits, pictures))
        parts_k = k.new_empty(
            (chunks, *k.shape) if need_k else (1, 0),
            dtype=torch.float32 if chunks > 1 else k.dtype,
        )
        parts_weights = weights.new_empty((splits, *weights.shape) if need_weights else (1, 0))
        if need_k or need_weights:
            tensors = (grad, q, k, weights, parts_k, parts_weights)
            _grads_by_keys_kernel[(key_blocks * chunks, self.operators, splits)](
                *tensors,
                scale,
                tuple(each.stride() for each in tensors),
                (*self.sizes, pictures),
                GROUP=-(-self.grid_size // chunks),
                NEED_K=need_k,
                NEED_WEIGHTS=need_weights,
                **self.fixed,
            )
        return _sum(parts_k).to(k.dtype), _sum(parts_weights)


def _sum(parts: Tensor) -> Tensor:
    return parts.sum(0) if len(parts) > 1 else parts[0]


def _jit(function: "Callable[..., Any]") -> Any:
    """`triton.jit`; nothing to call where Triton is missing."""
    return triton.jit(function) if triton is not None else None


@_jit
def _tile(  # type: ignore[no-untyped-def]
    start, row_stride, column_stride, rows, columns, row_count, column_count
):
    """A block of a matrix, 0 outside of it."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < column_count)
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    return tl.load(start + at, mask=inside, other=0.0)


@_jit
def _put(  # type: ignore[no-untyped-def]
    start, values, row_stride, column_stride, rows, columns, row_count, column_count
):
    """Write a block of a matrix, nothing outside of it."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < column_count)
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    tl.store(start + at, values.to(start.dtype.element_ty), mask=inside)


@_jit
def _scores(  # type: ignore[no-untyped-def]
    a, b, scale, PRECISION: constexpr, WIDEN: constexpr
):
    """`scale a bᵀ`. The interpreter has no products of bfloat16, so they are widened there."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, tl.trans(b), input_precision=PRECISION) * scale


@_jit
def _cos_sin(x):  # type: ignore[no-untyped-def]
    """Both at once and without a branch, to about 1e-7, for |x| below 2^20.

    A larger one counts as 0: its neighbours in float32 are a sixteenth apart, so that it says
    nothing about an angle. Source: S. Moshier, Cephes, `sinf.c` (three-part π/2, polynomials).
    """
    x = tl.where(tl.abs(x) < 1048576.0, x, x * 0.0)  # NaN and infinity give NaN
    shifted = x * 0.6366197723675814 + 12582912.0  # the quarter turn, in the lowest bits
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
    strides,
    sizes,
    GRID: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_N: constexpr,
    BLOCK_M: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """Rows of a block of queries of one head."""
    q_strides, k_strides, w_strides, out_strides = strides
    heads, sharing, tokens, keys = sizes
    blocks = tl.cdiv(tokens, BLOCK_N)
    block, head = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    at_n, at_m = block * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_M)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    q += b * q_strides[0] + h * q_strides[1]
    k += b * k_strides[0] + h * k_strides[1]
    rows += b * out_strides[0] + h * out_strides[1]
    weights += (h // sharing) * w_strides[0]

    q_ND = _tile(q, q_strides[2], q_strides[3], at_n, at_d, tokens, WIDTH)
    rows_NR = tl.zeros((BLOCK_N, BLOCK_R), tl.float32)
    for start in range(0, keys, BLOCK_M):
        k_MD = _tile(k, k_strides[2], k_strides[3], start + at_m, at_d, keys, WIDTH)
        x_NM = _scores(q_ND, k_MD, scale, PRECISION, WIDEN)
        cos_1, sin_1 = _cos_sin(x_NM)
        cos, sin = cos_1, sin_1
        for g in range(GRID):
            a_g = weights + g * w_strides[2]
            b_g = a_g + GRID * w_strides[2]
            a_MR = _tile(a_g, w_strides[3], w_strides[1], start + at_m, at_r, keys, OUTPUTS)
            b_MR = _tile(b_g, w_strides[3], w_strides[1], start + at_m, at_r, keys, OUTPUTS)
            rows_NR = tl.dot(cos, a_MR, rows_NR, input_precision=PRECISION)
            rows_NR = tl.dot(sin, b_MR, rows_NR, input_precision=PRECISION)
            cos, sin = _next(cos, sin, cos_1, sin_1)
    _put(rows, rows_NR, out_strides[2], out_strides[3], at_n, at_r, tokens, OUTPUTS)


@_jit
def _grad_q_kernel(  # type: ignore[no-untyped-def]
    grad,
    q,
    k,
    weights,
    grad_q,
    scale,
    strides,
    sizes,
    GRID: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_N: constexpr,
    BLOCK_M: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """Gradient of a block of queries of one head."""
    q_strides, k_strides, w_strides, grad_strides, out_strides = strides
    heads, sharing, tokens, keys = sizes
    blocks = tl.cdiv(tokens, BLOCK_N)
    block, head = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    at_n, at_m = block * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_M)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    q += b * q_strides[0] + h * q_strides[1]
    k += b * k_strides[0] + h * k_strides[1]
    grad += b * grad_strides[0] + h * grad_strides[1]
    grad_q += b * out_strides[0] + h * out_strides[1]
    weights += (h // sharing) * w_strides[0]

    q_ND = _tile(q, q_strides[2], q_strides[3], at_n, at_d, tokens, WIDTH)
    grad_NR = _tile(grad, grad_strides[2], grad_strides[3], at_n, at_r, tokens, OUTPUTS)
    grad_ND = tl.zeros((BLOCK_N, BLOCK_D), tl.float32)
    for start in range(0, keys, BLOCK_M):
        k_MD = _tile(k, k_strides[2], k_strides[3], start + at_m, at_d, keys, WIDTH)
        x_NM = _scores(q_ND, k_MD, scale, PRECISION, WIDEN)
        cos_1, sin_1 = _cos_sin(x_NM)
        cos, sin = cos_1, sin_1
        dx_NM = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
        for g in range(GRID):
            a_g = weights + g * w_strides[2]
            b_g = a_g + GRID * w_strides[2]
            a_RM = _tile(a_g, w_strides[1], w_strides[3], at_r, start + at_m, OUTPUTS, keys)
            b_RM = _tile(b_g, w_strides[1], w_strides[3], at_r, start + at_m, OUTPUTS, keys)
            u_NM = tl.dot(grad_NR, a_RM, input_precision=PRECISION)
            v_NM = tl.dot(grad_NR, b_RM, input_precision=PRECISION)
            dx_NM += (g + 1) * (v_NM * cos - u_NM * sin)
            cos, sin = _next(cos, sin, cos_1, sin_1)
        grad_ND = tl.dot(dx_NM, k_MD.to(tl.float32), grad_ND, input_precision=PRECISION)
    grad_ND *= scale
    _put(grad_q, grad_ND, out_strides[2], out_strides[3], at_n, at_d, tokens, WIDTH)


@_jit
def _grads_by_keys_kernel(  # type: ignore[no-untyped-def]
    grad,
    q,
    k,
    weights,
    part_k,
    part_weights,
    scale,
    strides,
    sizes,
    NEED_K: constexpr,
    NEED_WEIGHTS: constexpr,
    GROUP: constexpr,
    GRID: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_N: constexpr,
    BLOCK_M: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """What GROUP frequencies and every s-th picture give to the gradients of a block of keys."""
    grad_strides, q_strides, k_strides, w_strides, part_k_strides, part_w_strides = strides
    _heads, sharing, tokens, keys, pictures = sizes
    blocks = tl.cdiv(keys, BLOCK_M)
    block, chunk = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    p, split = tl.program_id(1).to(tl.int64), tl.program_id(2)
    first = chunk * GROUP
    at_n, at_m = tl.arange(0, BLOCK_N), block * BLOCK_M + tl.arange(0, BLOCK_M)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    weights += p * w_strides[0]
    part_weights += split.to(tl.int64) * part_w_strides[0] + p * part_w_strides[1]
    part_k += chunk.to(tl.int64) * part_k_strides[0]

    sums = ()
    for _i in tl.static_range(2 * GROUP):
        sums += (tl.zeros((BLOCK_M, BLOCK_R), tl.float32),)  # type: ignore[assignment]
    for picture in range(split, pictures, tl.num_programs(2)):
        b, h = (picture // sharing).to(tl.int64), p * sharing + picture % sharing
        q_bh = q + b * q_strides[0] + h * q_strides[1]
        k_bh = k + b * k_strides[0] + h * k_strides[1]
        grad_bh = grad + b * grad_strides[0] + h * grad_strides[1]
        k_MD = _tile(k_bh, k_strides[2], k_strides[3], at_m, at_d, keys, WIDTH)
        grad_MD = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
        for start in range(0, tokens, BLOCK_N):
            q_ND = _tile(q_bh, q_strides[2], q_strides[3], start + at_n, at_d, tokens, WIDTH)
            grad_NR = _tile(
                grad_bh, grad_strides[2], grad_strides[3], start + at_n, at_r, tokens, OUTPUTS
            )
            x_MN = _scores(k_MD, q_ND, scale, PRECISION, WIDEN)
            cos_1, sin_1 = _cos_sin(x_MN)
            cos, sin = cos_1, sin_1
            for _g in range(first):
                cos, sin = _next(cos, sin, cos_1, sin_1)
            dx_MN = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
            added = ()
            for i in tl.static_range(GROUP):
                if NEED_WEIGHTS:
                    a_sum = tl.dot(cos, grad_NR, sums[2 * i], input_precision=PRECISION)
                    b_sum = tl.dot(sin, grad_NR, sums[2 * i + 1], input_precision=PRECISION)
                    added += (a_sum, b_sum)  # type: ignore[assignment]
                if NEED_K:
                    a_g = weights + (first + i) * w_strides[2]
                    b_g = a_g + GRID * w_strides[2]
                    inside = tl.where(first + i < GRID, keys, 0)
                    a_MR = _tile(a_g, w_strides[3], w_strides[1], at_m, at_r, inside, OUTPUTS)
                    b_MR = _tile(b_g, w_strides[3], w_strides[1], at_m, at_r, inside, OUTPUTS)
                    u_MN = tl.dot(a_MR, tl.trans(grad_NR), input_precision=PRECISION)
                    v_MN = tl.dot(b_MR, tl.trans(grad_NR), input_precision=PRECISION)
                    dx_MN += (first + i + 1) * (v_MN * cos - u_MN * sin)
                cos, sin = _next(cos, sin, cos_1, sin_1)
            if NEED_WEIGHTS:
                sums = added
            if NEED_K:
                grad_MD = tl.dot(dx_MN, q_ND.to(tl.float32), grad_MD, input_precision=PRECISION)
        if NEED_K:
            grad_MD *= scale
            part_bh = part_k + b * part_k_strides[1] + h * part_k_strides[2]
            _put(part_bh, grad_MD, part_k_strides[3], part_k_strides[4], at_m, at_d, keys, WIDTH)
    if NEED_WEIGHTS:
        for i in tl.static_range(GROUP):
            a_g = part_weights + (first + i) * part_w_strides[3]
            b_g = a_g + GRID * part_w_strides[3]
            row, column = part_w_strides[4], part_w_strides[2]
            inside = tl.where(first + i < GRID, keys, 0)
            _put(a_g, sums[2 * i], row, column, at_m, at_r, inside, OUTPUTS)
            _put(b_g, sums[2 * i + 1], row, column, at_m, at_r, inside, OUTPUTS)
