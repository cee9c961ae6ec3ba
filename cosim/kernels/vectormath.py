"""exp2, log2 and tanh as short polynomials on the bit pattern, so that the compiler can run many lanes at once.

libm's calls keep a loop scalar. These are plain arithmetic, 4 to 16 lanes an instruction, in double and in single
precision: a float32 stays one throughout. Relative errors of exp2 and log2 are below 1e-11 and 3e-7 over the whole
range the neurons use; `tests/test_kernels.py` holds them to it. Coefficients have the least relative error, by Remez'
exchange (ours).
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

LN2 = math.log(2.0)

_FORMATS = {types.float64: (64, 52, 0x3FE6A09E667F3BCD), types.float32: (32, 23, 0x3F3504F3)}
"""Bits, those of the mantissa, and the pattern of the root of 1/2."""


def _bitwise(kind, count, emit):
    """Signature and code of an intrinsic that works on the bits of so many numbers of a kind."""

    def codegen(context, builder, signature, args):
        bits, mantissa, root = _FORMATS[kind]
        whole = ir.IntType(bits)
        after = emit(builder, whole, mantissa, root, *(builder.bitcast(x, whole) for x in args))
        return builder.bitcast(after, args[0].type)

    return kind(*[kind] * count), codegen


@intrinsic
def _scaled(typingctx, y, shifted):
    """y 2**n, of a y between the roots of 1/2 and 2; the lowest bits of `shifted` are n."""
    return _bitwise(y, 2, lambda b, whole, mantissa, root, y, n: b.add(y, b.shl(n, whole(mantissa))))


@intrinsic
def _exponent(typingctx, x, magic):
    """n of x = m 2**n with m between these roots, added to the lowest bits of `magic`."""
    return _bitwise(
        x, 2, lambda b, whole, mantissa, root, x, magic: b.add(b.ashr(b.sub(x, whole(root)), whole(mantissa)), magic)
    )


@intrinsic
def _fraction(typingctx, x):
    """That m."""
    return _bitwise(
        x, 1, lambda b, whole, mantissa, root, x: b.sub(x, b.and_(b.sub(x, whole(root)), whole(-1 << mantissa)))
    )


@intrinsic
def widened(typingctx: object) -> tuple:
    """Let the compiler take the widest vectors that there are in the function that says so: by itself it takes half
    of them on some machines, where loops this long wait for their own results."""

    def codegen(context, builder, signature, args):
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


_MAGIC = 1.5 * 2.0**52  # adding it rounds to the nearest integer, and leaves that in the lowest bits
_MAGIC_1, _ONE_1, _MOST_1, _FAR_1 = (np.float32(x) for x in (1.5 * 2.0**23, 1.0, 125.0, 20.0))
_E1 = tuple(np.float32(x) for x in (0.693146978, 0.240222421, 0.0555073373, 0.00967151297, 0.00132647307))
_L1 = tuple(
    np.float32(x)
    for x in (1.44269496199, -0.721352788079, 0.480923242232, -0.360239637959, 0.287098690685, -0.248876867628,
              0.23404249676, -0.145811897616)
)  # fmt: skip
_T1 = np.float32(-2 / LN2)


def exp2(x: float) -> float:
    """2**x, clamped to 2**-1000 .. 2**1000; in single precision 2**-125 .. 2**125."""
    return 2.0**x


def power(x: float) -> float:
    """2**x, of an x that is known to stay within these bounds."""
    return 2.0**x


def log2(x: float) -> float:
    """Base-2 logarithm of a positive normal number."""
    return math.log2(x)


def tanh(x: float) -> float:
    """Hyperbolic tangent; absolute error below 1e-11, in single precision 3e-7."""
    return math.tanh(x)


@overload(exp2, inline="always")
def _exp2(x):
    def double(x):
        return power(min(max(x, -1000.0), 1000.0))

    def single(x):
        return power(min(max(x, -_MOST_1), _MOST_1))

    return single if x == types.float32 else double


@overload(power, inline="always")
def _power(x):
    def double(x):
        shifted = x + _MAGIC
        f = x - (shifted - _MAGIC)
        y = 0.000154034408841557334 + f * (0.0000152529899808815029 + f * (
            1.32583354868835432e-6 + f * 1.01483466286592098e-7))  # fmt: skip
        y = 0.0555041086684152861 + f * (0.00961812918116429295 + f * (0.00133335576255368751 + f * y))
        y = 0.693147180559885171 + f * (0.240226506957228172 + f * y)
        return _scaled(1.0 + f * y, shifted)

    def single(x):
        shifted = x + _MAGIC_1
        f = x - (shifted - _MAGIC_1)
        return _scaled(_ONE_1 + f * (_E1[0] + f * (_E1[1] + f * (_E1[2] + f * (_E1[3] + f * _E1[4])))), shifted)

    return single if x == types.float32 else double


@overload(log2, inline="always")
def _log2(x):
    def double(x):
        m = _fraction(x)
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        y = 0.412209254371385525 + q * (0.319905610348570194 + q * 0.282901465417160547)
        y = 2.88539008177784997 + q * (0.961796694113403218 + q * (0.577077942346223705 + q * y))
        return (_exponent(x, _MAGIC) - _MAGIC) + s * y

    def single(x):
        f = _fraction(x) - _ONE_1
        y = _L1[4] + f * (_L1[5] + f * (_L1[6] + f * _L1[7]))
        y = _L1[0] + f * (_L1[1] + f * (_L1[2] + f * (_L1[3] + f * y)))
        return (_exponent(x, _MAGIC_1) - _MAGIC_1) + f * y

    return single if x == types.float32 else double


@overload(tanh, inline="always")
def _tanh(x):
    def double(x):
        e = power(min(abs(x), 20.0) * (-2 / LN2))
        y = (1.0 - e) / (1.0 + e)
        return y if x >= 0 else -y

    def single(x):
        e = power(min(abs(x), _FAR_1) * _T1)
        y = (_ONE_1 - e) / (_ONE_1 + e)
        return math.copysign(y, x)

    return single if x == types.float32 else double
