"""The largest elements of rows, and whether a target is among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tahr.backends.native import ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.core.opdef import AmongLargest, known_int
from tahr.program.node import Node, Value

# More than so many of a row are sorted by NumPy: each new one is put in its place among the others here.
MOST = 64


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

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            base, first = f.mul(row, length), f.mul(row, count)
            with f.loop(0, length, hint="element") as j:
                value = load(source, f.add(base, j))
                filled = f.minimum(j, count)
                last = f.sub(count, 1)
                has_room = f.value(f"icmp slt i64 {j}, {count}")
                low, high = f.variable(ir.I64, "0", "low"), f.variable(ir.I64, filled, "high")
                with f.either(has_room) as branches:
                    branches.otherwise()
                    is_greater = _is_greater(f, dtype, value, load(values, f.add(first, last)))
                    f.store(ir.I64, f.value(f"select i1 {is_greater}, i64 0, i64 {count}"), low)
                with f.when(f.value(f"icmp slt i64 {f.load(ir.I64, low)}, {count}")):
                    _search(
                        f,
                        low,
                        high,
                        lambda i, v=value: _is_greater(f, dtype, v, load(values, f.add(first, i))),
                    )
                    place = f.load(ir.I64, low)
                    behind = f.sub(f.minimum(filled, last), place)
                    into = f.add(first, place)
                    for kind, array, new in (
                        (memory, values, scalars.to_memory(f, dtype, value)),
                        (ir.I32, places, f.value(f"trunc i64 {j} to i32")),
                    ):
                        here, following = f.at(kind, array, into), f.at(kind, array, f.add(into, 1))
                        bytes_ = f.mul(behind, 4 if array is places else dtype.size)
                        f.do(
                            f"call void @llvm.memmove.p0.p0.i64(ptr {following}, ptr {here}, i64 {bytes_}, i1 false)"
                        )
                        f.store(kind, new, here)
    return Kernel(f.finish() + "\n", 0, f"largest {dtype.name}")


def _search(f: ir.Function, low: str, high: str, holds: Callable[[str], str]) -> None:
    """Sets `low` to the first number from it up to `high` for which something holds that holds for all behind it."""
    test, halve, done = (f.label(name) for name in ("test", "halve", "done"))
    f.jump(test)
    f.open(test)
    from_, to = f.load(ir.I64, low), f.load(ir.I64, high)
    f.do(f"br i1 {f.value(f'icmp slt i64 {from_}, {to}')}, label %{halve}, label %{done}")
    f.open(halve)
    middle = f.div(f.add(from_, to), 2)
    is_here = holds(middle)
    f.store(ir.I64, f.value(f"select i1 {is_here}, i64 {from_}, i64 {f.add(middle, 1)}"), low)
    f.store(ir.I64, f.value(f"select i1 {is_here}, i64 {middle}, i64 {to}"), high)
    f.jump(test)
    f.open(done)


def _is_greater(f: ir.Function, dtype: DType, a: str, b: str) -> str:
    kind = scalars.kind(dtype)
    if not dtype.is_floating:
        return f.value(f"icmp {'u' if dtype.is_unsigned else 's'}gt {kind} {a}, {b}")
    # Greater, or NaN and the other is not: unordered or greater, where b is a number.
    greater = f.value(f"fcmp ugt {kind} {a}, {b}")
    return f.value(f"and i1 {greater}, {f.value(f'fcmp ord {kind} {b}, {b}')}")


def _largest_fits(node: Node) -> bool:
    count = known_int(node.inputs[1].spec)
    return single.are_plain(node, (0,)) and count is not None and count <= MOST


def _largest_call(node: Node, places: Mapping[Value, Place]) -> Call:
    x, count = node.inputs[0], known_int(node.inputs[1].spec)
    assert count is not None
    dtype = single.dtype_of(x)
    made = largest(dtype)
    buffers = (single.place(places, x), *(Ref(v) for v in node.outputs))

    def bind(known: Known) -> list[Bind]:
        *outer, length = single.exact(x, known)
        rows = math.prod(outer) if count else 0
        tile, tiles = single.cut(rows, length * dtype.size)
        return [Bind(made, buffers, single.bound((tile, rows, length, count), tiles))]

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
