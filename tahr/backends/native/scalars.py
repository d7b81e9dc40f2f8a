"""Expressions of the scalar language as LLVM instructions, for one element or a vector of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tahr.backends.native import ir, seldom
from tahr.backends.native.target import current
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar, constant, leaf, select


def kind(dtype: DType, width: int | None = None) -> str:
    """The LLVM type in which values of a dtype are computed with: halves are floats, and a bool is one bit.

    Args:
        dtype: a dtype of the scalar language.
        width: the number of elements of a vector; None for a scalar.
    """
    element = ir.I1 if dtype is dtypes.bool_ else ir.F32 if dtype in scalar.HALVES else ir.MEMORY[dtype]
    return element if width is None else ir.vector(width, element)


def memory_kind(dtype: DType, width: int | None = None) -> str:
    """The LLVM type that values of a dtype have in memory."""
    return ir.MEMORY[dtype] if width is None else ir.vector(width, ir.MEMORY[dtype])


def from_memory(f: ir.Function, dtype: DType, value: str, width: int | None = None) -> str:
    """A value that was loaded, as one to compute with."""
    stored, computed = memory_kind(dtype, width), kind(dtype, width)
    if dtype is dtypes.bool_:
        return f.value(f"icmp ne {stored} {value}, {_literal(0, ir.I8, width)}")
    if dtype in scalar.HALVES and not _has(dtype):
        widen = _float_of_float16 if dtype is dtypes.float16 else _float_of_bfloat16
        bits = f.value(f"bitcast {stored} {value} to {kind(dtypes.uint16, width)}")
        return lower(f, [widen(leaf(0, dtypes.uint16))], [bits], width)[0]
    if dtype in scalar.HALVES:
        return f.value(f"fpext {stored} {value} to {computed}")
    return value


def to_memory(f: ir.Function, dtype: DType, value: str, width: int | None = None) -> str:
    """A value that was computed, as one to store: halves are rounded here."""
    stored, computed = memory_kind(dtype, width), kind(dtype, width)
    if dtype is dtypes.bool_:
        return f.value(f"zext {computed} {value} to {stored}")
    if dtype in scalar.HALVES and not _has(dtype):
        round_ = _float16_of_float if dtype is dtypes.float16 else _bfloat16_of_float
        (bits,) = lower(f, [round_(leaf(0, dtypes.float32))], [value], width)
        return f.value(f"bitcast {kind(dtypes.uint16, width)} {bits} to {stored}")
    if dtype in scalar.HALVES:
        return f.value(f"fptrunc {computed} {value} to {stored}")
    return value


# ---------------------------------------------------------------- halves on processors without them

# There LLVM would call functions of its runtime library, which this process lacks.


def _has(half: DType) -> bool:
    """Whether the processor converts halves of a dtype."""
    feature = "f16c" if half is dtypes.float16 else "avx512bf16"
    return current().architecture == "aarch64" or current().has(feature)


def _float_of_float16(half: Scalar) -> Scalar:
    """The float32 with the value of a float16, given as its bits."""
    bits = scalar.convert(half, dtypes.int32)
    fraction = 23 - 10
    size = (bits & 0x7FFF) << fraction
    exponent = size & (0x7C00 << fraction)
    normal = size + ((127 - 15) << 23)
    infinite = normal + ((127 - 15) << 23)
    # With an exponent that is one too large a denormal is too large by the smallest normal number.
    denormal = scalar.bitcast(normal + (1 << 23), dtypes.float32) - 2.0**-14
    found = select(scalar.eq(exponent, 0x7C00 << fraction), infinite, normal)
    found = select(scalar.eq(exponent, 0), scalar.bitcast(denormal, dtypes.int32), found)
    return scalar.bitcast(found | ((bits & 0x8000) << 16), dtypes.float32)


def _float16_of_float(x: Scalar) -> Scalar:
    """The bits of the float16 nearest to a float32, the even one of two equally near."""
    bits = scalar.bitcast(x, dtypes.int32)
    size = bits & 0x7FFFFFFF
    fraction = 23 - 10
    is_odd = (size >> fraction) & 1
    normal = (size - ((127 - 15) << 23) + ((1 << (fraction - 1)) - 1) + is_odd) >> fraction
    # Added to 1/2, a number below the normal ones is rounded to a multiple of the smallest of all.
    denormal = scalar.bitcast(scalar.bitcast(size, dtypes.float32) + 0.5, dtypes.int32) - (126 << 23)
    found = select(size < ((127 - 14) << 23), denormal, normal)
    found = select(
        size >= ((127 + 16) << 23), select(size > (255 << 23), constant(0x7E00, dtypes.int32), 0x7C00), found
    )
    return scalar.convert(found | ((bits >> 16) & 0x8000), dtypes.uint16)


def _float_of_bfloat16(half: Scalar) -> Scalar:
    """The float32 with the value of a bfloat16, given as its bits."""
    return scalar.bitcast(scalar.convert(half, dtypes.uint32) << 16, dtypes.float32)


def _bfloat16_of_float(x: Scalar) -> Scalar:
    """The bits of the bfloat16 nearest to a float32, the even one of two equally near."""
    bits = scalar.bitcast(x, dtypes.uint32)
    upper = bits >> 16
    rounded = (bits + 0x7FFF + (upper & 1)) >> 16
    return scalar.convert(select(scalar.ne(x, x), upper | 0x40, rounded), dtypes.uint16)


# ---------------------------------------------------------------- expressions


def lower(
    f: ir.Function,
    outputs: Sequence[Scalar],
    leaves: Mapping[int, str] | Sequence[str] = (),
    width: int | None = None,
    known: Mapping[Scalar, str] | None = None,
) -> list[str]:
    """Emits the instructions of expressions; what they have in common is computed once.

    Args:
        f: the function; instructions go to its open block.
        outputs: the expressions.
        leaves: the SSA names of the leaves' values, which have the type `kind(dtype, width)`.
        width: the number of elements of each value, if they are vectors.
        known: the SSA names of expressions that have been computed already.

    Returns:
        The SSA names (or literals) of the outputs, of the type `kind(dtype, width)`.
    """
    values: dict[Scalar, str] = dict(known or {})
    names = leaves if isinstance(leaves, Mapping) else dict(enumerate(leaves))
    for node in scalar.ordered(outputs, values):
        if node.op == "leaf":
            values[node] = names[node.value]
        elif node.op == "constant":
            values[node] = _literal(node.value, kind(node.dtype), width)
        else:
            values[node] = _EMIT[node.op](f, node, width, *(values[a] for a in node.args))
    return [values[o] for o in outputs]


def _literal(value: float | int | bool, element: str, width: int | None) -> str:
    if element.startswith("i") and element != ir.I1:
        bits = int(element[1:])
        value = int(value) - (1 << bits) if value >= 1 << (bits - 1) else value
    text = ir.number(value, element)
    return text if width is None else ir.splat(element, text)


_Emitter = Callable[..., str]


def _binary(of_floats: str, of_signed: str, of_unsigned: str | None = None) -> _Emitter:
    """The emitter of an instruction of two operands."""

    def emit(f: ir.Function, node: Scalar, width: int | None, x: str, y: str) -> str:
        dtype = node.args[0].dtype
        signed = not (dtype.is_unsigned or dtype.is_bool)
        name = of_floats if dtype.is_floating else of_signed if signed else of_unsigned or of_signed
        return f.value(f"{name} {kind(dtype, width)} {x}, {y}")

    return emit


def _call(name: str) -> _Emitter:
    """The emitter of an intrinsic on floats."""

    def emit(f: ir.Function, node: Scalar, width: int | None, *args: str) -> str:
        return ir.intrinsic(f, name, kind(node.dtype, width), *args)

    return emit


def _neg(f: ir.Function, node: Scalar, width: int | None, x: str) -> str:
    type_ = kind(node.dtype, width)
    if node.dtype.is_floating:
        return f.value(f"fneg {type_} {x}")
    return f.value(f"sub {type_} {_literal(0, kind(node.dtype), width)}, {x}")


def _abs(f: ir.Function, node: Scalar, width: int | None, x: str) -> str:
    type_ = kind(node.dtype, width)
    if node.dtype.is_floating:
        return ir.intrinsic(f, "fabs", type_, x)
    return f.value(f"call {type_} @llvm.abs.{ir.suffix(type_)}({type_} {x}, i1 false)")


def _select(f: ir.Function, type_: str, condition: str, x: str, y: str, width: int | None) -> str:
    return f.value(f"select {_bools(width)} {condition}, {type_} {x}, {type_} {y}")


def _bools(width: int | None) -> str:
    return kind(dtypes.bool_, width)


def _extremum(of_floats: str, of_signed: str, of_unsigned: str) -> _Emitter:
    """The emitter of minimum or maximum.

    For floats it's `y > x ? y : x`, one x86 instruction, which gives x where either is NaN; then y's NaN.
    llvm.maximum would take twice as many to order zeros.
    """

    def emit(f: ir.Function, node: Scalar, width: int | None, x: str, y: str) -> str:
        type_, (first, second) = kind(node.dtype, width), node.args
        if not node.dtype.is_floating:
            return ir.intrinsic(f, of_unsigned if node.dtype.is_unsigned else of_signed, type_, x, y)
        if scalar.is_constant(first):
            first, second, x, y = second, first, y, x
        better = f.value(f"fcmp {of_floats} {type_} {y}, {x}")
        result = _select(f, type_, better, y, x, width)
        if scalar.is_constant(second) and second.value == second.value:
            return result
        missing = f.value(f"fcmp uno {type_} {y}, {y}")
        return _select(f, type_, missing, y, result, width)

    return emit


def _not(f: ir.Function, node: Scalar, width: int | None, x: str) -> str:
    ones = _literal(True if node.dtype.is_bool else -1, kind(node.dtype), width)
    return f.value(f"xor {kind(node.dtype, width)} {x}, {ones}")


def _select_node(f: ir.Function, node: Scalar, width: int | None, condition: str, x: str, y: str) -> str:
    return _select(f, kind(node.dtype, width), condition, x, y, width)


def _seldom(name: str) -> _Emitter:
    """The emitter of a function for rare arguments."""

    def emit(
        f: ir.Function, node: Scalar, width: int | None, condition: str, usual: str, *operands: str
    ) -> str:
        return seldom.emit(f, name, width, condition, usual, operands)

    return emit


def _is_by_constant(node: Scalar) -> bool:
    """Whether the divisor is known, and harmless."""
    divisor = node.args[1]
    return scalar.is_constant(divisor) and divisor.value not in (0, -1)


def _quotient(f: ir.Function, node: Scalar, width: int | None, x: str, y: str) -> str:
    """x / y towards 0, which x86 interrupts for a divisor of 0 and for the smallest integer by -1."""
    dtype, type_ = node.dtype, kind(node.dtype, width)
    instruction = f"{'u' if dtype.is_unsigned else 's'}div {type_} {x}, "
    if _is_by_constant(node):
        return f.value(instruction + y)
    zero, one, minus_one, smallest = (
        _literal(v, kind(dtype), width) for v in (0, 1, -1, 0 if dtype.is_unsigned else dtype.min)
    )
    is_zero = f.value(f"icmp eq {type_} {y}, {zero}")
    bad = is_zero
    if not dtype.is_unsigned:
        by_minus_one = f.value(f"icmp eq {type_} {y}, {minus_one}")
        of_smallest = f.value(f"icmp eq {type_} {x}, {smallest}")
        overflows = f.value(f"and {_bools(width)} {by_minus_one}, {of_smallest}")
        bad = f.value(f"or {_bools(width)} {bad}, {overflows}")
    divisor = _select(f, type_, bad, one, y, width)
    if dtype.size <= 4:
        result = _quotient_of_floats(f, dtype, x, divisor, width)
    elif width is not None:
        result = _quotient_in_steps(f, dtype, x, divisor, width)
    else:
        result = f.value(instruction + divisor)
    return _select(f, type_, is_zero, zero, result, width)


def _quotient_of_floats(
    f: ir.Function, dtype: DType, x: str, y: str, width: int | None, factor: float = 1.0
) -> str:
    """x / y times a factor, towards 0, of floats that hold 24 bits for integers of at most 16, or else 53.

    For 32 bits that is exact: no quotient that is no integer is so near to one that it would be rounded to it.
    """
    float_ = dtypes.float32 if dtype.size <= 2 else dtypes.float64
    floats, integers, letter = kind(float_, width), kind(dtype, width), "u" if dtype.is_unsigned else "s"
    a, b = (f.value(f"{letter}itofp {integers} {v} to {floats}") for v in (x, y))
    found = f.value(f"fdiv {floats} {a}, {b}")
    if factor != 1:
        found = f.value(f"fmul {floats} {found}, {_literal(factor, kind(float_), width)}")
    return f.value(f"fpto{letter}i {floats} {found} to {integers}")


def _quotient_in_steps(f: ir.Function, dtype: DType, x: str, y: str, width: int) -> str:
    """x / y of 64 bits in vectors, for which processors have no instruction.

    A quotient of doubles has four roundings, by 2^-53 each. Made smaller by more than that, it never is too large, and
    what it leaves is less than 2^15 y. Divided again, that leaves less than 2 y.
    """
    type_, below = kind(dtype, width), 1 - 2.0**-50

    def less(number: str, times: str) -> str:
        return f.value(f"sub {type_} {number}, {f.value(f'mul {type_} {times}, {y}')}")

    first = _quotient_of_floats(f, dtype, x, y, width, below)
    rest = less(x, first)
    second = _quotient_of_floats(f, dtype, rest, y, width, below)
    rest = less(rest, second)
    result = f.value(f"add {type_} {first}, {second}")
    step, size, least = ir.splat(ir.I64, "1"), rest, y
    if not dtype.is_unsigned:
        sign = f.value(f"ashr {type_} {f.value(f'xor {type_} {x}, {y}')}, {ir.splat(ir.I64, '63')}")
        step = f.value(f"or {type_} {sign}, {step}")
        size, least = (
            f.value(f"call {type_} @llvm.abs.{ir.suffix(type_)}({type_} {v}, i1 false)") for v in (rest, y)
        )
    is_short = f.value(f"icmp uge {type_} {size}, {least}")
    return _select(f, type_, is_short, f.value(f"add {type_} {result}, {step}"), result, width)


def _remainder(f: ir.Function, node: Scalar, width: int | None, x: str, y: str) -> str:
    """What the quotient leaves of x; 0 where y is 0."""
    type_ = kind(node.dtype, width)
    if _is_by_constant(node):
        return f.value(f"{'u' if node.dtype.is_unsigned else 's'}rem {type_} {x}, {y}")
    whole = f.value(f"mul {type_} {_quotient(f, node, width, x, y)}, {y}")
    rest = f.value(f"sub {type_} {x}, {whole}")
    zero = _literal(0, kind(node.dtype), width)
    return _select(f, type_, f.value(f"icmp eq {type_} {y}, {zero}"), zero, rest, width)


# ---------------------------------------------------------------- casts


def _bitcast(f: ir.Function, node: Scalar, width: int | None, x: str) -> str:
    source, target = kind(node.args[0].dtype, width), kind(node.dtype, width)
    return x if source == target else f.value(f"bitcast {source} {x} to {target}")


def _relabel(f: ir.Function, node: Scalar, width: int | None, x: str) -> str:
    return x


def _convert(f: ir.Function, node: Scalar, width: int | None, x: str) -> str:
    source, target = node.args[0].dtype, node.dtype
    if target.is_bool:
        compare = "fcmp une" if source.is_floating else "icmp ne"
        zero = _literal(0, kind(source), width)
        return f.value(f"{compare} {kind(source, width)} {x}, {zero}")
    if source.is_floating and target.is_floating:
        return _between_floats(f, x, source, target, width)
    if source.is_floating:
        return _to_integer(f, x, source, target, width)
    unsigned = source.is_unsigned or source.is_bool
    return (
        _cast_integer(f, x, kind(source), kind(target), unsigned, width)
        if target.is_integer
        else (
            _round_to_half(
                f,
                f.value(
                    f"{'ui' if unsigned else 'si'}tofp {kind(source, width)} {x} to {kind(target, width)}"
                ),
                target,
                width,
            )
        )
    )


def _cast_integer(f: ir.Function, x: str, source: str, target: str, unsigned: bool, width: int | None) -> str:
    have, want = int(source[1:]), int(target[1:])
    if have == want:
        return x
    name = "trunc" if have > want else "zext" if unsigned else "sext"
    from_, to = (t if width is None else ir.vector(width, t) for t in (source, target))
    return f.value(f"{name} {from_} {x} to {to}")


def _round_to_half(f: ir.Function, x: str, dtype: DType, width: int | None) -> str:
    """A float as the nearest half, in a float again; other dtypes stay."""
    if dtype not in scalar.HALVES:
        return x
    return from_memory(f, dtype, to_memory(f, dtype, x, width), width)


def _between_floats(f: ir.Function, x: str, source: DType, target: DType, width: int | None) -> str:
    if source is not dtypes.float64:
        if target is dtypes.float64:
            return f.value(f"fpext {kind(source, width)} {x} to {kind(target, width)}")
        return _round_to_half(f, x, target, width)
    if target is dtypes.float32:
        return f.value(f"fptrunc {kind(source, width)} {x} to {kind(target, width)}")
    return _round_to_half(f, _to_odd_float(f, x, width), target, width)


def _to_odd_float(f: ir.Function, x: str, width: int | None) -> str:
    """A double as the float towards zero, made odd if that is inexact: rounding it again is as good as rounding once.

    Source: S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
    odd", IEEE Trans. Computers 57 (2008).
    """
    double, single = kind(dtypes.float64, width), kind(dtypes.float32, width)
    integer = kind(dtypes.int32, width)
    nearest = f.value(f"fptrunc {double} {x} to {single}")
    back = f.value(f"fpext {single} {nearest} to {double}")
    size, size_back = (ir.intrinsic(f, "fabs", double, v) for v in (x, back))
    above = f.value(f"fcmp ogt {double} {size_back}, {size}")
    inexact = f.value(f"fcmp one {double} {size_back}, {size}")
    bits = f.value(f"bitcast {single} {nearest} to {integer}")
    less = f.value(f"zext {_bools(width)} {above} to {integer}")
    odd = f.value(f"zext {_bools(width)} {inexact} to {integer}")
    truncated = f.value(f"sub {integer} {bits}, {less}")
    return f.value(f"bitcast {integer} {f.value(f'or {integer} {truncated}, {odd}')} to {single}")


def _to_integer(f: ir.Function, x: str, source: DType, target: DType, width: int | None) -> str:
    """fptosi, whose result is only used where it is defined."""
    narrow = target.size < 4 or target is dtypes.int32
    wide = dtypes.int32 if narrow else dtypes.int64
    limit = 2.0 ** (8 * wide.size - 1)
    floats, integers = kind(source, width), kind(wide, width)
    low, high = (_literal(v, kind(source), width) for v in (-limit, limit))
    result = f.value(f"fptosi {floats} {x} to {integers}")
    above = f.value(f"fcmp oge {floats} {x}, {low}")
    below = f.value(f"fcmp olt {floats} {x}, {high}")
    fits = f.value(f"and {_bools(width)} {above}, {below}")
    smallest = _literal(wide.min, kind(wide), width)
    result = _select(f, integers, fits, result, smallest, width)
    if target is dtypes.uint64:
        whole = f.value(f"fptoui {floats} {x} to {integers}")
        within = f.value(f"fcmp olt {floats} {x}, {_literal(2 * limit, kind(source), width)}")
        not_small = f.value(f"fcmp oge {floats} {x}, {high}")
        large = f.value(f"and {_bools(width)} {within}, {not_small}")
        result = _select(f, integers, large, whole, result, width)
    return _cast_integer(f, result, kind(wide), kind(target), False, width)


_EMIT: dict[str, _Emitter] = {
    "add": _binary("fadd", "add"),
    "sub": _binary("fsub", "sub"),
    "mul": _binary("fmul", "mul"),
    "div": _binary("fdiv", ""),
    "quotient": _quotient,
    "remainder": _remainder,
    "neg": _neg,
    "abs": _abs,
    "fma": _call("fma"),
    "muladd": _call("fmuladd"),
    "minimum": _extremum("olt", "smin", "umin"),
    "maximum": _extremum("ogt", "smax", "umax"),
    "sqrt": _call("sqrt"),
    "floor": _call("floor"),
    "ceil": _call("ceil"),
    "trunc": _call("trunc"),
    "rint": _call("rint"),
    "copysign": _call("copysign"),
    "lt": _binary("fcmp olt", "icmp slt", "icmp ult"),
    "le": _binary("fcmp ole", "icmp sle", "icmp ule"),
    "eq": _binary("fcmp oeq", "icmp eq"),
    "ne": _binary("fcmp une", "icmp ne"),
    "and": _binary("", "and"),
    "or": _binary("", "or"),
    "xor": _binary("", "xor"),
    "not": _not,
    "shift_left": _binary("", "shl"),
    "shift_right": _binary("", "ashr", "lshr"),
    "select": _select_node,
    "sin": _seldom("sin"),
    "cos": _seldom("cos"),
    "tan": _seldom("tan"),
    "fmod": _seldom("fmod"),
    "bitcast": _bitcast,
    "convert": _convert,
    "relabel": _relabel,
}
