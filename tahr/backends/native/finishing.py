"""Kernels of matrix products: a walk, which is shared, and the epilogue, which is theirs."""

from __future__ import annotations

from tahr.backends.native import fetching, ir, kernel
from tahr.backends.native.epilogue import FULL, Segment, addresses, emit
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.micro import ARGUMENTS as MICRO
from tahr.backends.native.products import (
    FINISH,
    LOOP_METADATA,
    WALK,
    Product,
    call,
    declaration,
    loop,
    mask,
)
from tahr.backends.native.target import Target


def kernel_of(
    product: Product, walk: Kernel, target: Target, way: str, micro: Kernel | None = None
) -> Kernel:
    """The kernel of a product; buffers are A, B, the epilogue's operands, then its outputs.

    Args:
        walk: computes A B.
        way: how it does that, for people.
        micro: the micro-kernel that the blocked walk is to use.
    """
    lanes = target.lanes(product.accumulated.size)
    f = kernel.function()
    arguments = [f"%{name}" for _, name in kernel.ARGUMENTS]
    part = f"@{micro.symbol}" if micro else "null"
    call(f, f"@{walk.symbol}", WALK, *arguments, "@finish", "@arrays", part)
    functions = [_finish(product, lanes, target.has("avx512f")), _arrays(product), f.finish(), LOOP_METADATA]
    declarations = [declaration(walk.symbol, WALK)]
    if micro:
        declarations.append(declaration(micro.symbol, MICRO))
    text = AS_WRITTEN + ir.module(functions, declarations)
    return Kernel(text, walk.scratch, product.title(way), (walk, micro) if micro else (walk,))


def _operands(f: ir.Function, product: Product) -> list[str]:
    """The addresses of the epilogue's operands and outputs."""
    epilogue = product.epilogue
    return [kernel.buffer(f, 2 + i) for i in range(len(epilogue.operands) + len(epilogue.outputs))]


def _finish(product: Product, lanes: int, masks: bool) -> str:
    """The function that computes the epilogue of a block of C."""
    f = ir.Function("finish", FINISH, attributes=kernel.ATTRIBUTES, linkage="internal", plain=True)
    epilogue, dtype = product.epilogue, product.accumulated
    buffers = _operands(f, product)

    def segments(at: str, run: Segment) -> None:
        column, first = f.add("%column", at), f.add("%offset", at)
        with loop(f, 0, "%rows", hint="row") as row:
            places = addresses(f, epilogue, buffers, column, f.add(first, f.mul(row, "%leading")))
            products = f.at(ir.MEMORY[dtype], "%source", f.add(f.mul(row, "%pitch"), at))
            emit(f, epilogue, Segment(run.width).load(f, dtype, products), places, run)

    if masks:
        with loop(f, 0, "%columns", lanes, hint="column") as at:
            segments(at, Segment(lanes, mask(f, lanes, f.sub("%columns", at))))
    else:
        whole = f.mul(f.div("%columns", lanes), lanes)
        with loop(f, 0, whole, lanes, hint="column") as at:
            segments(at, Segment(lanes))
        with loop(f, whole, "%columns", hint="column") as at:
            segments(at, Segment())
    return f.finish()


def _arrays(product: Product) -> str:
    """The table of the arrays that lie as C does."""
    epilogue = product.epilogue
    every = [(operand.dtype, operand.access) for operand in epilogue.operands]
    every += [(output.dtype, FULL) for output in epilogue.outputs]
    found = [(number, dtype.size) for number, (dtype, access) in enumerate(every, 2) if access == FULL]
    return fetching.table("arrays", found)
