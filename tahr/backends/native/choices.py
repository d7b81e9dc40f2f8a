"""Random choices among what is given: classes with their probabilities, and rows in random order.

What `tahr.ops.sampling` does with NumPy, from the same random words; see there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

from tahr.backends.native import draws, ir, kernel, lookups, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref, Reserved, Status
from tahr.backends.native.draws import Distribution
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.lookups import Rows
from tahr.backends.native.single import Single
from tahr.core import dtypes, scalar, sizes
from tahr.core.dtypes import DType
from tahr.ops import philox, scalar_math
from tahr.program.node import Node, Value

# ---------------------------------------------------------------- classes


def classes(dtype: DType, numbers: DType) -> Kernel:
    """For each uniform number the first class at which the sum of weights exceeds that part of all weights.

    Buffers: logits [rows, classes], uniform float64 [rows, samples], class numbers [rows, samples]. Sizes: rows in a
    tile, rows, classes, samples. Scratch: float64 [classes], the sums.
    """
    f = kernel.function()
    logits, uniform, target = (kernel.buffer(f, i) for i in range(3))
    tile, total, count, samples = kernel.sizes(f, 4)
    memory, number_kind = ir.MEMORY[dtype], ir.MEMORY[numbers]
    largest, sum_ = f.variable(ir.F64, hint="largest"), f.variable(ir.F64, hint="sum")

    def load(place: str) -> tuple[str, str]:
        """A logit, and whether it is finite."""
        value = scalars.from_memory(f, dtype, f.load(memory, f.at(memory, logits, place), dtype.size))
        (wide,) = scalars.lower(f, [scalar.convert(scalar.leaf(0, dtype), dtypes.float64)], [value])
        size = f.value(f"call double @llvm.fabs.f64(double {wide})")
        return wide, f.value(f"fcmp olt double {size}, {ir.number(math.inf, ir.F64)}")

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            base = f.mul(row, count)
            f.store(ir.F64, ir.number(-math.inf, ir.F64), largest)
            with f.loop(0, count, hint="logit") as j:
                value, is_finite = load(f.add(base, j))
                before = f.load(ir.F64, largest)
                is_larger = f.value(f"and i1 {is_finite}, {f.value(f'fcmp ogt double {value}, {before}')}")
                f.store(ir.F64, f.value(f"select i1 {is_larger}, double {value}, double {before}"), largest)
            f.store(ir.F64, ir.number(0.0, ir.F64), sum_)
            with f.loop(0, count, hint="weight") as j:
                value, is_finite = load(f.add(base, j))
                weight = _exponential(f, f.value(f"fsub double {value}, {f.load(ir.F64, largest)}"))
                weight = f.value(f"select i1 {is_finite}, double {weight}, double {ir.number(0.0, ir.F64)}")
                f.store(ir.F64, f.value(f"fadd double {f.load(ir.F64, sum_)}, {weight}"), sum_)
                f.store(ir.F64, f.load(ir.F64, sum_), f.at(ir.F64, "%scratch", j))
            with f.loop(0, samples, hint="sample") as k:
                place = f.add(f.mul(row, samples), k)
                part = f.load(ir.F64, f.at(ir.F64, uniform, place))
                wanted = f.value(f"fmul double {part}, {f.load(ir.F64, sum_)}")
                found = _first_above(f, wanted, count)
                found = found if number_kind == ir.I64 else f.value(f"trunc i64 {found} to i32")
                f.store(number_kind, found, f.at(number_kind, target, place))
    return Kernel(f.finish() + "\n", 0, f"classes {dtype.name}")


def _exponential(f: ir.Function, x: str) -> str:
    (result,) = scalars.lower(f, [scalar_math.exp(scalar.leaf(0, dtypes.float64))], [x])
    return result


def _first_above(f: ir.Function, wanted: str, count: str) -> str:
    """The first place in scratch with a larger number; how many there are where there is none."""
    low, high = f.variable(ir.I64, "0", "low"), f.variable(ir.I64, count, "high")

    def is_above(place: str) -> str:
        return f.value(f"fcmp ogt double {f.load(ir.F64, f.at(ir.F64, '%scratch', place))}, {wanted}")

    single.search(f, low, high, is_above)
    return f.load(ir.I64, low)


def _classes_fit(node: Node) -> bool:
    if not single.are_plain(node, (0,)):
        return False
    assert node.inputs[0].shape is not None
    least = sizes.least(node.inputs[0].shape[1])
    return least is not None and least > 0  # NumPy complains of none


def _classes_call(node: Node, places: Mapping[Value, Place]) -> Call:
    logits, output = node.inputs[0], node.outputs[0]
    made = classes(single.dtype_of(logits), single.dtype_of(output))
    uniform = Partial(output, dtypes.float64, "uniform")

    def bind(known: Known) -> list[Bind]:
        batch, samples = single.exact(output, known)
        if not batch * samples:
            return []
        count = single.exact(logits, known)[1]
        words = 2 * philox.WORDS_PER_BLOCK * -(-samples // philox.WORDS_PER_BLOCK)
        position = Reserved(node, batch * words * philox.BLOCKS_PER_OUTPUT)
        tile, tiles = single.cut(batch, 8 * (count + samples))
        buffers = (single.place(places, logits), Ref(uniform), Ref(output))
        return [
            draws.bound(Distribution("uniform", dtypes.float64), Ref(uniform), position, batch * samples),
            Bind(made, buffers, single.bound((tile, batch, count, samples), tiles, 8 * count)),
        ]

    def partials(known: Known) -> dict[Partial, int]:
        return {uniform: math.prod(single.exact(output, known))}

    return single.call(node, places, (0,), bind, partials=partials)


CLASSES = Single(_classes_fit, lambda node: (0,), _classes_call)

# ---------------------------------------------------------------- permutations


@functools.cache
def permutation() -> Kernel:
    """The numbers from 0 in random order, in one tile: each changes places with one of those behind it, or itself.

    Buffers: uint32 words [count - 1], int64 numbers [count]. Sizes: count.

    Source: Fisher and Yates, Statistical Tables (1938), from the front; Knuth, volume 2, section 3.4.2, algorithm P.
    """
    f = kernel.function()
    words, order = kernel.buffer(f, 0), kernel.buffer(f, 1)
    count = kernel.size(f, 0)
    with f.loop(0, count, hint="number") as i:
        f.store(ir.I64, i, f.at(ir.I64, order, i))
    with f.loop(0, f.sub(count, 1), hint="place") as i:
        word = f.value(f"zext i32 {f.load(ir.I32, f.at(ir.I32, words, i))} to i64")
        here, there = f.at(ir.I64, order, i), f.at(ir.I64, order, f.add(i, f.rem(word, f.sub(count, i))))
        mine, other = f.load(ir.I64, here), f.load(ir.I64, there)
        f.store(ir.I64, other, here)
        f.store(ir.I64, mine, there)
    return Kernel(f.finish() + "\n", 0, "permutation")


def _permutation_fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and bool(node.inputs[0].shape)


def _permutation_call(node: Node, places: Mapping[Value, Place]) -> Call:
    value, output = node.inputs[0], node.outputs[0]
    dtype = single.dtype_of(value)
    words, order = Partial(output, dtypes.uint32, "words"), Partial(output, dtypes.int64, "order")
    row = single.fixed_count(value.dims[1:])
    is_short = row is not None and row * dtype.size <= single.SHORT_ROW
    copied = lookups.lookup(Rows(dtype, dtypes.int64, 1, row if is_short else None), False, False)
    buffers = (single.place(places, value), Ref(order), Ref(output), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        count, *rest = single.exact(value, known)
        length = math.prod(rest)
        if not count * length:
            return []
        binds: list[Bind] = []
        if count > 1:
            position = Reserved(node, -(-(count - 1) // philox.WORDS_PER_BLOCK))
            binds = [draws.bound(Distribution("words", dtypes.uint32), Ref(words), position, count - 1)]
        tile, tiles = single.cut(count, length * dtype.size)
        table = (tile, count, count, length, count, 1, count, 1)
        return [
            *binds,
            Bind(permutation(), (Ref(words), Ref(order)), single.bound((count,), 1)),
            Bind(copied, buffers, single.bound(table, tiles)),
        ]

    def partials(known: Known) -> dict[Partial, int]:
        count = single.exact(value, known)[0]
        return {words: count, order: count}

    return single.call(node, places, (0,), bind, partials=partials)


PERMUTATION = Single(_permutation_fits, lambda node: (0,), _permutation_call)
