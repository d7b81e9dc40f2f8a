"""Sine, cosine and tangent of huge angles: exact remainders by pi / 2, with as many digits of 2 / pi as it takes.

An angle is m 2^e with m < 2^53. Of the angle in quarters of a turn, m 2^e (2 / pi), only what it is modulo 4 counts, to
which the binary places of 2 / pi before the one number e - 1 add multiples of 4. The 192 places from there on times m,
modulo 2^192, are 2 bits of the quadrant and 190 of the fraction, of which the last 53 are wrong; no double is nearer to
a multiple of pi / 2 than about 2^-62, so that 75 right ones are left. M. Payne and R. Hanek, "Radian Reduction for
Trigonometric Functions", SIGNUM Newsletter 18 (1983).
"""

from __future__ import annotations

import functools

from tahr.backends.native import ir

# e of the smallest angle, 2^45, and of the largest doubles
_SMALLEST, _LARGEST = -7, 971
_WINDOW = 192
# A window begins within a byte, so that some more bits are loaded.
_LOADED = 256
# The window of the largest angle ends with the last place; so many are whole bytes.
_PLACES = 8 * ((_LARGEST - 2 + _WINDOW + 7) // 8)
# Zeros stand before the first, for what is loaded of the smallest angle.
_BYTES = (_PLACES + 2 - _WINDOW - _SMALLEST + _LOADED + 7) // 8
# pi is computed to so many places.
_ACCURATE = _PLACES + 64

_WIDE = f"i{_WINDOW}"
_PAIR = "{double, i64}"
_PURE = "noinline nounwind willreturn memory(none)"


@functools.cache
def _pi(places: int) -> int:
    """pi 2^places but for an error in the last 12 bits or so: J. Machin, pi = 16 atan(1/5) - 4 atan(1/239)."""
    one = 1 << places

    def atan_of_inverse(n: int) -> int:
        power, k, total = one // n, 1, 0
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power, k = power // (n * n), k + 2
        return total

    return 16 * atan_of_inverse(5) - 4 * atan_of_inverse(239)


@functools.cache
def _table() -> str:
    """The constant that holds floor(2 / pi 2^_PLACES), the lowest byte first."""
    digits = (2 << (_PLACES + _ACCURATE)) // _pi(_ACCURATE)
    text = "".join(f"\\{byte:02X}" for byte in digits.to_bytes(_BYTES, "little"))
    return f'[{_BYTES} x i8] c"{text}"'


def _quarters(f: ir.Function, table: str) -> str:
    """%x >= 2^45 in quarters of a turn, modulo 4, in units of 2^(2 - _WINDOW); of others any number."""
    bits = f.value("bitcast double %x to i64")
    m = f.value(f"or i64 {f.value(f'and i64 {bits}, {2**52 - 1}')}, {2**52}")
    e = f.sub(f.value(f"lshr i64 {bits}, 52"), 1075)
    e = f.minimum(f.maximum(e, _SMALLEST), _LARGEST)
    behind = f.sub(_PLACES + 2 - _WINDOW, e)  # how many places follow the window
    first = f.at(ir.I8, f"@{table}", f.value(f"lshr i64 {behind}, 3"))
    loaded = f.load(f"i{_LOADED}", first, align=1)
    rest = f.value(f"zext i64 {f.value(f'and i64 {behind}, 7')} to i{_LOADED}")
    window = f.value(f"trunc i{_LOADED} {f.value(f'lshr i{_LOADED} {loaded}, {rest}')} to {_WIDE}")
    return f.value(f"mul {_WIDE} {window}, {f.value(f'zext i64 {m} to {_WIDE}')}")


def _first_bits(f: ir.Function, wide: str) -> str:
    """The first 64 bits of a wide integer."""
    return f.value(f"trunc {_WIDE} {f.value(f'lshr {_WIDE} {wide}, {_WINDOW - 64}')} to i64")


def _angle(f: ir.Function, fraction: str) -> str:
    """A fraction of a quarter of a turn, in units of 2^-_WINDOW, in radians."""
    zeros = f.value(f"call {_WIDE} @llvm.ctlz.{_WIDE}({_WIDE} {fraction}, i1 false)")
    normal = _first_bits(f, f.value(f"shl {_WIDE} {fraction}, {zeros}"))
    half_pi = _pi(_ACCURATE) >> (_ACCURATE - 62)  # in units of 2^-63
    product = f.value(f"mul i128 {f.value(f'zext i64 {normal} to i128')}, {half_pi}")
    mantissa = f.value(f"trunc i128 {f.value(f'lshr i128 {product}, 64')} to i64")
    exponent = f.sub(1023 - 63, f.value(f"trunc {_WIDE} {zeros} to i64"))
    unit = f.value(f"bitcast i64 {f.value(f'shl i64 {exponent}, 52')} to double")
    return f.value(f"fmul double {f.value(f'uitofp i64 {mantissa} to double')}, {unit}")


def _reduction(name: str) -> str:
    """The text of a function of x >= 2^45 that gives r and q, |r| <= pi / 4, with x = (4 n + q) pi / 2 + r."""
    f = ir.Function(name, [(ir.F64, "x")], _PAIR, _PURE, "internal")
    quarters = _quarters(f, f"{name}.table")
    fraction = f.value(f"shl {_WIDE} {quarters}, 2")  # what is beyond the nearest whole quarter, or before it
    is_before = f.value(f"icmp slt {_WIDE} {fraction}, 0")
    whole = f.value(f"lshr i64 {_first_bits(f, quarters)}, 62")
    q = f.add(whole, f.value(f"zext i1 {is_before} to i64"))
    size = _angle(f, f.value(f"call {_WIDE} @llvm.abs.{_WIDE}({_WIDE} {fraction}, i1 false)"))
    r = f.value(f"select i1 {is_before}, double {f.value(f'fneg double {size}')}, double {size}")
    pair = f.value(f"insertvalue {_PAIR} poison, double {r}, 0")
    text = f.finish(f"{_PAIR} {f.value(f'insertvalue {_PAIR} {pair}, i64 {q}, 1')}")
    return f"@{name}.table = internal unnamed_addr constant {_table()}\n\n{text}"


def _of_quadrant(f: ir.Function, name: str, r: str, q: str) -> str:
    """A function of q pi / 2 + r."""
    sine, cosine = (ir.intrinsic(f, each, ir.F64, r) for each in ("sin", "cos"))
    if name == "cos":  # cos(x) = sin(x + pi / 2)
        q = f.add(q, 1)
    is_odd = f.value(f"trunc i64 {q} to i1")
    negated = f.value(f"fneg double {sine}")
    ahead = f.value(f"select i1 {is_odd}, double {cosine}, double {sine}")
    if name == "tan":
        across = f.value(f"select i1 {is_odd}, double {negated}, double {cosine}")
        return f.value(f"fdiv double {ahead}, {across}")
    is_lower = f.value(f"trunc i64 {f.value(f'lshr i64 {q}, 1')} to i1")
    return f.value(f"select i1 {is_lower}, double {f.value(f'fneg double {ahead}')}, double {ahead}")


def function(f: ir.Function, name: str) -> str:
    """The name of a function of one double.

    Args:
        f: what will call it, in whose module it is.
        name: "sin", "cos" or "tan".

    Returns:
        The symbol of a function of x that is right for 2^45 <= |x| < infinity, and harmless for others.
    """
    symbol, reduction = f"{f.name}.huge.{name}", f"{f.name}.huge"
    if symbol not in f.companions:
        f.companions[reduction] = _reduction(reduction)
        own = ir.Function(symbol, [(ir.F64, "x")], ir.F64, _PURE, "internal")
        reduced = own.value(f"call {_PAIR} @{reduction}(double {ir.intrinsic(own, 'fabs', ir.F64, '%x')})")
        r, q = (own.value(f"extractvalue {_PAIR} {reduced}, {i}") for i in range(2))
        value = _of_quadrant(own, name, r, q)
        if name != "cos":  # which alone is even
            is_negative = own.value("fcmp olt double %x, 0.0")
            value = own.value(
                f"select i1 {is_negative}, double {own.value(f'fneg double {value}')}, double {value}"
            )
        f.companions[symbol] = own.finish(f"double {value}")
    return symbol
