"""Checks: of elements, and of what a program asserts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.nests import Bound
from tahr.backends.native.single import Single
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.core.opdef import known_value
from tahr.program.node import Node, Value


def finite(dtype: DType) -> Kernel:
    """Copies elements, and reports an infinite one or NaN.

    Buffers: source, target, status. Sizes: elements in a tile, elements.
    """
    f = kernel.function()
    kind = f"i{8 * dtype.size}"

    def is_wrong(bits: str) -> str:
        size = f.value(f"and {kind} {bits}, {(1 << 8 * dtype.size - 1) - 1}")
        return f.value(f"icmp uge {kind} {size}, {single.INFINITIES[dtype]}")

    return Kernel(_checking(f, kind, dtype.size, is_wrong), 0, f"finite {dtype.name}")


def in_range(dtype: DType) -> Kernel:
    """Copies integers, and reports one that is below 0 or not below a limit.

    Buffers: source, target, status. Sizes: elements in a tile, elements, the limit.
    """
    f = kernel.function(plain=True)
    kind = ir.MEMORY[dtype]
    limit = kernel.size(f, 2)
    limit = limit if kind == ir.I64 else f.value(f"trunc i64 {limit} to {kind}")
    # As unsigned numbers negative ones are large.
    text = _checking(f, kind, dtype.size, lambda number: f.value(f"icmp uge {kind} {number}, {limit}"))
    # There is one for each row of something, so few: to make vectors of them would take longer than it saves.
    return Kernel(AS_WRITTEN + text, 0, f"in range {dtype.name}")


def not_zero(dtype: DType) -> Kernel:
    """Copies integers, and reports one that is 0.

    Buffers: source, target, status. Sizes: elements in a tile, elements.
    """
    f = kernel.function()
    kind = ir.MEMORY[dtype]
    text = _checking(f, kind, dtype.size, lambda number: f.value(f"icmp eq {kind} {number}, 0"))
    return Kernel(text, 0, f"not zero {dtype.name}")


def _checking(f: ir.Function, kind: str, size: int, is_wrong: Callable[[str], str]) -> str:
    """The text of a kernel that copies elements of a kind of integer, and reports a wrong one."""
    source, target, status = (kernel.buffer(f, i) for i in range(3))
    tile, total = kernel.sizes(f, 2)
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        found = f.variable(kind, "0", "found")
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="element") as i:
            bits = f.load(kind, f.at(kind, source, i), size)
            f.store(kind, bits, f.at(kind, target, i), size)
            one = f.value(f"zext i1 {is_wrong(bits)} to {kind}")
            f.store(kind, f.value(f"or {kind} {f.load(kind, found)}, {one}"), found)
        with f.when(f.value(f"icmp ne {kind} {f.load(kind, found)}, 0")):
            single.report(f, status)
    return f.finish() + "\n"


def truth() -> Kernel:
    """Reports a bool that is false. Buffers: it, status, and what is not looked at."""
    f = kernel.function()
    condition, status = (kernel.buffer(f, i) for i in range(2))
    with f.when(f.value(f"icmp eq i8 {f.load(ir.I8, condition, 1)}, 0")):
        single.report(f, status)
    return Kernel(AS_WRITTEN + f.finish(), 0, "a truth")


def _is_finite_fit(node: Node) -> bool:
    return single.are_plain(node, (0,)) and node.inputs[0].dtype in single.INFINITIES


def _is_range_fit(node: Node) -> bool:
    return single.are_plain(node, (0,)) and single.is_plain(node.inputs[1].spec)


def _is_divisor_fit(node: Node) -> bool:
    return single.are_plain(node, (1,)) and single.is_plain(node.inputs[0].spec)


def _call(
    node: Node, places: Mapping[Value, Place], made: Kernel, limit: Value | None = None, number: int = 0
) -> Call:
    """The call of a kernel that copies one of a node's inputs.

    Args:
        limit: its last dimension is one of the kernel's sizes.
        number: which input is copied.
    """
    x = node.inputs[number]
    buffers = (single.place(places, x), Ref(node.outputs[0]), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        count = math.prod(single.exact(x, known))
        tile, tiles = single.cut(count, single.dtype_of(x).size)
        limits = () if limit is None else single.exact(limit, known)[-1:]
        return [Bind(made, buffers, single.bound((tile, count, *limits), tiles))]

    return single.call(node, places, (number,), bind, raises=True)


def _finite_call(node: Node, places: Mapping[Value, Place]) -> Call:
    return _call(node, places, finite(single.dtype_of(node.inputs[0])))


def _range_call(node: Node, places: Mapping[Value, Place]) -> Call:
    return _call(node, places, in_range(single.dtype_of(node.inputs[0])), node.inputs[1])


def _divisor_call(node: Node, places: Mapping[Value, Place]) -> Call:
    return _call(node, places, not_zero(single.dtype_of(node.inputs[1])), number=1)


FINITE = Single(_is_finite_fit, lambda node: (0,), _finite_call)
IN_RANGE = Single(_is_range_fit, lambda node: (0,), _range_call)
NOT_ZERO = Single(_is_divisor_fit, lambda node: (1,), _divisor_call)


# ---------------------------------------------------------------- assertions


def _is_truth_fit(node: Node) -> bool:
    condition = node.inputs[0]
    return condition.shape == () and single.are_plain(node, _shown(node))


def _shown(node: Node) -> Sequence[int]:
    """A check's condition, and what else of its inputs is known only when it runs: the error shows it."""
    data = enumerate(node.inputs[1:], 1)
    return (0, *(i for i, v in data if v.node.opdef is not Const and known_value(v.spec) is None))


def _truth_call(node: Node, places: Mapping[Value, Place]) -> Call:
    condition, *others = (single.place(places, node.inputs[i]) for i in _shown(node))
    # What the error would show must still be there: so it is given to the kernel, which does not look at it.
    step = Bind(truth(), (condition, Ref(Status()), *others), Bound((), 1))
    return single.call(node, places, _shown(node), lambda known: [step], raises=True)


TRUTH = Single(_is_truth_fit, _shown, _truth_call)
