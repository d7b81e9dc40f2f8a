"""Convolutions and pooling as calls of kernels.

Kernels want channels last, and know windows and channels; batch and sizes come with each run. Where several kernels
work for one node (images with the channels in front are copied, a filter is mirrored first, partial gradients are added
up at the end), what they hand to each other is storage that only this call uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tahr.backends.native import (
    convolution,
    depthwise,
    filter_gradients,
    gemm,
    nest_kernels,
    nests,
    pooling,
    single,
)
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref
from tahr.backends.native.epilogue import Epilogue
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.multiplication import Multiplication
from tahr.backends.native.nests import Access, Bound, Nest
from tahr.core import dtypes, scalar, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import Window
from tahr.core.opdef import known_value
from tahr.core.sizes import Dim
from tahr.core.views import dense_strides
from tahr.ops import layouts
from tahr.ops.windows import Padding, window_geometry
from tahr.program.node import Node, Value, attrs_key

_CONVOLUTIONS = ("convolution", "depthwise")


class _Exact(NamedTuple):
    """Exact sizes: spatial ones of the images and of the output, and the padding before each dimension."""

    known: Known
    batch: int
    sizes: tuple[int, ...]
    out: tuple[int, ...]
    low: tuple[int, ...]


@dataclass(frozen=True)
class _Windows:
    """The windows of a node.

    Attributes:
        kind, adjoint: those of the node's form.
        dtype: of everything.
        images, out: the shapes of the images, and of what the windows give (or its gradient), channels last.
        window, strides, dilations: one number for each spatial dimension.
        padding: as `window_geometry` wants it.
    """

    kind: str
    adjoint: str
    dtype: DType
    images: tuple[Dim, ...]
    out: tuple[Dim, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: Padding

    @property
    def inputs(self) -> int:
        """Channels of the images."""
        assert isinstance(self.images[-1], int)
        return self.images[-1]

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        assert isinstance(self.out[-1], int)
        return self.out[-1]

    @property
    def is_product(self) -> bool:
        """Whether each pixel of the output is the product of a pixel and the filter."""
        is_padded = not isinstance(self.padding, str) and any(map(any, self.padding))
        return self.kind == "convolution" and convolution.is_product(self.convolved) and not is_padded

    @property
    def convolved(self) -> convolution.Spec:
        """The convolution as its kernels know it."""
        wide = (self.images if self.adjoint == "images" else self.out)[-2]
        width = -(-wide // (self.strides[-1] if self.adjoint == "images" else 1))
        return convolution.Spec(
            self.dtype,
            self.window,
            self.strides,
            self.dilations,
            self.inputs,
            self.outputs,
            width if isinstance(width, int) else None,
        )

    @property
    def channelwise(self) -> depthwise.Spec:
        """The depthwise convolution as its kernels know it."""
        multiplier = self.outputs // self.inputs
        return depthwise.Spec(self.dtype, self.window, self.strides, self.dilations, self.inputs, multiplier)

    @property
    def pooled(self) -> pooling.Spec:
        """The pooling as its kernels know it."""
        return pooling.Spec(self.dtype, self.window, self.strides, self.inputs)

    def exact(self, known: Known) -> _Exact:
        """Exact sizes."""
        batch, *image = (sizes.evaluate(d, known) for d in self.images[:-1])  # pyright: ignore[reportArgumentType]
        out, padding = window_geometry(image, self.window, self.strides, self.dilations, self.padding)
        return _Exact(known, batch, tuple(image), out, tuple(pair[0] for pair in padding if pair is not None))


# ---------------------------------------------------------------- which nodes


def fits(node: Node) -> bool:
    """Whether there is a kernel for a node: its dtypes, layout, and what is known of its inputs."""
    return _windows(node) is not None


def takes_epilogue(node: Node) -> bool:
    """Whether element-wise nodes may be fused onto a node's output."""
    form = node.opdef.form
    is_channels_last = not _is_channels_first(node)
    return (
        isinstance(form, Window)
        and form.kind == "convolution"
        and form.adjoint != "filter"
        and is_channels_last
    )


def _is_channels_first(node: Node) -> bool:
    return node.attrs["data_format"][1] == "C"


def _windows(node: Node) -> _Windows | None:
    """A node's windows; None where there is no kernel for them."""
    form, attrs = node.opdef.form, node.attrs
    assert isinstance(form, Window)
    if (form.kind, form.adjoint) not in _STEPS:
        return None
    dtype = single.dtype_of(node.outputs[0])
    if any(v.dtype != dtype for v in _data(node)):
        return None
    if form.kind in _CONVOLUTIONS and dtype not in (dtypes.float32, dtypes.float64):
        return None
    if form.sizes is not None and known_value(node.inputs[form.sizes].spec) is None:
        return None
    images = _images_shape(node, node.outputs[0] if form.adjoint in ("images", "ties") else node.inputs[0])
    gives_images = form.adjoint not in ("", "taken")
    out = _images_shape(node, node.inputs[-1] if gives_images else node.outputs[0])
    if form.kind in _CONVOLUTIONS:
        window = _window_of_filter(node, images[-1], out[-1])
    else:
        window = layouts.spatial(attrs["ksize"], attrs["data_format"])
    if window is None or not all(isinstance(n, int) and n > 0 for n in (*window, images[-1], out[-1])):
        return None
    found = _Windows(
        form.kind,
        form.adjoint,
        dtype,
        images,
        out,
        window,
        layouts.spatial(attrs["strides"], attrs["data_format"]),
        layouts.spatial(attrs.get("dilations", (1,) * len(images)), attrs["data_format"]),
        layouts.spatial_padding(attrs["padding"], attrs.get("explicit_paddings", ()), attrs["data_format"]),
    )
    return found if _is_consistent(found, node) else None


def _window_of_filter(node: Node, inputs: Dim, outputs: Dim) -> tuple[int, ...] | None:
    """A convolution's window; None where its filter does not fit to the channels, or to several groups of them."""
    form = node.opdef.form
    assert isinstance(form, Window)
    *window, ins, last = (node.outputs[0] if form.adjoint == "filter" else node.inputs[1]).dims
    if ins != inputs or outputs != (last if form.kind == "convolution" else ins * last):
        return None
    return tuple(window)  # pyright: ignore[reportReturnType]


def _is_consistent(windows: _Windows, node: Node) -> bool:
    """Whether the shapes of a node's inputs surely are what its windows ask for; NumPy's kernels complain."""
    batch, *image, _ = windows.images
    try:
        out = window_geometry(image, windows.window, windows.strides, windows.dilations, windows.padding).out
    except ValueError:
        return False
    expected = (batch, *out, windows.outputs)
    if windows.kind == "maximum" and windows.adjoint:
        # It gets the maxima and their gradient, and its shape rule does not look at them.
        given = [_images_shape(node, v) for v in node.inputs[1:]]
        wanted = (expected, windows.images if windows.adjoint == "taken" else expected)
        return all(map(shapes.surely_equal, given, wanted))
    # Shape rules compare batches: those that are not known yet, when they are.
    mine = windows.out[0]
    same_batch = sizes.surely_equal(mine, batch) or not (isinstance(mine, int) and isinstance(batch, int))
    return same_batch and all(map(sizes.surely_equal, windows.out[1:], expected[1:]))


def _images_shape(node: Node, value: Value) -> tuple[Dim, ...]:
    """The shape of images with the channels last."""
    batch, *rest = value.dims
    return (batch, *rest[1:], rest[0]) if _is_channels_first(node) else (batch, *rest)


# ---------------------------------------------------------------- calls


def call(
    nodes: Sequence[Node],
    places: Mapping[Value, Place],
    epilogue: Epilogue,
    operands: Sequence[Ref],
    outputs: Sequence[Value],
    peers: Collection[Node] = (),
) -> Call:
    """The call of a node and what is fused onto it.

    Args:
        nodes: the node, then the others.
        places: where values lie; each input that is data is dense.
        epilogue: what is computed of each element of the node's first output.
        operands: the epilogue's operands.
        outputs: where its expressions go.
        peers: the nodes that run in the same segment.
    """
    node = nodes[0]
    windows = _windows(node)
    assert windows is not None
    given = _data(node)
    data = [single.place(places, v) for v in given]
    results = (*operands, *(Ref(v) for v in outputs))
    kernels: tuple[Kernel, ...] = ()
    if windows.is_product and windows.adjoint != "filter" and not _is_channels_first(node):
        bind = _product(windows, epilogue).binder((*_factors(windows, data), *results))
    else:
        job = _Job(node, windows, data, results, epilogue, peers)
        steps = _channels_last(job) if _is_channels_first(node) else _steps(job)
        kernels = tuple(s.kernel for s in steps)
        bind = _binder(windows, steps)
    reads = [r.storage for r in (*data, *operands) if isinstance(r.storage, Value)]
    title = " ".join(dict.fromkeys(n.opdef.name for n in nodes))
    return Call(title, tuple(nodes), tuple(dict.fromkeys(reads)), tuple(outputs), kernels, bind)


def _data(node: Node) -> list[Value]:
    form = node.opdef.form
    assert isinstance(form, Window)
    return [v for i, v in enumerate(node.inputs) if i != form.sizes]


@dataclass(frozen=True)
class _Job:
    """What the steps of a node are made from: its data, and where results go, behind the epilogue's operands.

    Its peers are the nodes of its segment.
    """

    node: Node
    windows: _Windows
    data: Sequence[Ref]
    results: tuple[Ref, ...]
    epilogue: Epilogue
    peers: Collection[Node]


@dataclass(frozen=True)
class _Step:
    """One kernel.

    Attributes:
        kernel: what is called.
        buffers: what it is given.
        bound: its sizes and tiles for exact sizes.
        makes: partial results that it writes, and how many elements of them there are.
    """

    kernel: Kernel
    buffers: tuple[Ref, ...]
    bound: Callable[[_Exact], Bound]
    makes: Mapping[Partial, Callable[[_Exact], int]] = field(
        default_factory=dict[Partial, Callable[[_Exact], int]]
    )


def _binder(
    windows: _Windows, steps: Sequence[_Step]
) -> Callable[[Known], tuple[list[Bind], dict[Partial, int]]]:
    def bind(known: Known) -> tuple[list[Bind], dict[Partial, int]]:
        exact = windows.exact(known)
        binds = [Bind(step.kernel, step.buffers, step.bound(exact)) for step in steps]
        return binds, {partial: count(exact) for step in steps for partial, count in step.makes.items()}

    return bind


def _steps(job: _Job) -> list[_Step]:
    return _STEPS[job.windows.kind, job.windows.adjoint](job)


# ---------------------------------------------------------------- channels in front


def _channels_last(job: _Job) -> list[_Step]:
    """The steps for images with the channels in front: copies have them last."""
    node, windows = job.node, job.windows
    before: list[_Step] = []
    data: list[Ref] = []
    filters = {"": 1, "images": 0}.get(windows.adjoint) if windows.kind in _CONVOLUTIONS else None
    for i, (value, ref) in enumerate(zip(_data(node), job.data)):
        if i == filters:
            data.append(ref)
            continue
        copy = Ref(Partial(value, windows.dtype, "channels last"))
        before.append(_copy(windows.dtype, _images_shape(node, value), ref, copy, to_front=False))
        data.append(copy)
    if windows.adjoint == "filter":
        return [*before, *_steps(replace(job, data=data))]
    result = node.outputs[0]
    shape = _images_shape(node, result)
    partial = Partial(result, windows.dtype, "channels last")
    last = Ref(partial)
    steps = _steps(replace(job, data=data, results=(last,)))
    return [
        *before,
        *steps[:-1],
        replace(steps[-1], makes={**steps[-1].makes, partial: _count(shape)}),
        _copy(windows.dtype, shape, last, job.results[0], to_front=True),
    ]


def _channels_first_strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """The strides of images that lie with the channels in front, for a shape with the channels last."""
    batch, channel, *spatial = dense_strides((shape[0], shape[-1], *shape[1:-1]))
    return (batch, *spatial, channel)


def _copy(dtype: DType, shape: Sequence[Dim], source: Ref, target: Ref, to_front: bool) -> _Step:
    """Copies images from channels in front to channels last, or `to_front`, in the order in which they are written.

    Args:
        shape: with the channels last.
    """
    if to_front:
        batch, *spatial, channel = dense_strides(shape)
        strides = (batch, channel, *spatial)
        shape = (shape[0], shape[-1], *shape[1:-1])
    else:
        strides = _channels_first_strides(shape)
    read, written = Access(dtype, strides), Access(dtype, dense_strides(shape))
    nest = Nest((), tuple(shape), (read,), (), ((scalar.leaf(0, dtype), written),))
    loop = nest_kernels.compiled(nests.collapsed(nest), "images in another layout")
    makes = {target.storage: _count(shape)} if isinstance(target.storage, Partial) else {}
    return _Step(loop.kernel, (source, target), lambda e: loop.bind(e.known), makes)


def _count(shape: Sequence[Dim]) -> Callable[[_Exact], int]:
    return lambda e: math.prod(sizes.evaluate(d, e.known) for d in shape)  # pyright: ignore[reportArgumentType]


# ---------------------------------------------------------------- convolutions


def _factors(windows: _Windows, data: Sequence[Ref]) -> Sequence[Ref]:
    """The matrices of pixels and of weights."""
    return data if not windows.adjoint else data[::-1]


def _product(windows: _Windows, epilogue: Epilogue) -> Multiplication:
    """A convolution that is a product: of pixels [pixels, inputs] and the filter [inputs, outputs].

    Its adjoint by the images is that of dy [pixels, outputs] and the transposed filter.
    """
    is_adjoint = bool(windows.adjoint)
    pixels: Dim = 1
    for dim in windows.images[:-1]:
        pixels = pixels * dim
    n, k = (windows.inputs, windows.outputs)[:: 1 if is_adjoint else -1]
    product = gemm.Product(windows.dtype, False, is_adjoint, epilogue)
    return Multiplication(product, pixels, n, k, k, windows.outputs)


def _convolved(job: _Job) -> list[_Step]:
    spec = job.windows.convolved

    def bound(e: _Exact) -> Bound:
        found = convolution.forward_sizes(spec, e.batch, e.sizes, e.out, e.low)
        return Bound(tuple(found), convolution.forward_tiles(spec, found))

    if not convolution.may_pack(spec):
        return [_Step(convolution.forward(spec, job.epilogue), (*job.data, *job.results), bound)]
    packed = Partial(job.node.outputs[0], spec.dtype, "packed filter")
    size = convolution.packed_elements(spec)

    def packing(e: _Exact) -> Bound:
        return Bound((), convolution.pack_tiles(spec, bound(e).sizes))

    return [
        _Step(convolution.pack(spec), (job.data[1], Ref(packed)), packing, {packed: lambda e: size}),
        _Step(convolution.forward(spec, job.epilogue), (*job.data, Ref(packed), *job.results), bound),
    ]


def _convolved_to_images(job: _Job) -> list[_Step]:
    spec = job.windows.convolved
    filters, dy = job.data
    packed = Partial(job.node.outputs[0], spec.dtype, "mirrored filter")

    def bound(e: _Exact) -> Bound:
        found = convolution.to_data_sizes(spec, e.batch, e.sizes, e.out, e.low)
        return Bound(tuple(found), convolution.to_data_tiles(spec, found))

    mirrored = Bound(tuple(convolution.mirror_sizes(spec)), convolution.mirror_tiles(spec))
    size = convolution.mirrored_elements(spec)
    return [
        _Step(convolution.mirror(spec), (filters, Ref(packed)), lambda e: mirrored, {packed: lambda e: size}),
        _Step(convolution.to_data(spec, job.epilogue), (dy, Ref(packed), *job.results), bound),
    ]


def _convolved_to_filter(job: _Job) -> list[_Step]:
    spec = job.windows.convolved

    def bound(e: _Exact) -> Bound:
        found = filter_gradients.to_filter_sizes(spec, e.batch, e.sizes, e.out, e.low)
        return Bound(tuple(found), filter_gradients.to_filter_tiles(spec, found))

    return _added_up(job, filter_gradients.to_filter(spec), bound, filter_gradients.splits(spec))


def _added_up(job: _Job, kernel: Kernel, bound: Callable[[_Exact], Bound], splits: int) -> list[_Step]:
    """The gradient of a filter: several partial ones, and their sum."""
    if splits == 1:
        return [_Step(kernel, (*job.data, *job.results), bound)]
    gradient, dtype = job.node.outputs[0], job.windows.dtype
    partial = Partial(gradient, dtype)
    elements = math.prod(d for d in gradient.dims if isinstance(d, int))
    total = Bound((splits, elements), nest_kernels.combiner_tiles(elements))
    return [
        _Step(kernel, (*job.data, Ref(partial)), bound, {partial: lambda e: splits * elements}),
        _Step(nest_kernels.combiner("add", dtype, dtype), (Ref(partial), *job.results), lambda e: total),
    ]


def _depthwise(job: _Job) -> list[_Step]:
    spec = job.windows.channelwise

    def bound(e: _Exact) -> Bound:
        found = depthwise.sizes(spec, e.out, e.sizes, e.low)
        return Bound(tuple(found), depthwise.tiles(found, e.batch))

    return [_Step(depthwise.forward(spec), (*job.data, *job.results), bound)]


def _depthwise_to_images(job: _Job) -> list[_Step]:
    spec = job.windows.channelwise

    def bound(e: _Exact) -> Bound:
        found = depthwise.sizes(spec, e.sizes, e.out, e.low)
        return Bound(tuple(found), depthwise.tiles(found, e.batch))

    filters, dy = job.data
    return [_Step(depthwise.to_data(spec), (dy, filters, *job.results), bound)]


def _depthwise_to_filter(job: _Job) -> list[_Step]:
    spec = job.windows.channelwise
    splits = depthwise.splits(spec)
    return _added_up(
        job,
        depthwise.to_filter(spec),
        lambda e: Bound(tuple(depthwise.to_filter_sizes(e.batch, e.sizes, e.out, e.low)), splits),
        splits,
    )


# ---------------------------------------------------------------- pooling


def _over_output(spec: pooling.Spec) -> Callable[[_Exact], Bound]:
    """The table of a kernel that goes through the output."""

    def bound(e: _Exact) -> Bound:
        found = pooling.sizes(spec, e.out, e.sizes, e.low)
        return Bound(tuple(found), pooling.tiles(found, e.batch))

    return bound


def _over_images(spec: pooling.Spec) -> Callable[[_Exact], Bound]:
    """The table of a kernel that goes through the images."""

    def bound(e: _Exact) -> Bound:
        found = pooling.sizes(spec, e.sizes, e.out, e.low)
        return Bound(tuple(found), pooling.tiles(found, e.batch))

    return bound


def _maxima(job: _Job) -> list[_Step]:
    """The maxima, and for their gradient, if it is in the same segment, which taps won."""
    spec = job.windows.pooled
    if not any(_pooling_of(peer) is job.node for peer in job.peers):
        return [_Step(pooling.max_pool(spec), (*job.data, *job.results), _over_output(spec))]
    winners, count = _winners(job.node, spec)
    buffers = (*job.data, *job.results, Ref(winners))
    return [_Step(pooling.max_pool(spec, indices=True), buffers, _over_output(spec), {winners: count})]


def _maxima_to_images(job: _Job) -> list[_Step]:
    """By the numbers of the taps that won, which are found out first unless the maxima's kernel has kept them."""
    spec = job.windows.pooled
    x, y, dy = job.data
    pool = _pooling_of(job.node)
    is_kept = pool in job.peers
    winners, count = _winners(pool if pool is not None and is_kept else job.node, spec)
    gradient = _Step(pooling.max_pool_grad(spec), (Ref(winners), dy, *job.results), _over_images(spec))
    if is_kept:
        return [gradient]
    find = pooling.max_pool_indices(spec)
    return [_Step(find, (x, y, Ref(winners)), _over_output(spec), {winners: count}), gradient]


def _pooling_of(node: Node) -> Node | None:
    """The node whose maxima a node is the gradient of, if they are maxima of the same windows."""
    form = node.opdef.form
    if not isinstance(form, Window) or (form.kind, form.adjoint) != ("maximum", "images"):
        return None
    pool = node.inputs[1].node
    is_pooling = pool.opdef.form == Window("maximum") and pool.inputs[0] is node.inputs[0]
    return pool if is_pooling and attrs_key(pool.attrs) == attrs_key(node.attrs) else None


def _winners(node: Node, spec: pooling.Spec) -> tuple[Partial, Callable[[_Exact], int]]:
    """The numbers of the taps that won: their storage, which pooling and its gradient may share."""
    partial = Partial(node.outputs[0], spec.indices, "winners")
    return partial, lambda e: e.batch * math.prod(e.out) * spec.channels


def _ties_to_images(job: _Job) -> list[_Step]:
    spec = job.windows.pooled
    return [_Step(pooling.max_pool_grad_of_ties(spec), (*job.data, *job.results), _over_images(spec))]


def _taken_at_maxima(job: _Job) -> list[_Step]:
    spec = job.windows.pooled
    return [_Step(pooling.max_pool_taken(spec), (*job.data, *job.results), _over_output(spec))]


def _means(job: _Job) -> list[_Step]:
    spec = job.windows.pooled
    return [_Step(pooling.avg_pool(spec), (*job.data, *job.results), _over_output(spec))]


def _means_to_images(job: _Job) -> list[_Step]:
    spec = job.windows.pooled
    return [_Step(pooling.avg_pool_grad(spec), (*job.data, *job.results), _over_images(spec))]


_STEPS: dict[tuple[str, str], Callable[[_Job], list[_Step]]] = {
    ("convolution", ""): _convolved,
    ("convolution", "images"): _convolved_to_images,
    ("convolution", "filter"): _convolved_to_filter,
    ("depthwise", ""): _depthwise,
    ("depthwise", "images"): _depthwise_to_images,
    ("depthwise", "filter"): _depthwise_to_filter,
    ("maximum", ""): _maxima,
    ("maximum", "images"): _maxima_to_images,
    ("maximum", "ties"): _ties_to_images,
    ("maximum", "taken"): _taken_at_maxima,
    ("mean", ""): _means,
    ("mean", "images"): _means_to_images,
}
