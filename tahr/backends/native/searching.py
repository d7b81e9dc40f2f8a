"""The places of values in sorted rows, by binary search."""

from __future__ import annotations

from collections.abc import Mapping

from tahr.backends.native import ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.rankings import is_greater
from tahr.backends.native.single import Single
from tahr.core import sizes
from tahr.core.dtypes import DType
from tahr.core.forms import SortedPlace
from tahr.program.node import Node, Value

# A step of a search takes about as long as it does to move so many bytes.
_STEP_BYTES = 64


def sorted_places(dtype: DType, places: DType, before_equals: bool) -> Kernel:
    """How many elements of an ascending row come before each value. NaN comes behind all numbers.

    Buffers: rows [rows, length], values and their places [rows, width]. Sizes: values in a tile, all values, length,
    width.

    Args:
        before_equals: whether a value's place is before elements that are equal, or behind them.
    """
    f = kernel.function()
    source, values, target = (kernel.buffer(f, i) for i in range(3))
    tile, total, length, width = kernel.sizes(f, 4)
    memory, kind = ir.MEMORY[dtype], ir.MEMORY[places]
    low, high = f.variable(ir.I64, hint="low"), f.variable(ir.I64, hint="high")

    def load(array: str, place: str) -> str:
        return scalars.from_memory(f, dtype, f.load(memory, f.at(memory, array, place), align=dtype.size))

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="value") as i:
            row, value = f.mul(f.div(i, width), length), load(values, i)

            def is_behind(j: str, row: str = row, value: str = value) -> str:
                element = load(source, f.add(row, j))
                if before_equals:
                    return f.value(f"xor i1 {is_greater(f, dtype, value, element)}, true")
                return is_greater(f, dtype, element, value)

            f.store(ir.I64, "0", low)
            f.store(ir.I64, length, high)
            single.search(f, low, high, is_behind)
            found = f.load(ir.I64, low)
            found = found if kind == ir.I64 else f.value(f"trunc i64 {found} to {kind}")
            f.store(kind, found, f.at(kind, target, i), places.size)
    side = "before" if before_equals else "behind"
    return Kernel(f.finish() + "\n", 0, f"places {side} equals {dtype.name}")


def _fits(node: Node) -> bool:
    rows, values = node.inputs
    if not single.are_plain(node, (0, 1)) or rows.dtype is not values.dtype:
        return False
    return sizes.surely_equal(rows.dims[0], values.dims[0])


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    rows, values = node.inputs
    form, dtype = node.opdef.form, single.dtype_of(rows)
    assert isinstance(form, SortedPlace)
    made = sorted_places(dtype, single.dtype_of(node.outputs[0]), form.before_equals)
    buffers = (single.place(places, rows), single.place(places, values), Ref(node.outputs[0]))

    def bind(known: Known) -> list[Bind]:
        (_, length), (count, width) = single.exact(rows, known), single.exact(values, known)
        total = count * width
        tile, tiles = single.cut(total, _STEP_BYTES * length.bit_length())
        return [Bind(made, buffers, single.bound((tile, total, length, width), tiles))]

    return single.call(node, places, (0, 1), bind)


SORTED_PLACE = Single(_fits, lambda node: (0, 1), _call)
