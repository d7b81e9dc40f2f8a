"""The largest elements of rows, and whether a target is among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tahr.backends.native import ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.core.forms import AmongLargest
from tahr.core.opdef import known_value
from tahr.core.sizes import Dim
from tahr.program.node import Node, Value

# Up to so many of a row are kept in order while the others go by; for more, the whole row is sorted.
MOST_KEPT = 128
# So many elements at once are compared with the last one that is kept: few of them are greater.
_RUN = 32

# A row is sorted by so many values of a digit at a time: a byte.
_DIGITS = 256


def largest(dtype: DType) -> Kernel:
    """The largest elements of each row in descending order; of equal ones the first come first, NaN before all.

    Buffers: source [rows, length], values and places [rows, count]. Sizes: rows in a tile, rows, length, count.
    """
    f = kernel.function()
    source, values, places = (kernel.buffer(f, i) for i in range(3))
    tile, total, length, count = kernel.sizes(f, 4)
    memory = ir.MEMORY[dtype]

    def load(array: str, place: str) -> str:
        return scalars.from_memory(f, dtype, f.load(memory, f.at(memory, array, place), align=dtype.size))

    def insert(first: str, j: str, value: str) -> None:
        """Puts element j, if there is room or it is greater than the last one, behind those that are not less."""
        filled, last = f.minimum(j, count), f.sub(count, 1)
        low, high = f.variable(ir.I64, "0", "low"), f.variable(ir.I64, filled, "high")
        with f.either(f.value(f"icmp slt i64 {j}, {count}")) as branches:
            branches.otherwise()
            greater = is_greater(f, dtype, value, load(values, f.add(first, last)))
            f.store(ir.I64, f.value(f"select i1 {greater}, i64 0, i64 {count}"), low)
        with f.when(f.value(f"icmp slt i64 {f.load(ir.I64, low)}, {count}")):
            single.search(f, low, high, lambda i: is_greater(f, dtype, value, load(values, f.add(first, i))))
            place = f.load(ir.I64, low)
            behind, into = f.sub(f.minimum(filled, last), place), f.add(first, place)
            for kind, array, size, new in (
                (memory, values, dtype.size, scalars.to_memory(f, dtype, value)),
                (ir.I32, places, 4, f.value(f"trunc i64 {j} to i32")),
            ):
                here, following = f.at(kind, array, into), f.at(kind, array, f.add(into, 1))
                moved = f"ptr {following}, ptr {here}, i64 {f.mul(behind, size)}"
                f.do(f"call void @llvm.memmove.p0.p0.i64({moved}, i1 false)")
                f.store(kind, new, here)

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            base, first = f.mul(row, length), f.mul(row, count)
            with f.loop(0, length, _RUN, hint="run") as run:
                left = f.minimum(f.sub(length, run), _RUN)
                wanted = f.variable(ir.I64, f.value(f"lshr i64 -1, {f.sub(64, left)}"), "wanted")
                is_whole = f.value(f"icmp eq i64 {left}, {_RUN}")
                is_full = f.value(f"icmp sge i64 {run}, {count}")
                with f.when(f.value(f"and i1 {is_whole}, {is_full}")):
                    least = load(values, f.add(first, f.sub(count, 1)))
                    elements = f.at(memory, source, f.add(base, run))
                    f.store(ir.I64, _greater_ones(f, dtype, elements, least), wanted)
                with single.each_bit(f, wanted) as bit:
                    j = f.add(run, bit)
                    insert(first, j, load(source, f.add(base, j)))
    return Kernel(f.finish() + "\n", 0, f"largest {dtype.name}")


def _greater_ones(f: ir.Function, dtype: DType, elements: str, least: str) -> str:
    """A bit for each element of a run that is greater than another element."""
    run = Segment(_RUN)
    compared = run.load(f, dtype, elements), run.splat(f, scalars.kind(dtype), least)
    bits = f.value(f"bitcast {run.type(ir.I1)} {is_greater(f, dtype, *compared, _RUN)} to i{_RUN}")
    return f.value(f"zext i{_RUN} {bits} to i64")


def sorted_rows(dtype: DType) -> Kernel:
    """As `largest`, for any count: each row is sorted digit by digit, from the last one on.

    Buffers and sizes as in `largest`. Scratch: `sorting_scratch`.

    Source: radix sort by counting; Knuth, volume 3, section 5.2.5, algorithm R.
    """
    f = kernel.function()
    source, values, places = (kernel.buffer(f, i) for i in range(3))
    tile, total, length, count = kernel.sizes(f, 4)
    key_kind, memory = f"i{8 * dtype.size}", ir.MEMORY[dtype]
    counters = "%scratch"
    start_of_keys = f.at(ir.I32, counters, _DIGITS * dtype.size)
    keys = [start_of_keys, f.at(key_kind, start_of_keys, length)]
    # Keys may be of one byte: then what follows them is not aligned.
    start_of_numbers = f.at(key_kind, start_of_keys, f.mul(length, 2))
    numbers = [start_of_numbers, f.at(ir.I32, start_of_numbers, length)]
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            base, first = f.mul(row, length), f.mul(row, count)
            f.do(
                f"call void @llvm.memset.p0.i64(ptr {counters}, i8 0, i64 {4 * _DIGITS * dtype.size}, i1 false)"
            )
            with f.loop(0, length, hint="element") as j:
                key = _descending_key(
                    f, dtype, f.load(key_kind, f.at(key_kind, source, f.add(base, j)), dtype.size)
                )
                f.store(key_kind, key, f.at(key_kind, keys[0], j), dtype.size)
                f.store(ir.I32, f.value(f"trunc i64 {j} to i32"), f.at(ir.I32, numbers[0], j), 1)
                for digit in range(dtype.size):
                    _count_up(f, _counter(f, counters, key_kind, key, digit))
            for digit in range(dtype.size):
                _sort_by_digit(f, key_kind, digit, length, counters, keys, numbers)
                keys.reverse()
                numbers.reverse()
            with f.loop(0, count, hint="result") as j:
                found = f.load(ir.I32, f.at(ir.I32, numbers[0], j), 1)
                place = f.add(base, f.value(f"sext i32 {found} to i64"))
                into = f.add(first, j)
                f.store(ir.I32, found, f.at(ir.I32, places, into))
                value = f.load(memory, f.at(memory, source, place), dtype.size)
                f.store(memory, value, f.at(memory, values, into), dtype.size)
            if dtype.size % 2:  # the next row starts with the first of two arrays again
                keys.reverse()
                numbers.reverse()
    return Kernel(f.finish() + "\n", 0, f"sorted {dtype.name}")


def sorting_scratch(dtype: DType, length: int) -> int:
    """How many bytes of scratch `sorted_rows` needs."""
    return 4 * _DIGITS * dtype.size + 2 * length * (dtype.size + 4)


def _sort_by_digit(
    f: ir.Function,
    kind: str,
    digit: int,
    length: str,
    counters: str,
    keys: Sequence[str],
    numbers: Sequence[str],
) -> None:
    """Moves keys and their numbers from the first of two arrays to the second, in the order of one digit."""
    before = f.variable(ir.I32, "0", "before")
    with f.loop(0, _DIGITS, hint="value") as v:
        counter = f.at(ir.I32, counters, f.add(v, digit * _DIGITS))
        have = f.load(ir.I32, counter)
        f.store(ir.I32, f.load(ir.I32, before), counter)
        f.store(ir.I32, f.value(f"add i32 {f.load(ir.I32, before)}, {have}"), before)
    with f.loop(0, length, hint="key") as j:
        key = f.load(kind, f.at(kind, keys[0], j), 1)
        place = f.value(f"zext i32 {_count_up(f, _counter(f, counters, kind, key, digit))} to i64")
        f.store(kind, key, f.at(kind, keys[1], place), 1)
        f.store(ir.I32, f.load(ir.I32, f.at(ir.I32, numbers[0], j), 1), f.at(ir.I32, numbers[1], place), 1)


def _counter(f: ir.Function, counters: str, kind: str, key: str, digit: int) -> str:
    """The counter of the value that a key's digit has."""
    shifted = f.value(f"lshr {kind} {key}, {8 * digit}")
    byte = shifted if kind == ir.I8 else f.value(f"trunc {kind} {shifted} to i8")
    return f.at(ir.I32, counters, f.add(f.value(f"zext i8 {byte} to i64"), digit * _DIGITS))


def _count_up(f: ir.Function, counter: str) -> str:
    """Adds one to a counter, and gives what it was."""
    before = f.load(ir.I32, counter)
    f.store(ir.I32, f.value(f"add i32 {before}, 1"), counter)
    return before


def _descending_key(f: ir.Function, dtype: DType, bits: str) -> str:
    """An unsigned number that is smaller for a larger element; equal ones have equal numbers, and NaN has 0."""
    kind = f"i{8 * dtype.size}"
    if dtype.is_unsigned or dtype.is_bool:
        return f.value(f"xor {kind} {bits}, -1")
    sign = 1 << (8 * dtype.size - 1)
    if not dtype.is_floating:
        return f.value(f"xor {kind} {bits}, {sign - 1}")
    size = f.value(f"and {kind} {bits}, {sign - 1}")
    is_negative = f.value(f"icmp slt {kind} {bits}, 0")
    key = f.value(
        f"select i1 {is_negative}, {kind} {bits}, {kind} {f.value(f'xor {kind} {size}, {sign - 1}')}"
    )
    is_zero = f.value(f"icmp ult {kind} {size}, {_SMALLEST[dtype]}")
    key = f.value(f"select i1 {is_zero}, {kind} {sign - 1}, {kind} {key}")
    is_nan = f.value(f"icmp ugt {kind} {size}, {single.INFINITIES[dtype]}")
    return f.value(f"select i1 {is_nan}, {kind} 0, {kind} {key}")


# The bits of the smallest number that is not zero: denormals are, but for those of float16, which are converted.
_SMALLEST = {
    dtypes.float16: 1,
    dtypes.bfloat16: 0x0080,
    dtypes.float32: 0x00800000,
    dtypes.float64: 0x0010000000000000,
}


def is_greater(f: ir.Function, dtype: DType, a: str, b: str, width: int | None = None) -> str:
    """Whether a is greater than b; NaN is greater than any number."""
    kind = scalars.kind(dtype, width)
    if not dtype.is_floating:
        return f.value(f"icmp {'u' if dtype.is_unsigned else 's'}gt {kind} {a}, {b}")
    # Greater, or NaN and the other is not: unordered or greater, where b is a number.
    greater = f.value(f"fcmp ugt {kind} {a}, {b}")
    both = ir.I1 if width is None else ir.vector(width, ir.I1)
    return f.value(f"and {both} {greater}, {f.value(f'fcmp ord {kind} {b}, {b}')}")


def _wanted(node: Node) -> Dim | None:
    """How many elements of a row are wanted; None where that is data."""
    found = known_value(node.inputs[1].spec)
    return None if found is None else found[0]


def _largest_fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and _wanted(node) is not None


def _largest_call(node: Node, places: Mapping[Value, Place]) -> Call:
    x, wanted = node.inputs[0], _wanted(node)
    dtype = single.dtype_of(x)
    are_few = isinstance(wanted, int) and wanted <= MOST_KEPT
    made = largest(dtype) if are_few else sorted_rows(dtype)
    buffers = (single.place(places, x), *(Ref(v) for v in node.outputs))

    def bind(known: Known) -> list[Bind]:
        *outer, length = single.exact(x, known)
        count = single.exact(node.outputs[0], known)[-1]
        rows = math.prod(outer) if count else 0
        tile, tiles = single.cut(rows, length * dtype.size)
        scratch = 0 if are_few else sorting_scratch(dtype, length)
        return [Bind(made, buffers, single.bound((tile, rows, length, count), tiles, scratch))]

    return single.call(node, places, (0,), bind)


LARGEST = Single(_largest_fits, lambda node: (0,), _largest_call)


# ---------------------------------------------------------------- targets

# The bits of a float32's exponent: all set where it is infinite or NaN.
_EXPONENT = 0x7F800000


def among_largest(indices: DType) -> Kernel:
    """Whether fewer than so many elements of a row are larger than its target, and all are finite.

    Buffers: float32 [rows, length], targets [rows], results [rows]. Sizes: rows in a tile, rows, length, how many.
    """
    f = kernel.function()
    source, targets, results = (kernel.buffer(f, i) for i in range(3))
    tile, total, length, count = kernel.sizes(f, 4)
    larger, unbounded = f.variable(ir.I64, hint="larger"), f.variable(ir.I64, hint="unbounded")

    def load(place: str, kind: str = ir.F32) -> str:
        return f.load(kind, f.at(ir.F32, source, place))

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            target = single.load_index(f, indices, targets, row)
            base = f.mul(row, length)
            f.store(ir.I8, "0", f.at(ir.I8, results, row))
            with f.when(f.value(f"icmp ult i64 {target}, {length}")):
                chosen = load(f.add(base, target))
                f.store(ir.I64, "0", larger)
                f.store(ir.I64, "0", unbounded)
                with f.loop(0, length, hint="element") as j:
                    place = f.add(base, j)
                    exponent = f.value(f"and i32 {load(place, ir.I32)}, {_EXPONENT}")
                    for test, sum_ in (
                        (f"fcmp ogt float {load(place)}, {chosen}", larger),
                        (f"icmp eq i32 {exponent}, {_EXPONENT}", unbounded),
                    ):
                        one = f.value(f"zext i1 {f.value(test)} to i64")
                        f.store(ir.I64, f.add(f.load(ir.I64, sum_), one), sum_)
                is_among = f.value(f"icmp slt i64 {f.load(ir.I64, larger)}, {count}")
                is_finite = f.value(f"icmp eq i64 {f.load(ir.I64, unbounded)}, 0")
                both = f.value(f"and i1 {is_among}, {is_finite}")
                f.store(ir.I8, f.value(f"zext i1 {both} to i8"), f.at(ir.I8, results, row))
    return Kernel(f.finish() + "\n", 0, f"among largest by {indices.name}")


def _count(node: Node) -> int | None:
    form = node.opdef.form
    assert isinstance(form, AmongLargest)
    return form.count(*(v.spec for v in node.inputs), **node.attrs)


def _among_fits(node: Node) -> bool:
    return (
        single.are_plain(node, (0, 1)) and node.inputs[0].dtype is dtypes.float32 and _count(node) is not None
    )


def _among_call(node: Node, places: Mapping[Value, Place]) -> Call:
    predictions, targets = node.inputs[:2]
    count = _count(node)
    assert count is not None
    made = among_largest(single.dtype_of(targets))
    buffers = (single.place(places, predictions), single.place(places, targets), Ref(node.outputs[0]))

    def bind(known: Known) -> list[Bind]:
        rows, length = single.exact(predictions, known)
        tile, tiles = single.cut(rows, 4 * length)
        return [Bind(made, buffers, single.bound((tile, rows, length, count), tiles))]

    return single.call(node, places, (0, 1), bind)


AMONG_LARGEST = Single(_among_fits, lambda node: (0, 1), _among_call)
