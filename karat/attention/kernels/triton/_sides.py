"""The kernel of the gradients of queries and of keys."""

from karat.attention.kernels.triton._jit import constexpr, jit, tl
from karat.attention.kernels.triton._tiles import (
    again,
    along,
    column,
    kept_of,
    place,
    put,
    scores,
    tile,
)


@jit
def side_kernel(  # type: ignore[no-untyped-def]
    grad,
    own,
    other,
    weights,
    kept,
    grad_own,
    scale,
    grad_strides,
    own_strides,
    other_strides,
    w_strides,
    kept_strides,
    grad_own_strides,
    heads,
    sharing,
    owns,
    others,
    slopes: constexpr,
    unit_slope: constexpr,
    OWN_KEYS: constexpr,
    FLAT: constexpr,
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
    """Gradient of a block of queries (X) over all keys (Y) of a head, or with both exchanged.

    The first FLAT features have no slope.
    """
    block, b, h = place(owns, heads, BLOCK_OWN)
    at_x, at_y = block * BLOCK_OWN + tl.arange(0, BLOCK_OWN), tl.arange(0, BLOCK_OTHER)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)
    own += b * own_strides[0] + h * own_strides[1]
    other += b * other_strides[0] + h * other_strides[1]
    grad += b * grad_strides[0] + h * grad_strides[1]
    weights += (h // sharing) * w_strides[0]
    kept += (h // sharing) * kept_strides[0]
    grad_own += b * grad_own_strides[0] + h * grad_own_strides[1]

    own_XD = tile(own, own_strides[2], own_strides[3], at_x, at_d, owns, WIDTH)
    if not OWN_KEYS:
        grad_XR = tile(grad, grad_strides[2], grad_strides[3], at_x, at_r, owns, OUTPUTS)
    sum_XD = tl.zeros((BLOCK_OWN, BLOCK_D), tl.float32)
    for start in range(0, others, BLOCK_OTHER):
        now_y = start + at_y
        other_YD = tile(other, other_strides[2], other_strides[3], now_y, at_d, others, WIDTH)
        x_XY = scores(own_XD, other_YD, scale, PRECISION, WIDEN)
        dx_XY = tl.zeros((BLOCK_OWN, BLOCK_OTHER), tl.float32)
        if FEATURES > FLAT:
            if OWN_KEYS:
                grad_RY = tile(grad, grad_strides[3], grad_strides[2], at_r, now_y, OUTPUTS, others)
            for number in range(tl.cdiv(FEATURES - FLAT, GROUP)):
                of_x = slopes(again(x_XY, WIDEN), number)
                for i in tl.static_range(GROUP):
                    f = FLAT + number * GROUP + i
                    of_f, outputs = weights + f * w_strides[2], tl.where(f < FEATURES, OUTPUTS, 0)
                    if OWN_KEYS:
                        w_XR = tile(of_f, w_strides[3], w_strides[1], at_x, at_r, owns, outputs)
                        pulled_XY = tl.dot(w_XR, grad_RY, input_precision=PRECISION)
                    else:
                        w_RY = tile(of_f, w_strides[1], w_strides[3], at_r, now_y, outputs, others)
                        pulled_XY = tl.dot(grad_XR, w_RY, input_precision=PRECISION)
                    dx_XY += of_x[i] * pulled_XY
        if KEPT > 0:
            inside = (at_x[:, None] < owns) & (now_y[None, :] < others)
            for r in range(OUTPUTS):
                of_r = kept + r * kept_strides[1]
                grad_r = grad + r * grad_strides[3]
                if OWN_KEYS:
                    units = kept_of(of_r, kept_strides[2], kept_strides[3], at_x, owns, KEPT, True)
                    above = along(column(grad_r, grad_strides[2], now_y, others), False)
                else:
                    units = kept_of(
                        of_r, kept_strides[2], kept_strides[3], now_y, others, KEPT, False
                    )
                    above = along(column(grad_r, grad_strides[2], at_x, owns), True)
                dx_XY += tl.where(inside, unit_slope(x_XY, units, above), 0.0)
        sum_XD = tl.dot(dx_XY, other_YD.to(tl.float32), sum_XD, input_precision=PRECISION)
    sum_XD *= scale
    put(grad_own, sum_XD, grad_own_strides[2], grad_own_strides[3], at_x, at_d, owns, WIDTH)
