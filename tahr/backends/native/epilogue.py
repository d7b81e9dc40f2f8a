"""What is fused onto the end of a matrix product or a convolution: its bias, activation, gradient mask or update.

An epilogue is a handful of scalar expressions of the accumulated product and a few more operands, evaluated while the
product is still in registers. Each element's operands are read before its outputs are written, and nothing is read
again: an output may be the very buffer of an operand that has the output's layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tahr.backends.native import ir
from tahr.backends.native.scalars import from_memory, kind, lower, to_memory
from tahr.core import scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar

SCALAR, COLUMN, FULL = "scalar", "column", "full"


@dataclass(frozen=True)
class Operand:
    """One more input of an epilogue.

    Attributes:
        dtype: the type of its elements.
        access: "scalar", "column" (one element for each column or channel of the output: a bias) or "full" (the
            output's shape and layout).
    """

    dtype: DType
    access: str


@dataclass(frozen=True)
class Epilogue:
    """What is computed from each element of a product.

    Attributes:
        outputs: one expression for each output array; leaf 0 is the product, leaf i is operand i - 1.
        operands: the further inputs.
    """

    outputs: tuple[Scalar, ...]
    operands: tuple[Operand, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it stores the product and does nothing else."""
        return not self.operands and len(self.outputs) == 1 and self.outputs[0].op == "leaf"


def plain(dtype: DType) -> Epilogue:
    """The epilogue that stores the product itself."""
    return Epilogue((scalar.leaf(0, dtype),))


def accumulating(dtype: DType) -> Epilogue:
    """The epilogue that adds the product to operand 0, which may be the output's own buffer."""
    return Epilogue((scalar.leaf(1, dtype) + scalar.leaf(0, dtype),), (Operand(dtype, FULL),))


@dataclass(frozen=True)
class Segment:
    """A run of elements of one row: one vector, or a single element.

    Attributes:
        width: how many elements; None for a scalar.
        mask: the `<width x i1>` of those that exist; None if all do.
    """

    width: int | None = None
    mask: str | None = None

    def type(self, element: str) -> str:
        """The LLVM type of a segment's elements."""
        return element if self.width is None else ir.vector(self.width, element)

    def load(self, f: ir.Function, dtype: DType, address: str) -> str:
        """The elements at an address, as what they are computed as."""
        element = ir.MEMORY[dtype]
        memory, align = self.type(element), dtype.size
        if self.mask is None:
            return from_memory(f, dtype, f.load(memory, address, align), self.width)
        mask = f"{self.type(ir.I1)} {self.mask}"
        loaded = f.value(
            f"call {memory} @llvm.masked.load.v{self.width}{_SUFFIX[element]}.p0"
            f"(ptr align {align} {address}, {mask}, {memory} zeroinitializer)"
        )
        return from_memory(f, dtype, loaded, self.width)

    def store(self, f: ir.Function, dtype: DType, value: str, address: str) -> None:
        """Writes computed elements to an address."""
        self.write(f, dtype, to_memory(f, dtype, value, self.width), address)

    def write(self, f: ir.Function, dtype: DType, value: str, address: str) -> None:
        """Writes elements, as they are in memory, to an address."""
        element = ir.MEMORY[dtype]
        memory, align = self.type(element), dtype.size
        if self.mask is None:
            f.store(memory, value, address, align)
            return
        f.do(
            f"call void @llvm.masked.store.v{self.width}{_SUFFIX[element]}.p0"
            f"({memory} {value}, ptr align {align} {address}, {self.type(ir.I1)} {self.mask})"
        )

    def splat(self, f: ir.Function, element: str, value: str) -> str:
        """One value for every element."""
        return value if self.width is None else broadcast(f, self.width, element, value)


_SUFFIX = {kind: kind for kind in (ir.I1, ir.I8, "i16", ir.I32, ir.I64)} | {
    "half": "f16",
    "bfloat": "bf16",
    ir.F32: "f32",
    ir.F64: "f64",
}


def broadcast(f: ir.Function, width: int, element: str, value: str) -> str:
    """The vector of a scalar's copies."""
    copies = ir.vector(width, element)
    first = f.value(f"insertelement {copies} poison, {element} {value}, i64 0")
    order = f"{ir.vector(width, ir.I32)} zeroinitializer"
    return f.value(f"shufflevector {copies} {first}, {copies} poison, {order}", "all")


def addresses(
    f: ir.Function, epilogue: Epilogue, buffers: Sequence[str], column: str | int, offset: str | int
) -> list[str]:
    """Where a segment's operands and outputs are.

    Args:
        buffers: the first addresses of the epilogue's operands, then of its outputs.
        column: the segment's first column.
        offset: the segment's first element, counted from the output's start.
    """
    operands = zip(epilogue.operands, buffers)
    places = [
        base if operand.access == SCALAR else
        f.at(ir.MEMORY[operand.dtype], base, column if operand.access == COLUMN else offset)
        for operand, base in operands
    ]  # fmt: skip
    outputs = zip(epilogue.outputs, buffers[len(epilogue.operands) :])
    return places + [f.at(ir.MEMORY[output.dtype], base, offset) for output, base in outputs]


def emit(
    f: ir.Function, epilogue: Epilogue, accumulators: str, places: Sequence[str], segment: Segment
) -> None:
    """Computes the outputs of one segment, and stores them.

    Args:
        accumulators: the segment's products, in the type that leaf 0 is computed as.
        places: what `addresses` gave for this segment.
    """
    leaves = [accumulators]
    for operand, place in zip(epilogue.operands, places):
        if operand.access == SCALAR:
            loaded = Segment().load(f, operand.dtype, place)
            leaves.append(segment.splat(f, kind(operand.dtype), loaded))
        else:
            leaves.append(segment.load(f, operand.dtype, place))
    results = lower(f, epilogue.outputs, leaves, width=segment.width)
    for output, result, place in zip(epilogue.outputs, results, places[len(epilogue.operands) :]):
        segment.store(f, output.dtype, result, place)
