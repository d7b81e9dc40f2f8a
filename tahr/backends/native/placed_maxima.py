"""Max pooling that says where the maxima are, `tf.nn.max_pool_with_argmax`, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tahr.backends.native import ir, kernel, pooling, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import InPictures
from tahr.ops.layouts import spatial
from tahr.ops.windows import window_geometry
from tahr.program.node import Node, Value


def _spec(node: Node) -> pooling.Spec:
    window, strides = (spatial(node.attrs[name], "NHWC") for name in ("ksize", "strides"))
    x = node.inputs[0]
    assert x.shape is not None and isinstance(x.shape[-1], int)
    return pooling.Spec(single.dtype_of(x), window, strides, x.shape[-1])


def _fits(node: Node) -> bool:
    if not single.are_plain(node, (0,)):
        return False
    shape = node.inputs[0].shape
    assert shape is not None
    return isinstance(shape[-1], int) and shape[-1] > 0


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    x, spec = node.inputs[0], _spec(node)
    numbers = single.dtype_of(node.outputs[1])
    made = pooling.max_pool_with_places(spec, numbers, node.attrs["include_batch_in_index"])
    buffers = (single.place(places, x), *map(Ref, node.outputs))

    def bind(known: Known) -> list[Bind]:
        batch, *image, _ = single.exact(x, known)
        out, padding = window_geometry(image, spec.window, spec.strides, (1, 1), node.attrs["padding"])
        table = pooling.sizes(spec, out, image, [pair[0] for pair in padding if pair is not None])
        return [Bind(made, buffers, single.bound(table, pooling.tiles(table, batch)))]

    return single.call(node, places, (0,), bind)


PLACED_MAXIMA = Single(_fits, lambda node: (0,), _call)


# ---------------------------------------------------------------- gradients


def in_pictures(dtype: DType, places: DType, is_adjoint: bool) -> Kernel:
    """Takes elements of pictures by their numbers; or adds them up there, one after the other.

    Buffers: source, numbers, target, status. Sizes: pictures in a tile, pictures, numbers for each, elements of each.
    """
    f = kernel.function()
    source, numbers, target, status = (kernel.buffer(f, i) for i in range(4))
    tile, pictures, count, length = kernel.sizes(f, 4)
    memory = ir.MEMORY[dtype]
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), pictures), hint="picture") as i:
            parts, wholes = f.mul(i, count), f.mul(i, length)
            if is_adjoint:
                begin, size = f.at(memory, target, wholes), f.mul(length, dtype.size)
                f.do(f"call void @llvm.memset.p0.i64(ptr {begin}, i8 0, i64 {size}, i1 false)")
            with f.loop(parts, f.add(parts, count), hint="element") as part:
                place = single.load_index(f, places, numbers, part)
                with f.either(f.value(f"icmp ult i64 {place}, {length}")) as branches:
                    whole = f.add(wholes, place)
                    if is_adjoint:
                        _add(f, dtype, f.at(memory, target, whole), f.at(memory, source, part))
                    else:
                        single.copy_elements(
                            f, dtype, f.at(memory, target, part), f.at(memory, source, whole), 1
                        )
                    branches.otherwise()
                    single.report(f, status)
    what = "sums in pictures" if is_adjoint else "elements of pictures"
    return Kernel(kernel.AS_WRITTEN + f.finish() + "\n", 0, f"{what} {dtype.name} by {places.name}")


def _add(f: ir.Function, dtype: DType, target: str, source: str) -> None:
    """Adds an element to another; halves are rounded every time."""
    memory, element = ir.MEMORY[dtype], scalars.kind(dtype)
    a, b = (scalars.from_memory(f, dtype, f.load(memory, at, align=dtype.size)) for at in (target, source))
    total = f.value(f"{'fadd' if dtype.is_floating else 'add'} {element} {a}, {b}")
    f.store(memory, scalars.to_memory(f, dtype, total), target, align=dtype.size)


def _taken_fits(node: Node) -> bool:
    """Shape rules look at the pictures and the numbers alone."""
    if not single.are_plain(node, (0, 1, 2)):
        return False
    form, (pictures, source, numbers) = node.opdef.form, (v.shape for v in node.inputs)
    assert isinstance(form, InPictures) and pictures and numbers
    like = numbers if form.is_adjoint else pictures
    return shapes.surely_equal(source, like) and sizes.surely_equal(pictures[0], numbers[0])


def _taken_call(node: Node, places: Mapping[Value, Place]) -> Call:
    form, (pictures, source, numbers), output = node.opdef.form, node.inputs, node.outputs[0]
    assert isinstance(form, InPictures)
    dtype = single.dtype_of(output)
    made = in_pictures(dtype, single.dtype_of(numbers), form.is_adjoint)
    buffers = (single.place(places, source), single.place(places, numbers), Ref(output), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        batch, *whole = single.exact(pictures, known)
        total = math.prod(single.exact(numbers, known))
        if node.attrs["include_batch_in_index"]:
            whole, batch = [batch, *whole], 1
        length = math.prod(whole)
        tile, tiles = single.cut(batch, length * dtype.size)
        return [Bind(made, buffers, single.bound((tile, batch, total // max(batch, 1), length), tiles))]

    return single.call(node, places, (1, 2), bind, raises=True)


IN_PICTURES = Single(_taken_fits, lambda node: (1, 2), _taken_call)
