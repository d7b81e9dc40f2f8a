"""Steps of optimizers that change some rows of variables: for sparse gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tahr.backends.native import ir, kernel, lookups, scalars, single, tracing
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.lookups import Change, Rows
from tahr.backends.native.single import Single
from tahr.core import scalar, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import RowUpdate
from tahr.core.scalar import Scalar
from tahr.core.shapes import Shape, Spec
from tahr.program.node import Node, Value


@dataclass(frozen=True)
class Step:
    """What is compiled into a kernel.

    Attributes:
        rows: the rows that change.
        types: the dtypes of what the step takes: the variables, then one row for each that changes and scalars.
        outputs: the variables' new elements, in leaves that are these inputs.
        source: which of them holds the rows.
        is_counted: whether a buffer says how many places count.
    """

    rows: Rows
    types: tuple[DType, ...]
    outputs: tuple[Scalar, ...]
    source: int
    is_counted: bool


def update_rows(step: Step, title: str) -> Kernel:
    """Changes the rows that indices name, one after the other; a tile is a block of the variables.

    Buffers: what the step takes, indices, status, perhaps int32 how many places count. Sizes: places, length, rows of
    the variables, rows and columns of a block, blocks side by side.
    """
    f = kernel.function()
    count = len(step.types)
    *taken, indices, status = (kernel.buffer(f, i) for i in range(count + 2))
    places, length, height, *cut, across = kernel.sizes(f, 6)
    places = lookups.counted_places(f, count + 2) if step.is_counted else places
    written = range(len(step.outputs))
    used = {e.value for e in scalar.ordered(step.outputs) if e.op == "leaf"}
    numbers = {i: _load(f, step.types[i], taken[i]) for i in sorted(used - {*written, step.source})}
    with f.loop("%begin", "%end", hint="tile") as tile:
        low, high, left, width = lookups.block(f, tile, length, height, cut, across)
        with f.loop(0, places, hint="place") as i:
            row = single.load_index(f, step.rows.indices, indices, i)
            with f.either(f.value(f"icmp ult i64 {row}, {height}")) as branches:
                with f.when(lookups.is_between(f, row, low, high)):
                    starts = {k: f.add(f.mul(row, length), left) for k in written}
                    starts[step.source] = f.add(f.mul(i, length), left)
                    rows = {k: f.at(ir.MEMORY[step.types[k]], taken[k], at) for k, at in starts.items()}
                    _change_row(f, step, rows, numbers, width)
                branches.otherwise()
                single.report(f, status)
    return Kernel("\n".join([f.finish(), *f.metadata]) + "\n", 0, f"{title} {step.rows.title}")


def _change_row(
    f: ir.Function, step: Step, rows: Mapping[int, str], numbers: Mapping[int, str], width: str
) -> None:
    """Changes one row. The new elements are computed of the old ones before any is written."""
    f.metadata = [
        "!2 = distinct !{}",
        '!3 = !{!"llvm.loop.parallel_accesses", !2}',
        "!1 = distinct !{!1, !3}",
    ]
    mark = ", !llvm.access.group !2"
    with f.loop(0, width, hint="column", metadata=", !llvm.loop !1") as j:
        at = {k: f.at(ir.MEMORY[step.types[k]], row, j) for k, row in rows.items()}
        leaves = dict(numbers) | {k: _load(f, step.types[k], pointer, mark) for k, pointer in at.items()}
        for k, value in enumerate(scalars.lower(f, step.outputs, leaves)):
            dtype = step.types[k]
            stored = scalars.to_memory(f, dtype, value)
            f.do(f"store {ir.MEMORY[dtype]} {stored}, ptr {at[k]}, align {dtype.size}{mark}")


def _load(f: ir.Function, dtype: DType, pointer: str, mark: str = "") -> str:
    """An element, to compute with."""
    value = f.value(f"load {ir.MEMORY[dtype]}, ptr {pointer}, align {dtype.size}{mark}")
    return scalars.from_memory(f, dtype, value)


# ---------------------------------------------------------------- nodes


def _form(node: Node) -> RowUpdate:
    form = node.opdef.form
    assert isinstance(form, RowUpdate)
    return form


def _taken(node: Node) -> Sequence[int]:
    """The inputs that the function of an element takes."""
    form = _form(node)
    return [i for i in range(len(node.inputs)) if i not in (form.indices, form.count)]


def _variable_shape(value: Value) -> Shape:
    return value.node.attrs["shape"]


def _fits(node: Node) -> bool:
    form, written = _form(node), node.opdef.effects.writes
    specs = [Spec(v.node.attrs["dtype"], _variable_shape(v)) for v in (node.inputs[i] for i in written)]
    others = [v.spec for i, v in enumerate(node.inputs) if i not in written]
    if not all(map(single.is_plain, specs + others)) or any(s.shape != specs[0].shape for s in specs):
        return False
    shape, indices, rows = specs[0].shape, node.inputs[form.indices].shape, node.inputs[form.rows].shape
    if not shape or indices is None or rows is None or len(indices) != 1:
        return False
    wanted = (*indices, *shape[1:])
    scalars_ = [node.inputs[i].shape for i in _taken(node) if i not in written and i != form.rows]
    return (
        len(rows) == len(wanted)
        and all(map(sizes.surely_equal, rows, wanted))
        and all(s == () for s in scalars_)
        and tracing.update_traced(node, _taken(node)) is not None
    )


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    """All indices are looked at before anything changes."""
    form, written = _form(node), node.opdef.effects.writes
    taken, outputs = _taken(node), tracing.update_traced(node, _taken(node))
    variable, indices = node.inputs[written[0]], node.inputs[form.indices]
    shape = _variable_shape(variable)
    assert outputs is not None and shape is not None
    types = tracing.variable_types(node)
    change = Change(types[written[0]], shape, indices, tuples=False)
    is_counted = form.count is not None
    step = Step(change.rows, tuple(types[i] for i in taken), outputs, taken.index(form.rows), is_counted)
    first, made = lookups.check(change.rows, is_counted), update_rows(step, node.opdef.name)
    named, counts = single.place(places, indices), [node.inputs[form.count]] if form.count is not None else []
    behind = (Ref(Status()), *(single.place(places, v) for v in counts))
    buffers = (*(single.place(places, node.inputs[i]) for i in taken), named, *behind)

    def bind(known: Known) -> list[Bind]:
        count, dims, _ = change.sizes(known)
        return [
            Bind(first, (named, *behind), single.bound((count, *dims), 1)),
            Bind(made, buffers, change.bound(known)),
        ]

    return single.call(node, places, range(len(node.inputs)), bind, raises=True, writes=written)


ROW_UPDATE = Single(_fits, lambda node: range(len(node.inputs)), _call)
