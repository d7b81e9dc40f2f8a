"""The C library's float32 logarithm, sine and cosine.

TensorFlow calls glibc's logf and sincosf (2.28 and later). NumPy's differ from them, and between processors, in the
last bit. These are glibc's algorithms, computed in float64 and rounded once, so that a float32 normal number has
TensorFlow's bits everywhere.

Source of the formulas and constants: Arm Optimized Routines, math/logf.c, logf_data.c, sincosf.h, sincosf_data.c.
"""

from __future__ import annotations

import math

import numpy as np

from tahr.ops.philox import Doubles, Floats


def _hex(numbers: str) -> Doubles:
    """Returns numbers written as hexadecimal floats, which give every bit."""
    return np.array([float.fromhex(number) for number in numbers.split()])


# For each of the 16 intervals that [0.7, 1.4) is cut into: 1 / c and log(c) of a point c near its middle.
LOG_INVERSE_CENTER = _hex(
    """
    0x1.661ec79f8f3bep+0 0x1.571ed4aaf883dp+0 0x1.49539f0f010bp+0  0x1.3c995b0b80385p+0
    0x1.30d190c8864a5p+0 0x1.25e227b0b8eap+0  0x1.1bb4a4a1a343fp+0 0x1.12358f08ae5bap+0
    0x1.0953f419900a7p+0 0x1p+0               0x1.e608cfd9a47acp-1 0x1.ca4b31f026aap-1
    0x1.b2036576afce6p-1 0x1.9c2d163a1aa2dp-1 0x1.886e6037841edp-1 0x1.767dcf5534862p-1
    """
)
LOG_CENTER = _hex(
    """
    -0x1.57bf7808caadep-2 -0x1.2bef0a7c06ddbp-2 -0x1.01eae7f513a67p-2 -0x1.b31d8a68224e9p-3
    -0x1.6574f0ac07758p-3 -0x1.1aa2bc79c81p-3   -0x1.a4e76ce8c0e5ep-4 -0x1.1973c5a611cccp-4
    -0x1.252f438e10c1ep-5  0x0p+0                0x1.aa5aa5df25984p-5  0x1.c5e53aa362eb4p-4
     0x1.526e57720db08p-3  0x1.bc2860d22477p-3   0x1.1058bc8a07ee1p-2  0x1.4043057b6ee09p-2
    """
)
# log(1 + r) is nearly r + LOG[0] r^2 + LOG[1] r^3 + LOG[2] r^4.
LOG = _hex("-0x1.ffffef20a4123p-2 0x1.5575b0be00b6ap-2 -0x1.00ea348b88334p-2")
INTERVALS_START = np.int32(0x3F330000)  # the bits of the float32 0.699...
EXPONENT_BITS = np.int32(-(1 << 23))

# For |x| <= pi / 4, sin(x) is nearly x + SIN[0] x^3 + SIN[1] x^5 + ..., and cos(x) is 1 + COS[0] x^2 + ...
SIN = _hex("-0x1.555545995a603p-3 0x1.1107605230bc4p-7 -0x1.994eb3774cf24p-13")
COS = _hex("-0x1.ffffffd0c621cp-2 0x1.55553e1068f19p-5 -0x1.6c087e89a359dp-10 0x1.99343027bf8c3p-16")


def logf(x: Floats) -> Floats:
    """Returns log(x) for positive, normal float32 x, with the bits of the C library's logf.

    x = 2**k * z with z in one of 16 intervals; log(x) = k log(2) + log(c) + log(1 + r), where c is the
    interval's centre and r = z / c - 1 is small.
    """
    bits = x.view(np.int32)
    distance = bits - INTERVALS_START
    interval = (distance >> 19) & 15
    k = distance >> 23
    z = (bits - (distance & EXPONENT_BITS)).view(np.float32).astype(np.float64)
    r = z * LOG_INVERSE_CENTER[interval] - 1
    r2 = r * r
    whole = LOG_CENTER[interval] + k * math.log(2)
    return ((LOG[2] * r2 + (LOG[1] * r + LOG[0])) * r2 + (whole + r)).astype(np.float32)


def sincosf(angle: Floats) -> tuple[Floats, Floats]:
    """Returns sine and cosine of float32 angles in [0, 2 pi], with the bits of the C library's sincosf."""
    x = angle.astype(np.float64)
    quadrant = np.floor(x * (2 / math.pi) + 0.5)
    x -= quadrant * (math.pi / 2)
    x2 = x * x
    x3 = x * x2
    x4 = x2 * x2
    sine = (x + x3 * SIN[0]) + (x3 * x2) * (SIN[1] + x2 * SIN[2])
    cosine = ((1 + x2 * COS[0]) + x4 * COS[1]) + (x4 * x2) * (COS[2] + x2 * COS[3])
    turns = quadrant.astype(np.int8)
    odd = (turns & 1).astype(np.bool_)
    # A quarter turn takes (sin, cos) to (cos, -sin).
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    np.negative(sine, out=sine, where=(turns & 2).astype(np.bool_))
    np.negative(cosine, out=cosine, where=((turns + 1) & 2).astype(np.bool_))
    return sine.astype(np.float32), cosine.astype(np.float32)


# ---------------------------------------------------------------- rejection sampling
