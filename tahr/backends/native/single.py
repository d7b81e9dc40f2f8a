"""What is common to nodes that are a kernel of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tahr import errors
from tahr.backends.native import ir
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref
from tahr.backends.native.nests import Bound
from tahr.core import dtypes, scalar, sizes
from tahr.core.dtypes import DType
from tahr.core.shapes import Spec
from tahr.core.sizes import Unknown
from tahr.program.node import Node, Value

# A tile moves at least so many bytes: some microseconds of work.
TILE_BYTES = 1 << 16
# The bits of infinity; NaN has more.
INFINITIES = {
    dtypes.float16: 0x7C00,
    dtypes.bfloat16: 0x7F80,
    dtypes.float32: 0x7F800000,
    dtypes.float64: 0x7FF0000000000000,
}
# Rows of at most so many bytes are compiled in: copying one is then a few vector instructions.
SHORT_ROW = 512


@dataclass(frozen=True)
class Single:
    """How nodes of one form are computed.

    Attributes:
        fits: whether a node can be: its dtypes, and what is known of its inputs.
        data: the inputs that it reads as data; others are read when the plan is made.
        call: the call; each data input is dense, and lies in the root that `places` says.
    """

    fits: Callable[[Node], bool]
    data: Callable[[Node], Sequence[int]]
    call: Callable[[Node, Mapping[Value, Place]], Call]


def is_plain(spec: Spec) -> bool:
    """Whether the scalar language has the dtype, and every dimension is a size."""
    return (
        spec.dtype in scalar.SUPPORTED
        and spec.shape is not None
        and not any(isinstance(d, Unknown) for d in spec.shape)
    )


def are_plain(node: Node, inputs: Sequence[int]) -> bool:
    """Whether some inputs of a node and its outputs are plain."""
    return all(is_plain(v.spec) for v in (*(node.inputs[i] for i in inputs), *node.outputs))


def exact(value: Value, known: Known) -> tuple[int, ...]:
    """A value's shape for exact sizes."""
    return tuple(sizes.evaluate(d, known) for d in value.dims)  # pyright: ignore[reportArgumentType]


def fixed_count(dims: Sequence[sizes.Dim]) -> int | None:
    """The number of elements of dimensions that are all known as integers, else None."""
    counts = [d for d in dims if isinstance(d, int)]
    return math.prod(counts) if len(counts) == len(dims) else None


def dtype_of(value: Value) -> DType:
    """A value's dtype, which is known."""
    assert value.dtype is not None
    return value.dtype


def place(places: Mapping[Value, Place], value: Value) -> Ref:
    """The buffer that a dense value is."""
    found = places[value]
    return Ref(found.root, found.view.offset)


def cut(count: int, bytes_each: int) -> tuple[int, int]:
    """How many of `count` pieces of work a tile takes, and how many tiles there are: at least one."""
    tile = max(1, TILE_BYTES // max(bytes_each, 1))
    return tile, max(1, -(-count // tile))


def call(
    node: Node,
    places: Mapping[Value, Place],
    data: Sequence[int],
    bind: Callable[[Known], Sequence[Bind]],
    raises: bool = False,
    writes: Sequence[int] = (),
    partials: Callable[[Known], dict[Partial, int]] = lambda known: {},
) -> Call:
    """The call of a node.

    Args:
        data: the inputs that it reads.
        bind: its kernels' calls for exact sizes.
        raises: whether they report errors.
        writes: the variables that they change, beside the outputs.
        partials: the storage that they share with each other.
    """
    operands = {i: place(places, node.inputs[i]) for i in data}
    return Call(
        node.opdef.name,
        (node,),
        tuple(dict.fromkeys(places[node.inputs[i]].root for i in data)),
        (*node.outputs, *(node.inputs[i] for i in writes)),
        (),
        lambda known: (list(bind(known)), partials(known)),
        operands if raises else None,
    )


def bound(table: Sequence[int], tiles: int, scratch: int = 0) -> Bound:
    """A kernel's sizes, tiles and scratch."""
    return Bound(tuple(table), tiles, scratch)


# ---------------------------------------------------------------- code that several kernels share


def report(f: ir.Function, status: str) -> None:
    """Says in the status block that an input is not valid; what is wrong, the NumPy kernel says."""
    f.do(f"store atomic i64 {errors.INVALID_ARGUMENT}, ptr {status} monotonic, align 8")


def load_index(f: ir.Function, dtype: DType, source: str, place_: str) -> str:
    """An integer of an array as i64."""
    kind = ir.MEMORY[dtype]
    value = f.load(kind, f.at(kind, source, place_), align=dtype.size)
    return value if kind == ir.I64 else f.value(f"sext {kind} {value} to i64")


def copy_elements(f: ir.Function, dtype: DType, target: str, source: str, count: str | int) -> None:
    """Copies neighbouring elements; a count that is compiled in becomes a few vector instructions."""
    if count == 1:
        kind = ir.MEMORY[dtype]
        f.store(kind, f.load(kind, source, align=dtype.size), target, align=dtype.size)
        return
    length = count * dtype.size if isinstance(count, int) else f.mul(count, dtype.size)
    align = f"align {dtype.size}"
    f.do(
        f"call void @llvm.memcpy.p0.p0.i64(ptr {align} {target}, ptr {align} {source}, i64 {length}, i1 false)"
    )


@contextmanager
def each_bit(f: ir.Function, bits: str) -> Generator[str]:
    """A loop over the bits that are set in an i64 variable, from the lowest on: the number of each. It clears them."""
    with f.as_long_as(lambda: f.value(f"icmp ne i64 {f.load(ir.I64, bits)}, 0"), "bits"):
        left = f.load(ir.I64, bits)
        f.store(ir.I64, f.value(f"and i64 {left}, {f.sub(left, 1)}"), bits)
        yield f.value(f"call i64 @llvm.cttz.i64(i64 {left}, i1 true)")


def search(f: ir.Function, low: str, high: str, holds: Callable[[str], str]) -> None:
    """Sets `low` to the first number from it up to `high` for which something holds that holds for all behind it.

    How many steps there are follows from the distance alone, and the choice in each is no branch: half of all branches
    would be taken, and none could be predicted.
    """
    left = f.variable(ir.I64, f.sub(f.load(ir.I64, high), f.load(ir.I64, low)), "left")
    with f.as_long_as(lambda: f.value(f"icmp sgt i64 {f.load(ir.I64, left)}, 0"), "search"):
        count, first = f.load(ir.I64, left), f.load(ir.I64, low)
        behind = f.add(first, f.div(f.add(count, 1), 2))
        is_before = holds(f.sub(behind, 1))
        chosen = f.value(f"select i1 {is_before}, i64 {first}, i64 {behind}, !unpredictable !{{}}")
        f.store(ir.I64, chosen, low)
        f.store(ir.I64, f.div(count, 2), left)
