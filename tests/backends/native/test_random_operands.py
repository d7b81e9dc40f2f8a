"""Each form of computation on random operands, natively against NumPy: values and gradients.

A graph runs for two sets of sizes and the first again, in watched memory (see `hostile`), with one plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import tahr as tf
from tests.backends.native.hostile import hostile
from tests.backends.native.operands import Dims, Maker, Misfit, Term
from tests.backends.native.test_random_graphs import check

NUMBERS = st.lists(st.integers(0, 255), min_size=20, max_size=60)
DTYPES = st.sampled_from(["float64", "float64", "float32", "bfloat16"])


def product(make: Maker) -> Term:
    """Matrices in any transposition, with batches that broadcast."""
    batch, (m, k, n) = make.dims(0, 2), (make.dim() for _ in range(3))
    flip_a, flip_b = make.flip(), make.flip()
    a = make.operand((*_narrowed(make, batch), *((k, m) if flip_a else (m, k))))
    b = make.operand((*_narrowed(make, batch), *((n, k) if flip_b else (k, n))))
    return make.apply(lambda x, y: tf.matmul(x, y, transpose_a=flip_a, transpose_b=flip_b), a, b)


def _narrowed(make: Maker, dims: Dims) -> Dims:
    """Sizes that broadcast to others."""
    return tuple((1, 1) if make.number(4) == 0 else d for d in dims)


def pointwise(make: Maker) -> Term:
    """Two operands that broadcast."""
    dims = make.dims(0, 4)
    a, b = (make.operand(_narrowed(make, dims)[make.number(len(dims) + 1) :]) for _ in range(2))
    function = make.pick([tf.add, tf.multiply, tf.subtract, tf.squared_difference])
    return make.apply(function, a, b)


def reduction(make: Maker) -> Term:
    """Over any dimensions."""
    x = make.operand(make.dims(0, 4))
    axes, keep = [i for i in range(x.rank) if make.flip()], make.flip()
    function, jumps = make.pick(
        [(tf.reduce_sum, False), (tf.reduce_mean, False), (tf.reduce_max, True), (tf.reduce_logsumexp, False)]
    )
    return make.apply(lambda t: function(t, axes, keepdims=keep), x, exact=jumps, jumps=jumps)


def convolution(make: Maker) -> Term:
    """With windows that may be larger than the image."""
    ins, outs = make.pick([1, 2, 3, 8]), make.pick([1, 2, 3, 16])
    window, padding = [make.pick([1, 2, 3, 5]) for _ in range(2)], make.pick(["SAME", "VALID"])
    strides = [1, make.pick([1, 2]), make.pick([1, 2, 3]), 1]
    x = make.operand((make.dim(), make.dim(), make.dim(), (ins, ins)))
    w = make.operand(tuple((n, n) for n in (*window, ins, outs)))
    if make.number(3) == 0:
        strides[2] = strides[1]
        return make.apply(lambda a, b: tf.nn.depthwise_conv2d(a, b, strides, padding), x, w)
    return make.apply(lambda a, b: tf.nn.conv2d(a, b, strides=strides, padding=padding), x, w)


def pooling(make: Maker) -> Term:
    """Maxima and means of windows."""
    window = [1, make.pick([1, 2, 3, 7]), make.pick([1, 2, 4]), 1]
    strides, padding = [1, make.pick([1, 2, 3]), make.pick([1, 2]), 1], make.pick(["SAME", "VALID"])
    is_max = make.flip()
    function = tf.nn.max_pool if is_max else tf.nn.avg_pool
    x = make.operand(make.dims(4, 4))
    return make.apply(lambda a: function(a, window, strides, padding), x, exact=is_max, jumps=is_max)


def lookup(make: Maker) -> Term:
    """Rows by number: taken, or summed up."""
    dims = make.dims(1, 3)
    axis = make.number(len(dims))
    if make.flip():
        indices = make.indices(make.dims(0, 2), dims[axis])
        return make.apply(lambda x, i: tf.gather(x, i, axis=axis), make.operand(dims), indices)
    indices = make.indices(dims[:1], (4, 4))
    return make.apply(lambda x, i: tf.unsorted_segment_sum(x, i, 4), make.operand(dims), indices)


def ranking(make: Maker) -> Term:
    """The largest, and running totals."""
    x = make.operand(make.dims(1, 4))
    if make.flip():
        count = make.number(min(x.dims[-1]) + 1)
        return make.apply(lambda t: tf.nn.top_k(t, count).values, x, jumps=True)
    axis, exclusive, backwards = make.number(x.rank), make.flip(), make.flip()
    return make.apply(lambda t: tf.cumsum(t, axis, exclusive, backwards), x)


def assembly(make: Maker) -> Term:
    """What is put together."""
    dims = make.dims(1, 4)
    axis = make.number(len(dims))
    parts = [make.operand((*dims[:axis], make.dim(), *dims[axis + 1 :])) for _ in range(1 + make.number(3))]
    whole = make.apply(lambda *xs: tf.concat(xs, axis), *parts)
    pads = [[make.number(3), make.number(3)] for _ in dims]
    return make.apply(lambda x: tf.pad(x, pads), whole) if make.flip() else whole


def counting(make: Maker) -> Term:
    """Positions, in some shape, among numbers."""
    x = make.operand(make.dims(1, 4))
    return make.apply(lambda t: t + tf.cast(tf.reshape(tf.range(tf.size(t)) % 7, tf.shape(t)), t.dtype), x)


def loop(make: Maker) -> Term:
    """Rows through a loop, there and back."""
    x, w = make.operand(make.dims(2, 3)), make.operand(())
    return make.apply(lambda a, b: tf.map_fn(lambda row: tf.tanh(row * b)[::-1], a), x, w, exact=False)


FORMS = [product, pointwise, reduction, convolution, pooling, lookup, ranking, assembly, counting, loop]


def continued(make: Maker, term: Term) -> Term:
    """What may be fused onto a form, and need not be."""
    dims, rank = term.dims, term.rank
    which = make.number(7)
    if which == 0:
        return make.apply(lambda x, y: x + y, term, make.operand(_narrowed(make, dims)))
    if which == 1:
        return make.apply(tf.nn.relu, term, jumps=True)
    if which == 2 and rank:
        return make.apply(tf.nn.softmax, term, exact=False)
    if which == 3 and rank:
        axis = make.number(rank)
        return make.apply(lambda x: x - tf.reduce_mean(x, axis, keepdims=True), term, exact=False)
    if which == 4 and rank:
        order = make.order(rank)
        return make.apply(lambda x: tf.transpose(x, order), term)
    if which == 5:
        return make.apply(lambda x: tf.reshape(x, [-1]), term)
    return make.apply(tf.tanh, term, exact=False)


def run(form: Callable[[Maker], Term], numbers: Sequence[int], dtype: str) -> None:
    """Builds a graph, and runs it on both backends."""
    with tf.Graph().as_default():
        make = Maker(numbers, dtype)
        try:
            terms = [form(make)]
            terms += [continued(make, terms[-1]) for _ in range(make.number(3))]
        except Misfit:
            return
        last = terms[-1].tensor
        fetches: list[Any] = [t.tensor for t in terms] if make.flip() else [last]
        if last.dtype.is_floating:
            found = tf.gradients(last * tf.cast(make.pick([1, 2]), last.dtype), make.inputs)
            fetches += [tf.convert_to_tensor(g) for g in found if g is not None]
        with hostile(), tf.Session(backend="native", tier="compiled") as session:
            for feeds in (*make.feeds, make.feeds[0]):
                check(session.run(fetches, feeds), make.session.run(fetches, feeds), dtype)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=max(settings().max_examples // 4, 1))
@given(numbers=NUMBERS, dtype=DTYPES)
def test_forms(form: Callable[[Maker], Term], numbers: list[int], dtype: str) -> None:
    run(form, numbers, dtype)
