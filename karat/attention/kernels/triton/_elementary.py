"""Elementary functions of float32 tiles, without branches, as the generated functions call them.

NaN gives NaN, except for the sign, which is 0.
"""

from karat.attention.kernels.triton._jit import jit, tl


@jit
def cosine_and_sine(x):  # type: ignore[no-untyped-def]
    """Cosine and sine, with an error below 1e-7 for |x| below 2^20.

    A larger x counts as 0: float32 numbers there are at least 1/8 apart, so that x does not
    determine an angle. The number of quarter turns is split into a multiple of 1024 and the rest,
    and π/2 into two parts of 14 bits and a third, so that every product but the last and every
    difference is exact, with or without fused multiply-add. Source of the polynomials on
    [-π/4, π/4]: S. Moshier, Cephes, `sinf.c`.
    """
    x = tl.where(tl.abs(x) < 1048576.0, x, x * 0.0)  # infinity gives NaN
    # Adding 1.5 * 2^23 rounds to an integer, the quarter turn, which is then in the lowest bits.
    shifted = x * 0.6366197723675814 + 12582912.0
    turns = shifted - 12582912.0
    quarter = shifted.to(tl.int32, bitcast=True)
    many = ((turns * 0.0009765625 + 12582912.0) - 12582912.0) * 1024.0
    few = turns - many
    x = (x - many * 1.5706787109375) - few * 1.5706787109375
    x = (x - many * 0.00011761486530303955) - few * 0.00011761486530303955
    x = x - turns * 9.920935796805404e-10
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


@jit
def cosine(x):  # type: ignore[no-untyped-def]
    """The cosine; see `cosine_and_sine`."""
    cos, _sin = cosine_and_sine(x)
    return cos


@jit
def sine(x):  # type: ignore[no-untyped-def]
    """The sine; see `cosine_and_sine`."""
    _cos, sin = cosine_and_sine(x)
    return sin


@jit
def sigmoid(x):  # type: ignore[no-untyped-def]
    """`1 / (1 + exp(-x))`."""
    return 1.0 / (1.0 + tl.exp(-x))


@jit
def hyperbolic_tangent(x):  # type: ignore[no-untyped-def]
    """The tangent; near 0, where the other form cancels, by a polynomial.

    Source: S. Moshier, Cephes, `tanhf.c`.
    """
    square = x * x
    near = -5.70498872745e-3 * square + 2.06390887954e-2
    near = (near * square - 5.37397155531e-2) * square + 1.33314422036e-1
    near = (near * square - 3.33332819422e-1) * square * x + x
    size = tl.abs(x)
    far = 1.0 - 2.0 / (tl.exp(size + size) + 1.0)
    return tl.where(size < 0.625, near, tl.where(x < 0.0, -far, far))


@jit
def sign(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0))


@jit
def maximum(a, b):  # type: ignore[no-untyped-def]
    """The larger one; NaN if `a` is NaN."""
    return tl.where(a < b, b, a)
