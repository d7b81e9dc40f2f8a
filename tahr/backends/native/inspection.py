"""What a native plan is, for people: which groups became kernels, what they move and compute, and what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tahr.backends import costs, report
from tahr.backends.native import roles
from tahr.backends.native.calls import Bind, Call, Seat
from tahr.backends.native.engine import Statistics
from tahr.backends.native.kernel import Kernel, with_parts
from tahr.backends.native.nests import Access, Nest
from tahr.backends.native.plan import NativePlan, Segment
from tahr.backends.native.roles import Role
from tahr.backends.report import Report, Step
from tahr.core import sizes
from tahr.core.forms import Lookup
from tahr.core.shapes import Shape
from tahr.core.sizes import Dim
from tahr.program.node import Node, Value

# Inputs that were read when the plan was made, or are numbers in the code.
_FREE = frozenset({Role.KNOWN, Role.EXTENT, Role.UNIFORM})


def native_report(plan: NativePlan, known: Mapping[str, int], arena: int, built: Statistics) -> Report:
    """How a native plan runs, for exact sizes.

    Args:
        known: the sizes that symbols stand for.
        arena: the bytes of its temporary storage.
        built: what was compiled and loaded for it.
    """
    steps: list[Step] = []
    kernels: list[Kernel] = []
    segments = plan.segments
    for item in plan.items:
        if isinstance(item, Segment):
            number = segments.index(item) + 1
            for call in item.calls:
                bound = [b for b in call.bind(known)[0] if isinstance(b, Bind | Seat)]
                kernels += [*call.kernels, *(each.kernel for each in bound)]
                steps.append(_kernel_step(number, call, bound, plan, known))
        else:
            steps.append(report.host_step(item.node, item.reason, known))
    return Report(
        "native",
        tuple(steps),
        handed_over=tuple(report.total(segment.outputs, known) for segment in segments),
        arena=arena,
        kernels=len({kernel.symbol for kernel in with_parts(kernels)}),
        compiled=built.compiled,
        from_disk=built.from_disk,
        compile_ms=built.compile_ms,
    )


def _libraries(bound: Sequence[Bind | Seat]) -> str:
    """The libraries whose functions some steps are, by name."""
    return ", ".join(sorted({b.library for b in bound if isinstance(b, Bind) and b.library}))


def _kernel_step(
    number: int, call: Call, bound: Sequence[Bind | Seat], plan: NativePlan, known: Mapping[str, int]
) -> Step:
    step = Step(number, call.title, call.nodes, "", 0, 0, 0, depth=call.depth, library=_libraries(bound))
    # There are sizes for which nothing is computed, as of a product that is not wanted ahead of its loop.
    if bound and all(isinstance(b, Bind) and not b.bound.tiles for b in bound):
        return step
    counted = [costs.flops(node, known) for node in call.nodes]
    flops = None if None in counted else sum(c for c in counted if c is not None)
    if call.loop is not None:
        nest = call.loop.nest
        reads = sum(_bytes(a, nest, known) for a in nest.inputs if isinstance(a, Access))
        writes = sum(_bytes(a, nest, known) for _, a in nest.stores)
        leaving = call.writes[len(nest.stores) :]
        writes += sum(_root_bytes(v, known) or 0 for v in leaving)
    else:
        reads = _sum(_read(node, i, plan, known) for node, i in _inputs(call, plan))
        writes = _sum(_root_bytes(v, known) for v in call.writes)
    return replace(step, reads=reads, writes=writes, flops=flops)


def _bytes(access: Access, nest: Nest, known: Mapping[str, int]) -> int:
    """The bytes that a nest reads or writes through one access: what it goes along several times counts once."""
    dims: list[Dim] = [*nest.rows, *nest.columns]
    moved = [d for d, stride in zip(dims, access.strides) if stride != 0]
    return math.prod(sizes.evaluate(d, known) for d in moved) * access.dtype.size  # pyright: ignore[reportArgumentType]


def _inputs(call: Call, plan: NativePlan) -> list[tuple[Node, int]]:
    """The inputs of a call's nodes that others computed, each once."""
    made = set(call.nodes)
    found: dict[Value, tuple[Node, int]] = {}
    for node in call.nodes:
        for i in roles.data_inputs(node, plan.node_roles[node]):
            value = node.inputs[i]
            place = plan.places.get(value)
            root = value if place is None else place.root
            if root.node in made or plan.node_roles.get(root.node) in _FREE or root not in call.reads:
                continue
            found.setdefault(value, (node, i))
    return list(found.values())


def _read(node: Node, index: int, plan: NativePlan, known: Mapping[str, int]) -> int | None:
    """How many bytes of an input a node reads; None where that is not known."""
    value = node.inputs[index]
    root = plan.places[value].root
    whole, own = _root_bytes(root, known), costs.size(value, known)
    if whole is None or own is None:
        return own
    read = min(whole, own)  # a broadcast value is larger than its storage, a slice is smaller
    if isinstance(node.opdef.form, Lookup) and index == 0:
        found = costs.size(node.outputs[0], known)
        return read if found is None else min(read, found)
    return read


def _root_bytes(value: Value, known: Mapping[str, int]) -> int | None:
    """The bytes of a storage; for a variable, of its array."""
    if not roles.is_variable(value.node):
        return costs.size(value, known)
    shape: Shape = value.node.attrs["shape"]
    count = costs.elements(shape, known)
    return None if count is None else count * value.node.attrs["dtype"].size


def _sum(counts: Iterable[int | None]) -> int | None:
    found: Sequence[int | None] = list(counts)
    return None if None in found else sum(c for c in found if c is not None)
