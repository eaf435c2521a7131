"""The kernels of the gradients of what is learned: weights of features, and parts of units.

A program sums over its share of the images in registers; partial sums are added afterwards.
"""

from karat.attention.kernels.triton._jit import constexpr, jit, tl
from karat.attention.kernels.triton._tiles import again, column, kept_of, put, scores, tile


@jit
def weights_kernel(  # type: ignore[no-untyped-def]
    grad,
    q,
    k,
    sums,
    scale,
    grad_strides,
    q_strides,
    k_strides,
    sums_strides,
    images,
    sharing,
    tokens,
    keys,
    features: constexpr,
    FEATURES: constexpr,
    GROUP: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_OWN: constexpr,
    BLOCK_OTHER: constexpr,
    BLOCK_R: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """Partial sum of the gradient of the weights of a group of features, for a block of keys."""
    blocks = tl.cdiv(keys, BLOCK_OWN)
    block, number = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    p, split = tl.program_id(1).to(tl.int64), tl.program_id(2)
    at_n, at_m = tl.arange(0, BLOCK_OTHER), block * BLOCK_OWN + tl.arange(0, BLOCK_OWN)
    at_r, at_d = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_D)

    totals = ()
    for _i in tl.static_range(GROUP):
        totals += (tl.zeros((BLOCK_OWN, BLOCK_R), tl.float32),)  # type: ignore[assignment]
    for image in range(split, images, tl.num_programs(2)):
        b, h = (image // sharing).to(tl.int64), p * sharing + image % sharing
        q_bh = q + b * q_strides[0] + h * q_strides[1]
        k_bh = k + b * k_strides[0] + h * k_strides[1]
        grad_bh = grad + b * grad_strides[0] + h * grad_strides[1]
        k_MD = tile(k_bh, k_strides[2], k_strides[3], at_m, at_d, keys, WIDTH)
        for start in range(0, tokens, BLOCK_OTHER):
            now_n = start + at_n
            q_ND = tile(q_bh, q_strides[2], q_strides[3], now_n, at_d, tokens, WIDTH)
            grad_NR = tile(grad_bh, grad_strides[2], grad_strides[3], now_n, at_r, tokens, OUTPUTS)
            x_MN = scores(k_MD, q_ND, scale, PRECISION, WIDEN)
            of_x = features(again(x_MN, WIDEN), number)
            added = ()
            for i in tl.static_range(GROUP):
                total_MR = tl.dot(of_x[i], grad_NR, totals[i], input_precision=PRECISION)
                added += (total_MR,)  # type: ignore[assignment]
            totals = added
    sums += split.to(tl.int64) * sums_strides[0] + p * sums_strides[1]
    for i in tl.static_range(GROUP):
        f = number * GROUP + i
        of_f, outputs = sums + f * sums_strides[3], tl.where(f < FEATURES, OUTPUTS, 0)
        put(of_f, totals[i], sums_strides[4], sums_strides[2], at_m, at_r, keys, outputs)


@jit
def parts_kernel(  # type: ignore[no-untyped-def]
    grad,
    q,
    k,
    kept,
    sums,
    scale,
    grad_strides,
    q_strides,
    k_strides,
    kept_strides,
    sums_strides,
    images,
    sharing,
    tokens,
    keys,
    unit_parts: constexpr,
    PARTS: constexpr,
    GROUP: constexpr,
    KEPT: constexpr,
    OUTPUTS: constexpr,
    WIDTH: constexpr,
    BLOCK_OWN: constexpr,
    BLOCK_OTHER: constexpr,
    BLOCK_C: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
    WIDEN: constexpr,
):
    """Partial sum of the gradient of a group of parts of BLOCK_C outputs, for a block of keys."""
    blocks, groups = tl.cdiv(keys, BLOCK_OWN), tl.cdiv(PARTS, GROUP)
    block, rest = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    number, first = rest % groups, rest // groups * BLOCK_C
    p, split = tl.program_id(1).to(tl.int64), tl.program_id(2)
    at_n, at_m = tl.arange(0, BLOCK_OTHER), block * BLOCK_OWN + tl.arange(0, BLOCK_OWN)
    at_c, at_d = tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_D)
    kept += p * kept_strides[0]

    totals = ()
    for _i in tl.static_range(GROUP):
        totals += (tl.zeros((BLOCK_OWN, BLOCK_C), tl.float32),)  # type: ignore[assignment]
    for image in range(split, images, tl.num_programs(2)):
        b, h = (image // sharing).to(tl.int64), p * sharing + image % sharing
        q_bh = q + b * q_strides[0] + h * q_strides[1]
        k_bh = k + b * k_strides[0] + h * k_strides[1]
        grad_bh = grad + b * grad_strides[0] + h * grad_strides[1]
        k_MD = tile(k_bh, k_strides[2], k_strides[3], at_m, at_d, keys, WIDTH)
        for start in range(0, tokens, BLOCK_OTHER):
            now_n = start + at_n
            q_ND = tile(q_bh, q_strides[2], q_strides[3], now_n, at_d, tokens, WIDTH)
            x_MN = scores(k_MD, q_ND, scale, PRECISION, WIDEN)
            inside = (at_m[:, None] < keys) & (now_n[None, :] < tokens)
            for c in range(tl.minimum(BLOCK_C, OUTPUTS - first)):
                r = first + c
                of_r = kept + r * kept_strides[1]
                units = kept_of(of_r, kept_strides[2], kept_strides[3], at_m, keys, KEPT, True)
                above_N = column(grad_bh + r * grad_strides[3], grad_strides[2], now_n, tokens)
                parts = unit_parts(x_MN, units, above_N[None, :], number)
                added = ()
                for i in tl.static_range(GROUP):
                    part_M = tl.sum(tl.where(inside, parts[i], 0.0), 1)
                    here = tl.where(at_c[None, :] == c, part_M[:, None], 0.0)
                    added += (totals[i] + here,)  # type: ignore[assignment]
                totals = added
    sums += split.to(tl.int64) * sums_strides[0] + p * sums_strides[1]
    for i in tl.static_range(GROUP):
        part, at_r = number * GROUP + i, first + at_c
        of_part, outputs = sums + part * sums_strides[3], tl.where(part < PARTS, OUTPUTS, 0)
        put(of_part, totals[i], sums_strides[4], sums_strides[2], at_m, at_r, keys, outputs)
