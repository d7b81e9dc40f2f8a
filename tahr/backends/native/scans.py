"""Running sums and products, and the places of extremes: what goes along one axis in order.

An array is seen as [outer, length, inner]: `outer` rows, where the axis is the last one, or blocks of columns.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tahr.backends.native import combining, ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.core.forms import ArgExtreme, Scan
from tahr.core.opdef import known_int
from tahr.program.node import Node, Value

# So many columns of a scan are gone through together.
COLUMNS = 256
# So many elements are compared at a time.
LANES = 16


def _axis(node: Node) -> int | None:
    """The axis, from 0, that the second input says."""
    shape, axis = node.inputs[0].shape, known_int(node.inputs[1].spec)
    return None if shape is None or axis is None or not shape else axis % len(shape)


def _fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and _axis(node) is not None


def _seen(value: Value, axis: int, known: Known) -> tuple[int, int, int]:
    """An array's shape as [outer, length, inner]."""
    shape = single.exact(value, known)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


# ---------------------------------------------------------------- scans


@dataclass(frozen=True)
class Running:
    """What is compiled into a scan.

    Attributes:
        combine: "add" or "multiply".
        dtype: of the elements.
        exclusive: whether an element's own value is left out.
        reverse: whether it starts from the end.
    """

    combine: str
    dtype: DType
    exclusive: bool
    reverse: bool

    @property
    def title(self) -> str:
        """What is computed, for people."""
        words = [*["exclusive"] * self.exclusive, *["reverse"] * self.reverse]
        return " ".join(["running", self.combine, *words, self.dtype.name])


@functools.cache
def scan(running: Running) -> Kernel:
    """Combines each element with those before it, one after the other.

    Buffers: source, target [outer, length, inner]. Sizes: blocks in a tile, blocks in all, length, inner, columns of a
    block, blocks side by side.
    """
    f = kernel.function()
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    tile, total, length, inner, columns, across = kernel.sizes(f, 6)
    memory = ir.MEMORY[running.dtype]
    f.metadata = [
        "!2 = distinct !{}",
        '!3 = !{!"llvm.loop.parallel_accesses", !2}',
        "!1 = distinct !{!1, !3}",
    ]
    align = f"align {running.dtype.size}, !llvm.access.group !2"
    one = combining.identity(running.combine, running.dtype)
    nothing = scalars.to_memory(f, running.dtype, ir.number(one, scalars.kind(running.dtype)))

    def each(count: str, value: Callable[[str], str], into: str) -> None:
        """Stores a value for each column of a block."""
        with f.loop(0, count, hint="column", metadata=", !llvm.loop !1") as j:
            f.do(f"store {memory} {value(j)}, ptr {f.at(memory, into, j)}, {align}")

    def load(pointer: str, j: str) -> str:
        return f.value(f"load {memory}, ptr {f.at(memory, pointer, j)}, {align}")

    def row(array: str, base: str, k: str) -> str:
        """Where the columns of a block begin, k steps along the axis."""
        k = f.sub(f.sub(length, 1), k) if running.reverse else k
        return f.at(memory, array, f.add(base, f.mul(k, inner)))

    def step(base: str, count: str, k: str) -> None:
        """Computes the columns of a block, k steps along the axis."""
        before = f.sub(k, 1)
        taken = row(source, base, before if running.exclusive else k)
        into, last = row(target, base, k), row(target, base, before)
        # The first element is copied: adding nothing to it would change -0.
        with f.either(f.value(f"icmp sgt i64 {k}, {int(running.exclusive)}")) as branches:
            each(count, lambda j: _combined(f, running, load(last, j), load(taken, j)), into)
            branches.otherwise()
            if running.exclusive:
                with f.either(f.value(f"icmp eq i64 {k}, 0")) as first:
                    each(count, lambda j: nothing, into)
                    first.otherwise()
                    each(count, lambda j: load(taken, j), into)
            else:
                each(count, lambda j: load(taken, j), into)

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="block") as block:
            left = f.mul(f.rem(block, across), columns)
            count = f.minimum(columns, f.sub(inner, left))
            base = f.add(f.mul(f.mul(f.div(block, across), length), inner), left)
            with f.loop(0, length, hint="k") as k:
                step(base, count, k)
    return Kernel("\n".join([f.finish(), *f.metadata]) + "\n", 0, running.title)


@functools.cache
def scan_rows(running: Running) -> Kernel:
    """As `scan` where the axis is the last one: what was combined so far stays in a register.

    Buffers: source, target [rows, length]. Sizes: rows in a tile, rows, length.
    """
    f = kernel.function()
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    tile, total, length = kernel.sizes(f, 3)
    memory = ir.MEMORY[running.dtype]
    one = combining.identity(running.combine, running.dtype)
    nothing = scalars.to_memory(f, running.dtype, ir.number(one, scalars.kind(running.dtype)))
    so_far = f.variable(memory)

    def place(array: str, row: str, k: str) -> str:
        k = f.sub(f.sub(length, 1), k) if running.reverse else k
        return f.at(memory, array, f.add(f.mul(row, length), k))

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            with f.loop(0, f.minimum(length, 1)) as k:
                value = f.load(memory, place(source, row, k))
                f.store(memory, value, so_far)
                f.store(memory, nothing if running.exclusive else value, place(target, row, k))
            with f.loop(1, length) as k:
                before, value = f.load(memory, so_far), f.load(memory, place(source, row, k))
                after = _combined(f, running, before, value)
                f.store(memory, after, so_far)
                f.store(memory, before if running.exclusive else after, place(target, row, k))
    return Kernel(f.finish() + "\n", 0, f"{running.title} in rows")


def _combined(f: ir.Function, running: Running, a: str, b: str) -> str:
    """Two elements as they are in memory, combined and rounded."""
    a, b = (scalars.from_memory(f, running.dtype, x) for x in (a, b))
    name = {"add": "add", "multiply": "mul"}[running.combine]
    prefix = "f" if running.dtype.is_floating else ""
    return scalars.to_memory(
        f, running.dtype, f.value(f"{prefix}{name} {scalars.kind(running.dtype)} {a}, {b}")
    )


def _scan_fits(node: Node) -> bool:
    return _fits(node) and not single.dtype_of(node.outputs[0]).is_bool


def _scan_call(node: Node, places: Mapping[Value, Place]) -> Call:
    form, x, axis = node.opdef.form, node.inputs[0], _axis(node)
    assert isinstance(form, Scan) and axis is not None
    attrs = node.attrs
    running = Running(form.combine, single.dtype_of(x), attrs["exclusive"], attrs["reverse"])
    buffers = (single.place(places, x), Ref(node.outputs[0]))

    def bind(known: Known) -> list[Bind]:
        outer, length, inner = _seen(x, axis, known)
        if inner == 1:
            tile, tiles = single.cut(outer, length * running.dtype.size)
            return [Bind(scan_rows(running), buffers, single.bound((tile, outer, length), tiles))]
        across = -(-inner // COLUMNS)
        tile, tiles = single.cut(outer * across, min(inner, COLUMNS) * length * running.dtype.size)
        table = (tile, outer * across, length, inner, COLUMNS, across)
        return [Bind(scan(running), buffers, single.bound(table, tiles))]

    return single.call(node, places, (0,), bind)


SCAN = Single(_scan_fits, lambda node: (0,), _scan_call)


# ---------------------------------------------------------------- places of extremes


class _Extreme:
    """Finds the first place of an extreme, with vectors of elements or one at a time; NaN is never chosen."""

    def __init__(self, f: ir.Function, dtype: DType, largest: bool, width: int | None) -> None:
        self._f = f
        self._dtype = dtype
        self._largest = largest
        self._width = width
        # A bool is compared as the byte that it is.
        self._kind = ir.I8 if dtype.is_bool else scalars.kind(dtype)
        self.kind = self._kind if width is None else ir.vector(width, self._kind)
        self._index = ir.I64 if width is None else ir.vector(width, ir.I64)
        self.best = f.variable(self.kind, hint="best")
        self.place = f.variable(self._index, hint="place")

    def start(self) -> None:
        """Nothing was seen yet."""
        self._f.store(self.kind, self._spread(self._kind, self._worst()), self.best)
        self._f.store(self._index, self._spread(ir.I64, "0"), self.place)

    def see(self, pointer: str, number: str) -> None:
        """Compares the element at an address, or those from there on, which have a number."""
        f = self._f
        memory = scalars.memory_kind(self._dtype, self._width)
        value = f.load(memory, pointer, align=self._dtype.size)
        if not self._dtype.is_bool:
            value = scalars.from_memory(f, self._dtype, value, self._width)
        self.offer(value, self._number(number))

    def offer(self, value: str, number: str) -> None:
        """Compares a value of a number with the best so far."""
        f = self._f
        flag = ir.I1 if self._width is None else ir.vector(self._width, ir.I1)
        wins = f.value(f"{self._comparison()} {self.kind} {value}, {f.load(self.kind, self.best)}")
        for kind, new, variable in ((self.kind, value, self.best), (self._index, number, self.place)):
            f.store(
                kind,
                f.value(f"select {flag} {wins}, {kind} {new}, {kind} {f.load(kind, variable)}"),
                variable,
            )

    def collapse(self, into: _Extreme) -> None:
        """Of vectors that went along rows: the best of all lanes, the first of equals."""
        f, width = self._f, self._width
        assert width is not None
        best, place = f.load(self.kind, self.best), f.load(self._index, self.place)
        sign = "u" if self._dtype.is_unsigned or self._dtype.is_bool else "s"
        name = ("f" if self._dtype.is_floating else sign) + ("max" if self._largest else "min")
        suffix = {ir.F32: "f32", ir.F64: "f64"}.get(self._kind, self._kind)
        flags = "nnan " if self._dtype.is_floating else ""
        most = f.value(
            f"call {flags}{self._kind} @llvm.vector.reduce.{name}.v{width}{suffix}({self.kind} {best})"
        )
        equal = "fcmp oeq" if self._dtype.is_floating else "icmp eq"
        is_best = f.value(f"{equal} {self.kind} {best}, {self._spread(self._kind, most)}")
        lanes = "<" + ", ".join(f"i64 {i}" for i in range(width)) + ">"
        whole = f.value(f"mul {self._index} {place}, {ir.splat(ir.I64, str(width))}")
        numbers = f.value(f"add {self._index} {whole}, {lanes}")
        far = ir.splat(ir.I64, str(2**63 - 1))
        flag = ir.vector(width, ir.I1)
        kept = f.value(f"select {flag} {is_best}, {self._index} {numbers}, {self._index} {far}")
        first = f.value(f"call i64 @llvm.vector.reduce.umin.v{width}i64({self._index} {kept})")
        f.store(into.kind, most, into.best)
        f.store(ir.I64, first, into.place)

    def store(self, output: DType, target: str) -> None:
        """Stores the places."""
        f = self._f
        place = f.load(self._index, self.place)
        memory = scalars.memory_kind(output, self._width)
        if output is dtypes.int32:
            place = f.value(f"trunc {self._index} {place} to {memory}")
        f.store(memory, place, target, align=output.size)

    def _comparison(self) -> str:
        way = "gt" if self._largest else "lt"
        if self._dtype.is_floating:
            return f"fcmp o{way}"
        return f"icmp {'u' if self._dtype.is_unsigned or self._dtype.is_bool else 's'}{way}"

    def _worst(self) -> str:
        """What nothing is worse than."""
        if self._dtype.is_bool:
            return "0" if self._largest else "1"
        worst: Any = combining.identity("maximum" if self._largest else "minimum", self._dtype)
        if self._dtype.is_unsigned and worst:
            return "-1"
        return ir.number(worst, self._kind)

    def _spread(self, kind: str, value: str) -> str:
        if self._width is None:
            return value
        if not value.startswith("%"):
            return ir.splat(kind, value)
        vector = ir.vector(self._width, kind)
        one = self._f.value(f"insertelement {vector} poison, {kind} {value}, i64 0")
        zeros = f"<{self._width} x i32> zeroinitializer"
        return self._f.value(f"shufflevector {vector} {one}, {vector} poison, {zeros}")

    def _number(self, number: str) -> str:
        return self._spread(ir.I64, number)


@functools.cache
def arg_extreme(dtype: DType, output: DType, largest: bool, along_rows: bool) -> Kernel:
    """The place of the extreme along the axis.

    Buffers: source [outer, length, inner], target [outer, inner]. Sizes: blocks in a tile, blocks in all, length,
    inner, blocks side by side. A block is a row, or LANES columns.
    """
    f = kernel.function()
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    tile, total, length, inner, across = kernel.sizes(f, 5)
    memory, out = ir.MEMORY[dtype], ir.MEMORY[output]
    wide, narrow = _Extreme(f, dtype, largest, LANES), _Extreme(f, dtype, largest, None)

    def row(number: str) -> None:
        base = f.at(memory, source, f.mul(number, length))
        whole = f.div(length, LANES)
        narrow.start()
        with f.when(f.value(f"icmp sgt i64 {whole}, 0")):
            wide.start()
            with f.loop(0, whole, hint="vector") as k:
                wide.see(f.at(memory, base, f.mul(k, LANES)), k)
            wide.collapse(narrow)
        with f.loop(f.mul(whole, LANES), length, hint="element") as k:
            narrow.see(f.at(memory, base, k), k)
        narrow.store(output, f.at(out, target, number))

    def columns(number: str) -> None:
        outer, left = f.div(number, across), f.mul(f.rem(number, across), LANES)
        start = f.mul(f.mul(outer, length), inner)
        stored = f.mul(outer, inner)

        def strip(extreme: _Extreme, column: str) -> None:
            extreme.start()
            with f.loop(0, length, hint="element") as k:
                extreme.see(f.at(memory, source, f.add(f.add(start, f.mul(k, inner)), column)), k)
            extreme.store(output, f.at(out, target, f.add(stored, column)))

        right = f.minimum(f.add(left, LANES), inner)
        with f.either(f.value(f"icmp eq i64 {f.sub(right, left)}, {LANES}")) as branches:
            strip(wide, left)
            branches.otherwise()
            with f.loop(left, right, hint="column") as column:
                strip(narrow, column)

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="block") as block:
            (row if along_rows else columns)(block)
    name = f"place of {'largest' if largest else 'smallest'} {dtype.name}"
    return Kernel(f.finish() + "\n", 0, name)


def _arg_call(node: Node, places: Mapping[Value, Place]) -> Call:
    form, x, axis = node.opdef.form, node.inputs[0], _axis(node)
    assert isinstance(form, ArgExtreme) and axis is not None
    dtype, output = single.dtype_of(x), single.dtype_of(node.outputs[0])
    buffers = (single.place(places, x), Ref(node.outputs[0]))

    def bind(known: Known) -> list[Bind]:
        outer, length, inner = _seen(x, axis, known)
        across = 1 if inner == 1 else -(-inner // LANES)
        tile, tiles = single.cut(outer * across, min(inner, LANES) * length * dtype.size)
        table = (tile, outer * across, length, inner, across)
        made = arg_extreme(dtype, output, form.largest, inner == 1)
        return [Bind(made, buffers, single.bound(table, tiles))]

    return single.call(node, places, (0,), bind)


def _arg_fits(node: Node) -> bool:
    """The axis must not be empty: that is an error."""
    axis = _axis(node)
    if not _fits(node) or axis is None:
        return False
    shape = node.inputs[0].shape
    assert shape is not None
    return shape[axis] != 0


ARG_EXTREME = Single(_arg_fits, lambda node: (0,), _arg_call)
