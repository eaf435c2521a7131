"""The kernel of the rows."""

from karat.attention.kernels.triton._jit import constexpr, jit, tl
from karat.attention.kernels.triton._tiles import again, kept_of, place, put, scores, tile


@jit
def rows_kernel(  # type: ignore[no-untyped-def]
    q,
    k,
    weights,
    kept,
    rows,
    scale,
    q_strides,
    k_strides,
    w_strides,
    kept_strides,
    rows_strides,
    heads,
    sharing,
    tokens,
    keys,
    features: constexpr,
    unit: constexpr,
    FEATURES: constexpr,
    GROUP: constexpr,
    KEPT: constexpr,
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
    block, b, h = place(tokens, heads, BLOCK_OWN)
    at_n, at_m = block * BLOCK_OWN + tl.arange(0, BLOCK_OWN), tl.arange(0, BLOCK_OTHER)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    q += b * q_strides[0] + h * q_strides[1]
    k += b * k_strides[0] + h * k_strides[1]
    weights += (h // sharing) * w_strides[0]
    kept += (h // sharing) * kept_strides[0]
    rows += b * rows_strides[0] + h * rows_strides[1]

    q_ND = tile(q, q_strides[2], q_strides[3], at_n, at_d, tokens, WIDTH)
    rows_NR = tl.zeros((BLOCK_OWN, BLOCK_R), tl.float32)
    for start in range(0, keys, BLOCK_OTHER):
        now_m = start + at_m
        k_MD = tile(k, k_strides[2], k_strides[3], now_m, at_d, keys, WIDTH)
        x_NM = scores(q_ND, k_MD, scale, PRECISION, WIDEN)
        if FEATURES > 0:
            for number in range(tl.cdiv(FEATURES, GROUP)):
                of_x = features(again(x_NM, WIDEN), number)
                for i in tl.static_range(GROUP):
                    f = number * GROUP + i
                    of_f, outputs = weights + f * w_strides[2], tl.where(f < FEATURES, OUTPUTS, 0)
                    w_MR = tile(of_f, w_strides[3], w_strides[1], now_m, at_r, keys, outputs)
                    rows_NR = tl.dot(of_x[i], w_MR, rows_NR, input_precision=PRECISION)
        if KEPT > 0:
            inside = now_m[None, :] < keys
            for r in range(OUTPUTS):
                of_r = kept + r * kept_strides[1]
                own = kept_of(of_r, kept_strides[2], kept_strides[3], now_m, keys, KEPT, False)
                added_N = tl.sum(tl.where(inside, unit(x_NM, own), 0.0), 1)
                rows_NR += tl.where(at_r[None, :] == r, added_N[:, None], 0.0)
    put(rows, rows_NR, rows_strides[2], rows_strides[3], at_n, at_r, tokens, OUTPUTS)
