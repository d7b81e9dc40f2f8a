"""Random numbers with TensorFlow's bits: Philox 4x32-10 and what is made of its words, as vectors of blocks.

A block of four words depends on its number alone, so tiles are independent of each other. What `tahr.ops.philox`
computes with NumPy, this computes with the same roundings: see there for the algorithms, the sources, and which block
feeds which number. The position of a stream reaches a kernel as a buffer of three 64-bit words: key, lower and upper
half of the counter. The run reserves the blocks before it starts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tahr.backends.native import flow, ir, kernel, scalars, single
from tahr.backends.native.calls import (
    Bind,
    Call,
    Jump,
    Known,
    Mark,
    Partial,
    Place,
    Ref,
    Reserved,
    Running,
    Seat,
)
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.nests import Bound
from tahr.backends.native.single import Single
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.forms import Draw
from tahr.core.opdef import known_int
from tahr.ops import libm, philox, sampling
from tahr.program.node import Node, Value

# How many blocks are computed at a time, and how often that is done in a tile.
LANES = 16
VECTORS = 128

_WORDS, _WIDE = ir.vector(LANES, ir.I32), ir.vector(LANES, ir.I64)
_FLOATS, _DOUBLES, _FLAGS = ir.vector(LANES, ir.F32), ir.vector(LANES, ir.F64), ir.vector(LANES, ir.I1)


@dataclass(frozen=True)
class Distribution:
    """What is compiled into a kernel.

    Attributes:
        name: as in `forms.Draw`; or "words" for random bits as they are.
        dtype: of the numbers.
    """

    name: str
    dtype: DType

    @property
    def computed(self) -> str:
        """The type in which numbers are computed: halves are floats until they are stored."""
        return scalars.kind(self.dtype)

    @property
    def group(self) -> int:
        """How many numbers a block makes."""
        return 2 if self.dtype.size == 8 else 4


def draw(distribution: Distribution) -> Kernel:
    """Draws numbers.

    Buffers: numbers, position. Sizes: vectors of blocks in a tile, how many numbers, and for integers the lowest one
    and the length of their range.
    """
    f = kernel.function()
    target, position = kernel.buffer(f, 0), kernel.buffer(f, 1)
    tile, total, lowest, length = kernel.sizes(f, 4)
    computed, memory, group = distribution.computed, ir.MEMORY[distribution.dtype], distribution.group
    is_truncated = distribution.name == "truncated_normal"
    is_direct = computed == memory and not is_truncated
    numbers = group * LANES
    blocks_between = group * philox.BLOCKS_PER_OUTPUT // philox.WORDS_PER_BLOCK if is_truncated else 1
    vectors = f.div(f.add(total, numbers - 1), numbers)

    def compute(into: str, first: str, step: int) -> None:
        f.do(
            f"call void @{kernel.SYMBOL}_blocks(ptr {into}, ptr {position}, i64 {first}, i64 {step}, "
            f"i64 {lowest}, i64 {length})"
        )

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), vectors), hint="vector") as i:
            first = f.mul(i, numbers)
            count = f.minimum(f.sub(total, first), numbers)
            block = f.mul(i, LANES * blocks_between)
            is_whole = f.value(f"icmp eq i64 {count}, {numbers}") if is_direct else "false"
            with f.either(is_whole) as branches:
                compute(f.at(memory, target, first), block, 1)
                branches.otherwise()
                compute("%scratch", block, blocks_between)
                if is_truncated:
                    _draw_again(f, block, blocks_between, compute)
                with f.loop(0, count, hint="number") as j:
                    value = f.load(computed, f.at(computed, "%scratch", j))
                    value = scalars.to_memory(f, distribution.dtype, value)
                    f.store(
                        memory, value, f.at(memory, target, f.add(first, j)), align=distribution.dtype.size
                    )
    text = "\n\n".join([*_tables(distribution), blocks(distribution), f.finish()]) + "\n"
    scratch = 2 * numbers * (8 if computed in (ir.F64, ir.I64) else 4)
    return Kernel(text, scratch, f"{distribution.name} {distribution.dtype.name}")


def _draw_again(f: ir.Function, block: str, blocks_between: int, compute: object) -> None:
    """Fills the groups of four in scratch that have a number out of range from their own blocks, in order."""
    assert callable(compute)
    spare = f.at(ir.F32, "%scratch", 4 * LANES)
    with f.loop(0, LANES, hint="group") as lane:
        group = f.at(ir.F32, "%scratch", f.mul(lane, 4))
        whole = ir.vector(4, ir.F32)
        inside = _is_in_range(f, whole, f.load(whole, group, align=16), 4)
        with f.when(
            f.value(f"xor i1 {f.value(f'call i1 @llvm.vector.reduce.and.v4i1(<4 x i1> {inside})')}, true")
        ):
            place, block_of_group = f.variable(ir.I64, "0", "place"), f.mul(lane, blocks_between)
            next_block = f.variable(ir.I64, f.add(block, block_of_group), "block")
            again, done = f.label("again"), f.label("done")
            f.jump(again)
            f.open(again)
            compute(spare, f.load(ir.I64, next_block), 1)
            with f.loop(0, 4 * LANES, hint="candidate") as j:
                value = f.load(ir.F32, f.at(ir.F32, spare, j))
                filled = f.load(ir.I64, place)
                is_free = f.value(f"icmp slt i64 {filled}, 4")
                with f.when(f.value(f"and i1 {is_free}, {_is_in_range(f, ir.F32, value, None)}")):
                    f.store(ir.F32, value, f.at(ir.F32, group, filled))
                    f.store(ir.I64, f.add(filled, 1), place)
            f.store(ir.I64, f.add(f.load(ir.I64, next_block), LANES), next_block)
            is_filled = f.value(f"icmp eq i64 {f.load(ir.I64, place)}, 4")
            f.do(f"br i1 {is_filled}, label %{done}, label %{again}")
            f.open(done)


def _is_in_range(f: ir.Function, kind: str, value: str, width: int | None) -> str:
    bound = ir.number(2.0, ir.F32)
    bound = bound if width is None else ir.splat(ir.F32, bound)
    suffix = "f32" if width is None else f"v{width}f32"
    return f.value(f"fcmp olt {kind} {f.value(f'call {kind} @llvm.fabs.{suffix}({kind} {value})')}, {bound}")


# ---------------------------------------------------------------- blocks


def blocks(distribution: Distribution) -> str:
    """The text of the function that computes the numbers of LANES blocks, each `step` blocks behind the last."""
    f = ir.Function(
        f"{kernel.SYMBOL}_blocks",
        [
            (ir.POINTER, "target"),
            (ir.POINTER, "position"),
            (ir.I64, "first"),
            (ir.I64, "step"),
            (ir.I64, "lowest"),
            (ir.I64, "length"),
        ],
        attributes='alwaysinline "prefer-vector-width"="512"',
        linkage="internal",
    )
    words = _philox(f)
    if distribution.name == "words":
        numbers = words
    elif distribution.name == "integers":
        numbers = _integers(f, distribution.dtype, words)
    elif distribution.name == "uniform":
        numbers = _uniform(f, distribution.dtype, words)
    else:
        numbers = _normal(f, words)
    _store_interleaved(f, distribution.computed, numbers)
    return f.finish()


def _splat(f: ir.Function, kind: str, value: str) -> str:
    """A vector of one value."""
    vector = ir.vector(LANES, kind)
    one = f.value(f"insertelement {vector} poison, {kind} {value}, i64 0")
    return f.value(f"shufflevector {vector} {one}, {vector} poison, <{LANES} x i32> zeroinitializer")


def _constant(kind: str, value: float) -> str:
    return ir.splat(kind, ir.number(value, kind))


def _philox(f: ir.Function) -> list[str]:
    """The four words of each block.

    As in `philox`, words are 64-bit integers with an empty upper half: processors have an instruction for products of
    these, and taking them apart is a shift.
    """
    key, low, high = (f.load(ir.I64, f.at(ir.I64, "%position", i)) for i in range(3))
    numbers = "<" + ", ".join(f"i64 {i}" for i in range(LANES)) + ">"
    steps = f.value(f"mul {_WIDE} {_splat(f, ir.I64, '%step')}, {numbers}")
    offsets = f.value(f"add {_WIDE} {steps}, {_splat(f, ir.I64, '%first')}")
    lows = f.value(f"add {_WIDE} {offsets}, {_splat(f, ir.I64, low)}")
    carry = f.value(f"zext {_FLAGS} {f.value(f'icmp ult {_WIDE} {lows}, {offsets}')} to {_WIDE}")
    highs = f.value(f"add {_WIDE} {carry}, {_splat(f, ir.I64, high)}")
    x = [_low(f, lows), _high(f, lows), _low(f, highs), _high(f, highs)]
    keys = [f.value(f"trunc i64 {key} to i32"), f.value(f"trunc i64 {f.value(f'lshr i64 {key}, 32')} to i32")]
    for _ in range(philox.ROUNDS):
        product0, product2 = (
            f.value(f"mul {_WIDE} {words}, {ir.splat(ir.I64, str(factor))}")
            for words, factor in ((x[0], philox.MULTIPLIER0), (x[2], philox.MULTIPLIER2))
        )
        x = [
            _xor(f, _high(f, product2), x[1], keys[0]),
            _low(f, product2),
            _xor(f, _high(f, product0), x[3], keys[1]),
            _low(f, product0),
        ]
        keys = [
            f.value(f"add i32 {keys[0]}, {philox.KEY_INCREMENT0}"),
            f.value(f"add i32 {keys[1]}, {philox.KEY_INCREMENT1}"),
        ]
    return [f.value(f"trunc {_WIDE} {words} to {_WORDS}") for words in x]


def _low(f: ir.Function, wide: str) -> str:
    return f.value(f"and {_WIDE} {wide}, {ir.splat(ir.I64, str(0xFFFFFFFF))}")


def _high(f: ir.Function, wide: str) -> str:
    return f.value(f"lshr {_WIDE} {wide}, {ir.splat(ir.I64, '32')}")


def _xor(f: ir.Function, a: str, b: str, key: str) -> str:
    key = _splat(f, ir.I64, f.value(f"zext i32 {key} to i64"))
    return f.value(f"xor {_WIDE} {f.value(f'xor {_WIDE} {a}, {b}')}, {key}")


def _store_interleaved(f: ir.Function, kind: str, numbers: Sequence[str]) -> None:
    """Stores vectors so that what comes from one block lies together."""
    count = len(numbers) * LANES
    order = ", ".join(f"i32 {LANES * j + i}" for i in range(LANES) for j in range(len(numbers)))
    whole, joined = ir.vector(count, kind), _joined(f, kind, numbers, LANES)
    mixed = f.value(f"shufflevector {whole} {joined}, {whole} poison, <{count} x i32> <{order}>", "mixed")
    f.store(whole, mixed, "%target", align=8 if kind in (ir.F64, ir.I64) else 4)


def _joined(f: ir.Function, kind: str, vectors: Sequence[str], lanes: int) -> str:
    """Two or four vectors one after the other."""
    if len(vectors) == 1:
        return vectors[0]
    vector, order = ir.vector(lanes, kind), ", ".join(f"i32 {i}" for i in range(2 * lanes))
    pairs = [
        f.value(f"shufflevector {vector} {a}, {vector} {b}, <{2 * lanes} x i32> <{order}>")
        for a, b in zip(vectors[0::2], vectors[1::2])
    ]
    return _joined(f, kind, pairs, 2 * lanes)


# ---------------------------------------------------------------- from words to numbers


def _uniform(f: ir.Function, dtype: DType, words: Sequence[str]) -> list[str]:
    """Numbers in [0, 1): random bits as the mantissa of a number in [1, 2), less 1."""
    if dtype is dtypes.float64:
        return [_uniform_double(f, *words[i : i + 2]) for i in (0, 2)]
    if dtype is dtypes.float32:
        return [_uniform_float(f, w) for w in words]
    bits = 7 if dtype is dtypes.bfloat16 else 10
    numbers: list[str] = []
    for w in words:
        mantissa = f.value(f"and {_WORDS} {w}, {ir.splat(ir.I32, str(2**bits - 1))}")
        whole = f.value(f"uitofp {_WORDS} {mantissa} to {_FLOATS}")
        numbers.append(f.value(f"fmul {_FLOATS} {whole}, {_constant(ir.F32, 2.0**-bits)}"))
    return numbers


def _uniform_float(f: ir.Function, words: str) -> str:
    mantissa = f.value(f"and {_WORDS} {words}, {ir.splat(ir.I32, str(0x7FFFFF))}")
    bits = f.value(f"or {_WORDS} {mantissa}, {ir.splat(ir.I32, str(127 << 23))}")
    number = f.value(f"bitcast {_WORDS} {bits} to {_FLOATS}")
    return f.value(f"fsub {_FLOATS} {number}, {_constant(ir.F32, 1.0)}")


def _uniform_double(f: ir.Function, high: str, low: str) -> str:
    upper = f.value(f"zext {_WORDS} {high} to {_WIDE}")
    upper = f.value(f"and {_WIDE} {upper}, {ir.splat(ir.I64, str(0xFFFFF))}")
    upper = f.value(f"shl {_WIDE} {upper}, {ir.splat(ir.I64, '32')}")
    mantissa = f.value(f"or {_WIDE} {upper}, {f.value(f'zext {_WORDS} {low} to {_WIDE}')}")
    bits = f.value(f"or {_WIDE} {mantissa}, {ir.splat(ir.I64, str(1023 << 52))}")
    number = f.value(f"bitcast {_WIDE} {bits} to {_DOUBLES}")
    return f.value(f"fsub {_DOUBLES} {number}, {_constant(ir.F64, 1.0)}")


def _integers(f: ir.Function, dtype: DType, words: Sequence[str]) -> list[str]:
    """The lowest number plus the remainder of random bits by the length of the range."""
    if dtype is dtypes.int64:
        length, lowest = _splat(f, ir.I64, "%length"), _splat(f, ir.I64, "%lowest")
        numbers: list[str] = []
        for low, high in (words[:2], words[2:]):
            upper = f.value(f"zext {_WORDS} {high} to {_WIDE}")
            upper = f.value(f"shl {_WIDE} {upper}, {ir.splat(ir.I64, '32')}")
            bits = f.value(f"or {_WIDE} {upper}, {f.value(f'zext {_WORDS} {low} to {_WIDE}')}")
            remainder = f.value(f"urem {_WIDE} {bits}, {length}")
            numbers.append(f.value(f"add {_WIDE} {remainder}, {lowest}"))
        return numbers
    length, lowest = (
        _splat(f, ir.I32, f.value(f"trunc i64 %{name} to i32")) for name in ("length", "lowest")
    )
    divisor = f.value(f"uitofp {_WORDS} {length} to {_DOUBLES}")
    return [_remainder(f, w, length, divisor, lowest) for w in words]


def _remainder(f: ir.Function, words: str, length: str, divisor: str, lowest: str) -> str:
    """By a quotient of doubles, whose whole part is exact: it is 2**-32 of itself below the next number, or more."""
    quotient = f.value(f"fdiv {_DOUBLES} {f.value(f'uitofp {_WORDS} {words} to {_DOUBLES}')}, {divisor}")
    whole = f.value(f"fptoui {_DOUBLES} {quotient} to {_WORDS}")
    multiple = f.value(f"mul {_WORDS} {whole}, {length}")
    return f.value(f"add {_WORDS} {f.value(f'sub {_WORDS} {words}, {multiple}')}, {lowest}")


def _normal(f: ir.Function, words: Sequence[str]) -> list[str]:
    """Box-Muller: of uniform u and v, sqrt(-2 log u) times the sine and the cosine of 2 pi v."""
    numbers: list[str] = []
    for i in (0, 2):
        u, v = (_uniform_float(f, w) for w in words[i : i + 2])
        turn = f.value(f"fmul {_DOUBLES} {_widened(f, v)}, {_constant(ir.F64, 2 * math.pi)}")
        sine, cosine = _sine_and_cosine(f, f.value(f"fptrunc {_DOUBLES} {turn} to {_FLOATS}"))
        smallest = _constant(ir.F32, sampling.SMALLEST_UNIFORM)
        u = f.value(
            f"select {_FLAGS} {f.value(f'fcmp olt {_FLOATS} {u}, {smallest}')}, {_FLOATS} {smallest}, {_FLOATS} {u}"
        )
        square = f.value(f"fmul {_FLOATS} {_logarithm(f, u)}, {_constant(ir.F32, -2.0)}")
        radius = f.value(f"call {_FLOATS} @llvm.sqrt.v{LANES}f32({_FLOATS} {square})")
        numbers += [f.value(f"fmul {_FLOATS} {part}, {radius}") for part in (sine, cosine)]
    return numbers


def _widened(f: ir.Function, floats: str) -> str:
    return f.value(f"fpext {_FLOATS} {floats} to {_DOUBLES}")


class _Arithmetic:
    """Sums and products of vectors of doubles, each rounded."""

    def __init__(self, f: ir.Function) -> None:
        self._f = f

    def add(self, a: str, b: str | float) -> str:
        """a + b."""
        return self._do("fadd", a, b)

    def sub(self, a: str, b: str | float) -> str:
        """a - b."""
        return self._do("fsub", a, b)

    def mul(self, a: str, b: str | float) -> str:
        """a b."""
        return self._do("fmul", a, b)

    def _do(self, name: str, a: str, b: str | float) -> str:
        other = b if isinstance(b, str) else _constant(ir.F64, float(b))
        return self._f.value(f"{name} {_DOUBLES} {a}, {other}")


def _logarithm(f: ir.Function, x: str) -> str:
    """As `libm.logf`."""
    a = _Arithmetic(f)
    bits = f.value(f"bitcast {_FLOATS} {x} to {_WORDS}")
    distance = f.value(f"sub {_WORDS} {bits}, {ir.splat(ir.I32, str(int(libm.INTERVALS_START)))}")
    shifted = f.value(f"ashr {_WORDS} {distance}, {ir.splat(ir.I32, '19')}")
    interval = f.value(f"and {_WORDS} {shifted}, {ir.splat(ir.I32, '15')}")
    exponent = f.value(f"ashr {_WORDS} {distance}, {ir.splat(ir.I32, '23')}")
    kept = f.value(f"and {_WORDS} {distance}, {ir.splat(ir.I32, str(int(libm.EXPONENT_BITS)))}")
    z = _widened(f, f.value(f"bitcast {_WORDS} {f.value(f'sub {_WORDS} {bits}, {kept}')} to {_FLOATS}"))
    r = a.sub(a.mul(z, _looked_up(f, "inverse", interval)), 1.0)
    r2 = a.mul(r, r)
    k = f.value(f"sitofp {_WORDS} {exponent} to {_DOUBLES}")
    whole = a.add(_looked_up(f, "center", interval), a.mul(k, math.log(2)))
    c0, c1, c2 = (float(c) for c in libm.LOG)
    tail = a.mul(a.add(a.mul(r2, c2), a.add(a.mul(r, c1), c0)), r2)
    return f.value(f"fptrunc {_DOUBLES} {a.add(tail, a.add(whole, r))} to {_FLOATS}")


def _looked_up(f: ir.Function, table: str, indices: str) -> str:
    """Elements of a table of doubles."""
    pointers = ir.vector(LANES, ir.POINTER)
    wide = f.value(f"zext {_WORDS} {indices} to {_WIDE}")
    places = f.value(f"getelementptr inbounds double, ptr @{kernel.SYMBOL}_{table}, {_WIDE} {wide}")
    every = f"{_FLAGS} {ir.splat(ir.I1, 'true')}"
    return f.value(
        f"call {_DOUBLES} @llvm.masked.gather.v{LANES}f64.v{LANES}p0"
        f"({pointers} align 8 {places}, {every}, {_DOUBLES} poison)"
    )


def _tables(distribution: Distribution) -> list[str]:
    """The tables of the logarithm."""
    if "normal" not in distribution.name:
        return []
    tables = {"inverse": libm.LOG_INVERSE_CENTER, "center": libm.LOG_CENTER}
    return [
        f"@{kernel.SYMBOL}_{name} = internal constant [{len(table)} x double] ["
        + ", ".join(f"double {ir.number(x, ir.F64)}" for x in table.tolist())
        + "], align 64"
        for name, table in tables.items()
    ]


def _sine_and_cosine(f: ir.Function, angle: str) -> tuple[str, str]:
    """As `libm.sincosf`."""
    a = _Arithmetic(f)
    x = _widened(f, angle)
    floor = f"call {_DOUBLES} @llvm.floor.v{LANES}f64({_DOUBLES}"
    quadrant = f.value(f"{floor} {a.add(a.mul(x, 2 / math.pi), 0.5)})")
    x = a.sub(x, a.mul(quadrant, math.pi / 2))
    x2 = a.mul(x, x)
    x3, x4 = a.mul(x, x2), a.mul(x2, x2)
    s0, s1, s2 = (float(c) for c in libm.SIN)
    c0, c1, c2, c3 = (float(c) for c in libm.COS)
    sine = a.add(a.add(x, a.mul(x3, s0)), a.mul(a.mul(x3, x2), a.add(a.mul(x2, s2), s1)))
    cosine = a.add(
        a.add(a.add(a.mul(x2, c0), 1.0), a.mul(x4, c1)), a.mul(a.mul(x4, x2), a.add(a.mul(x2, c3), c2))
    )
    turns = f.value(f"fptosi {_DOUBLES} {quadrant} to {_WORDS}")
    is_odd = _has_bit(f, turns, 1)
    following = f.value(f"add {_WORDS} {turns}, {ir.splat(ir.I32, '1')}")
    results: list[str] = []
    for here, there, turned in ((sine, cosine, turns), (cosine, sine, following)):
        value = f.value(f"select {_FLAGS} {is_odd}, {_DOUBLES} {there}, {_DOUBLES} {here}")
        negative = f.value(f"fneg {_DOUBLES} {value}")
        value = f.value(
            f"select {_FLAGS} {_has_bit(f, turned, 2)}, {_DOUBLES} {negative}, {_DOUBLES} {value}"
        )
        results.append(f.value(f"fptrunc {_DOUBLES} {value} to {_FLOATS}"))
    return results[0], results[1]


def _has_bit(f: ir.Function, words: str, bit: int) -> str:
    kept = f.value(f"and {_WORDS} {words}, {ir.splat(ir.I32, str(bit))}")
    return f.value(f"icmp ne {_WORDS} {kept}, zeroinitializer")


# ---------------------------------------------------------------- calls


def _distribution(node: Node) -> str:
    form = node.opdef.form
    assert isinstance(form, Draw)
    return form.distribution


def _fits(node: Node) -> bool:
    if not single.are_plain(node, ()):
        return False
    dtype, name = node.outputs[0].dtype, _distribution(node)
    if name == "integers":
        lowest, end = (known_int(v.spec) for v in node.inputs[1:])
        return lowest is not None and end is not None and lowest < end
    # The logarithm and the sine of doubles are NumPy's.
    return name == "uniform" or dtype in scalar.HALVES | {dtypes.float32}


def bound(
    distribution: Distribution, target: Ref, position: Reserved, count: int, lowest: int = 0, length: int = 0
) -> Bind:
    """The call that draws so many numbers; for integers, of a range that starts somewhere and is so long."""
    tiles = max(1, -(-count // (distribution.group * LANES * VECTORS)))
    table = (VECTORS, count, lowest, length)
    return Bind(draw(distribution), (target, Ref(position)), single.bound(table, tiles))


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    output = node.outputs[0]
    distribution = Distribution(_distribution(node), single.dtype_of(output))
    lowest, length = 0, 0
    if distribution.name == "integers":
        first, end = (known_int(v.spec) for v in node.inputs[1:])
        assert first is not None and end is not None
        lowest, length = first, (end - first) - (1 << 64 if end - first >= 1 << 63 else 0)

    def bind(known: Known) -> list[Bind]:
        count = math.prod(single.exact(output, known))
        position = Reserved(node, count * philox.BLOCKS_PER_OUTPUT)
        return [bound(distribution, Ref(output), position, count, lowest, length)]

    return single.call(node, places, (), bind)


# ---------------------------------------------------------------- in loops and branches


@functools.cache
def advance() -> Kernel:
    """Passes over blocks of a stream. Buffers: position. Sizes: how many."""
    f = kernel.function()
    (blocks,) = kernel.sizes(f, 1)
    low, high = (f.at(ir.I64, kernel.buffer(f, 0), i) for i in (1, 2))
    before = f.load(ir.I64, low)
    after = f.add(before, blocks)
    f.store(ir.I64, after, low)
    carry = f.value(f"zext i1 {f.value(f'icmp ult i64 {after}, {before}')} to i64")
    f.store(ir.I64, f.add(f.load(ir.I64, high), carry), high)
    return Kernel(f.finish(), 0, "on in a random stream")


def as_often_as_run(call: Call) -> Call:
    """A call that draws, if it does, where nobody knows how often it is run: each time it advances its stream."""

    def bind(known: Known) -> tuple[Sequence[Bind | Mark | Jump | Seat], dict[Partial, int]]:
        made, partials = call.bind(known)
        return [step for each in made for step in _advancing(each)], partials

    return replace(call, bind=bind)


def _advancing(step: Bind | Mark | Jump | Seat) -> list[Bind | Mark | Jump | Seat]:
    drawn = [] if isinstance(step, Mark) else [r.storage for r in flow.buffers(step)]
    reserved = next((storage for storage in drawn if isinstance(storage, Reserved)), None)
    if reserved is None:
        return [step]
    position = Ref(Running(reserved.node))
    drawing = flow.renamed(step, lambda ref: position if ref.storage is reserved else ref)
    return [drawing, Bind(advance(), (position,), Bound((reserved.blocks,), 1))]


DRAW = Single(_fits, lambda node: (), _call)
