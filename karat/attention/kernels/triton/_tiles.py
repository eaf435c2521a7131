"""What the kernels share: where a program works, blocks of matrices, and scores.

Shapes as in `karat.attention.kernels.triton`.
"""

from karat.attention.kernels.triton._jit import constexpr, jit, tl


@jit
def place(length, heads, BLOCK: constexpr):  # type: ignore[no-untyped-def]
    """Block, batch item and head of this program; the blocks of a head are consecutive."""
    blocks = tl.cdiv(length, BLOCK)
    head = tl.program_id(0) // blocks
    return tl.program_id(0) % blocks, (head // heads).to(tl.int64), (head % heads).to(tl.int64)


@jit
def tile(  # type: ignore[no-untyped-def]
    start, row_stride, column_stride, rows, columns, row_count, column_count
):
    """Load a block of a matrix, with 0 outside of the matrix."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < column_count)
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    return tl.load(start + at, mask=inside, other=0.0)


@jit
def put(  # type: ignore[no-untyped-def]
    start, values, row_stride, column_stride, rows, columns, row_count, column_count
):
    """Store a block of a matrix, and nothing outside of the matrix."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < column_count)
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    tl.store(start + at, values.to(start.dtype.element_ty), mask=inside)


@jit
def column(start, stride, rows, count):  # type: ignore[no-untyped-def]
    """Load a part of a vector, with 0 outside of the vector."""
    return tl.load(start + rows * stride, mask=rows < count, other=0.0)


@jit
def along(vector, FIRST: constexpr):  # type: ignore[no-untyped-def]
    """A vector as a tile of one column if it runs along the first dimension, else of one row."""
    return vector[:, None] if FIRST else vector[None, :]


@jit
def kept_of(  # type: ignore[no-untyped-def]
    start, stride, key_stride, keys, count, KEPT: constexpr, FIRST: constexpr
):
    """What is prepared of the units of some keys, as tiles of one column or one row."""
    found = ()
    for i in tl.static_range(KEPT):
        one = column(start + i * stride, key_stride, keys, count)
        found += (along(one, FIRST),)  # type: ignore[assignment]
    return found


@jit
def scores(  # type: ignore[no-untyped-def]
    a, b, scale, PRECISION: constexpr, WIDEN: constexpr
):
    """`scale a bᵀ`. Triton's interpreter cannot multiply bfloat16, so it widens the operands."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, tl.trans(b), input_precision=PRECISION) * scale


@jit
def again(x, INTERPRETED: constexpr):  # type: ignore[no-untyped-def]
    """The tile, of which the compiler does not know that it is the same in every round of a loop.

    Otherwise it would compute the features of all groups before the loop, and keep them in memory.
    """
    if INTERPRETED:
        return x
    return tl.inline_asm_elementwise(
        "mov.b32 $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=False, pack=1
    )
