"""exp2, log2 and tanh as short polynomials on the bit pattern, so that the compiler can run many lanes at once.

libm's calls keep a loop scalar. These are plain arithmetic: 4 to 8 lanes an instruction, relative error below
1e-11 (exp2, log2) over the whole range the neurons use; `tests/test_kernels.py` holds them to it.
"""

import math

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


@intrinsic
def _as_int(typingctx, x):
    """The bits of a float64 as an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _as_float(typingctx, n):
    """The float64 with these bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


LN2 = math.log(2.0)
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_ONE_BITS = 0x3FF0000000000000
_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to the nearest integer


@njit(inline="always", error_model="numpy")
def exp2(x: float) -> float:
    """2**x, clamped to 2**-1000 .. 2**1000."""
    x = min(max(x, -1000.0), 1000.0)
    shifted = x + _MAGIC
    f = (x - (shifted - _MAGIC)) * LN2
    y = 1 + f * (1 + f * (1 / 2 + f * (1 / 6 + f * (1 / 24 + f * (1 / 120 + f * (1 / 720 + f * (1 / 5040)))))))
    y += f**8 * (1 / 40320 + f * (1 / 362880 + f * (1 / 3628800)))
    return y * _as_float(((_as_int(shifted) & 0xFFFF) << 52) + _ONE_BITS & 0x7FF0000000000000)


@njit(inline="always", error_model="numpy")
def log2(x: float) -> float:
    """Base-2 logarithm of a positive normal number."""
    bits = _as_int(x)
    e = (bits - _SQRT_HALF_BITS) >> 52
    m = _as_float(bits - (e << 52))
    s = (m - 1) / (m + 1)
    q = s * s
    series = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15)))))))
    return _as_float(0x4338000000000000 + e) - _MAGIC + 2 / LN2 * s * series


@njit(inline="always", error_model="numpy")
def tanh(x: float) -> float:
    """Hyperbolic tangent; absolute error below 1e-11."""
    e = exp2(min(abs(x), 20.0) * (-2 / LN2))
    y = (1 - e) / (1 + e)
    return y if x >= 0 else -y
