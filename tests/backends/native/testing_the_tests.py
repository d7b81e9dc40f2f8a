"""The tests of the native backend are tested: faults planted into the compiler, each of which must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import (
    blocks,
    combining,
    execute,
    fuse,
    ir,
    kernel,
    loops,
    lower,
    scalars,
    segments,
    strips,
    target,
    tiles,
    vector_loops,
    vector_strips,
)
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.vector_groups import GroupEmitter
from tahr.backends.native.vector_loops import VectorEmitter
from tahr.core.dtypes import DType
from tahr.program.passes import divisors
from tests.backends.native import test_ops, test_random_graphs
from tests.backends.native.hostile import hostile
from tests.backends.native.test_random_graphs import check

IN_VECTORS = pytest.mark.skipif(
    not vector_loops.masks(target.current()), reason="LLVM makes the vectors here"
)

ROWS = 2 * tiles.TILE // 16 + 3


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape)


# ---------------------------------------------------------------- programs that would notice


def compare(fetches: Any, feeds: dict[Any, np.ndarray]) -> None:
    """Natively as with NumPy, in watched memory and as usual."""
    with tf.Session(backend="numpy") as reference:
        reference.run(tf.global_variables_initializer())
        expected = reference.run(fetches, feeds)
    for watched in (True, False):
        execute._records.clear()
        with tf.Session(backend="native", tier="compiled") as session:
            session.run(tf.global_variables_initializer())
            if watched:
                with hostile():
                    found = session.run(fetches, feeds)
            else:
                found = session.run(fetches, feeds)
        check(found, expected, "float64")


def sums() -> None:
    x = tf.placeholder(tf.float64, [None, 16])
    compare([tf.reduce_sum(x), tf.reduce_sum(x, 0), tf.reduce_sum(x, 1)], {x: numbers(ROWS, 16)})


def odd_rows() -> None:
    x = tf.placeholder(tf.float64, [None, None])
    compare([tf.tanh(x), tf.reduce_sum(x, 1)], {x: numbers(50, 13)})


def long_sums() -> None:
    x = tf.placeholder(tf.float64, [None, None])
    compare([tf.reduce_sum(x), tf.reduce_sum(x, 0), tf.reduce_sum(x, 1)], {x: numbers(5, 100)})


def extremes() -> None:
    x = tf.placeholder(tf.float64, [None, 16])
    values = -1 - np.abs(numbers(40, 16))
    values[3, 5] = np.nan
    compare([f(x, a) for f in (tf.reduce_max, tf.reduce_min) for a in (0, 1)], {x: values})


def groups() -> None:
    x = tf.placeholder(tf.float64, [None, 9, 6, 4])
    compare([x - tf.reduce_sum(x, [1, 3], keepdims=True)], {x: numbers(5, 9, 6, 4)})


def quotients() -> None:
    x = tf.placeholder(tf.int32, [None])
    compare([7 // x], {x: np.array([1, 2, -3], np.int32)})
    with tf.Session(backend="native", tier="compiled") as session:
        assert _complains(lambda: session.run(7 // x, {x: [1, 0]}))


def _complains(run: Callable[[], Any]) -> bool:
    try:
        run()
    except tf.errors.InvalidArgumentError:
        return True
    return False


def middles() -> None:
    x = tf.placeholder(tf.float64, [None, 40, 100])
    compare([tf.reduce_sum(x, 1), tf.exp(x - tf.reduce_max(x, 1, keepdims=True))], {x: numbers(5, 40, 100)})


def transposes() -> None:
    x = tf.placeholder(tf.float64, [None, 40])
    compare([tf.transpose(x) + 1.0], {x: numbers(50, 40)})


def elements() -> None:
    x = tf.placeholder(tf.float64, [None, 16])
    compare([tf.tanh(x) + 1.0, tf.nn.softmax(x)], {x: numbers(ROWS, 16)})


def broadcasts() -> None:
    x, y = tf.placeholder(tf.float64, [None, 16]), tf.placeholder(tf.float64, [None, 1])
    compare([x * y, x + y[0], y - x[0]], {x: numbers(50, 16), y: numbers(50, 1)})


def maxima() -> None:
    x, y = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.float64, [None])
    values = numbers(40)
    values[::3] = np.nan
    compare([tf.maximum(x, y), tf.minimum(y, x), tf.maximum(y, x)], {x: values, y: numbers(40)[::-1]})


def products() -> None:
    x, r = tf.placeholder(tf.float64, [None, 24]), tf.placeholder(tf.float64, [None, 24])
    w = tf.Variable(numbers(24, 24))
    bias, scale = tf.Variable(numbers(2, 24)[0]), tf.Variable(numbers(2, 24)[1])
    y = tf.nn.relu((tf.matmul(x, w) + bias) * scale - r)
    compare([y, *tf.gradients(y, [x, w, bias])], {x: numbers(30, 24), r: numbers(30, 24) * 2})


def chains() -> None:
    x = tf.placeholder(tf.float64, [None, 16])
    y = tf.tanh(tf.reduce_mean(x, 0, keepdims=True) - x)
    z = tf.exp(tf.reduce_max(y, 0, keepdims=True) - y)
    compare([tf.reduce_sum(z * y, 1), tf.reduce_mean(z / tf.reduce_sum(z, 0), 0)], {x: numbers(60, 16)})


def orders() -> None:
    test_ops.test_gradients("FusedBatchNormGrad", False)


def updates() -> None:
    for seed in range(8):
        recipe = np.random.default_rng(seed).integers(0, 256, (8, 4)).tolist()
        test_random_graphs.test_updates.hypothesis.inner_test(recipe=recipe, use_resource=bool(seed % 2))  # pyright: ignore[reportFunctionMemberAccess]


# ---------------------------------------------------------------- faults

Plant = Callable[[pytest.MonkeyPatch], None]


def wrong_sum_of_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(combining._IDENTITY, "add", 1)


def maximum_of_nothing_is_zero(patch: pytest.MonkeyPatch) -> None:
    right = combining.identity
    wrong = lambda combine, dtype: 0.0 if combine == "maximum" else right(combine, dtype)  # noqa: E731
    patch.setattr(combining, "identity", wrong)


def last_tile_forgotten(patch: pytest.MonkeyPatch) -> None:
    def cut(rows: int, columns: int, has_rows: bool, elements: int, leaves_columns: bool) -> tuple[int, int]:
        tile = max(1, elements // max(columns, 1)) if has_rows else elements
        return tile, max(1, (rows if has_rows else columns) // tile)

    patch.setattr(tiles, "cut", cut)


def broadcast_along_the_wrong_dimension(patch: pytest.MonkeyPatch) -> None:
    right = lower._NestBuilder._strides

    def strides(self: Any, view: Any, mapping: Any, shape: Any) -> Any:
        found = right(self, view, mapping, shape)
        return found[::-1] if len(found) == 2 and 0 in found and 1 in found else found

    patch.setattr(lower._NestBuilder, "_strides", strides)


def missing_numbers_lost_in_reductions(patch: pytest.MonkeyPatch) -> None:
    right = combining.combined

    def combined(f: ir.Function, combine: str, dtype: DType, a: str, b: str, width: int | None = None) -> str:
        if combine in ("maximum", "minimum"):
            name = {"maximum": "maxnum", "minimum": "minnum"}[combine]
            return ir.intrinsic(f, name, scalars.kind(dtype, width), a, b)
        return right(f, combine, dtype, a, b, width)

    patch.setattr(combining, "combined", combined)


def missing_numbers_lost_in_maxima(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(scalars._EMIT, "maximum", scalars._call("maxnum"))


def operands_swapped(patch: pytest.MonkeyPatch) -> None:
    right = lower.Lowering._epilogue

    def epilogue(self: Any, *given: Any) -> Any:
        what, operands, outputs = right(self, *given)
        columns = [i for i, o in enumerate(what.operands) if o.access == "column"]
        if len(columns) == 2:
            i, j = columns
            operands[i], operands[j] = operands[j], operands[i]
        return what, operands, outputs

    patch.setattr(lower.Lowering, "_epilogue", epilogue)


def transposition_forgotten(patch: pytest.MonkeyPatch) -> None:
    right = lower.flips
    patch.setattr(lower, "flips", lambda node: (right(node)[0], False))


def buffers_overlap(patch: pytest.MonkeyPatch) -> None:
    right = segments.laid_out
    patch.setattr(
        segments,
        "laid_out",
        lambda spans: replace(right(spans), offsets=dict.fromkeys(right(spans).offsets, 0)),
    )


def written_one_further(patch: pytest.MonkeyPatch) -> None:
    right, right_of_vectors = loops.Emitter._write, Segment.write

    def write(self: Any, dtype: Any, value: str, target: str, place: str, group: int | None = None) -> None:
        right(self, dtype, value, target, place, group)
        right(self, dtype, value, target, self.f.add(place, 1), group)

    def write_vector(self: Any, f: ir.Function, dtype: DType, value: str, address: str) -> None:
        right_of_vectors(self, f, dtype, value, address)
        right_of_vectors(self, f, dtype, value, f.at(ir.MEMORY[dtype], address, 1))

    patch.setattr(loops.Emitter, "_write", write)
    patch.setattr(Segment, "write", write_vector)


def merged_without_looking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fuse.Fusion, "_agree", lambda self, group, other: True)


def partial_sums_not_cleared(patch: pytest.MonkeyPatch) -> None:
    """The first column keeps whatever was in memory."""
    right = ir.Function.loop

    def loop(f: Any, start: Any, *rest: Any, hint: str = "", **options: Any) -> Any:
        return right(f, 1 if hint == "clear" else start, *rest, hint=hint, **options)

    patch.setattr(ir.Function, "loop", loop)


def mask_forgotten(patch: pytest.MonkeyPatch) -> None:
    every = lambda f, width, count: ir.splat(ir.I1, "true")  # noqa: E731
    patch.setattr(vector_loops, "mask", every)


def only_one_vector_summed(patch: pytest.MonkeyPatch) -> None:
    right = VectorEmitter._finish
    first = lambda self, j, copies, totals: right(self, j, copies[:1], totals)  # noqa: E731
    patch.setattr(VectorEmitter, "_finish", first)


def strips_of_whole_width(patch: pytest.MonkeyPatch) -> None:
    """The last strip of a row goes on behind its end."""
    right = ir.Function.minimum

    def minimum(f: Any, a: Any, b: Any) -> str:
        return str(b) if b == strips.LANES else right(f, a, b)

    patch.setattr(ir.Function, "minimum", minimum)
    patch.setattr(vector_strips, "mask", lambda f, width, count: ir.splat(ir.I1, "true"))


def groups_not_combined(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GroupEmitter, "_total", VectorEmitter._total)


def zero_divides(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(divisors, "_is_never_zero", lambda divisor: True)


def blocks_not_turned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blocks, "turned", lambda f, kind, block: block)


def totals_of_the_last_tile_lost(patch: pytest.MonkeyPatch) -> None:
    right = kernel.sizes

    def sizes(f: ir.Function, count: int) -> list[str]:
        tiles, *rest = right(f, count)
        return [f.sub(tiles, 1), *rest]

    patch.setattr(kernel, "sizes", sizes)


def updates_join_their_readers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fuse.Fusion, "_reads_before", lambda self, group, node, mapping: True)
    patch.setattr(fuse.Fusion, "_variables_read", lambda self, node: set())


@pytest.mark.parametrize(
    ("fault", "program"),
    [
        (wrong_sum_of_nothing, sums),
        (maximum_of_nothing_is_zero, extremes),
        (last_tile_forgotten, elements),
        (last_tile_forgotten, sums),
        (broadcast_along_the_wrong_dimension, broadcasts),
        (missing_numbers_lost_in_reductions, extremes),
        (missing_numbers_lost_in_maxima, maxima),
        (operands_swapped, products),
        (transposition_forgotten, products),
        (buffers_overlap, chains),
        (written_one_further, elements),
        (partial_sums_not_cleared, long_sums),
        pytest.param(mask_forgotten, odd_rows, marks=IN_VECTORS),
        pytest.param(only_one_vector_summed, long_sums, marks=IN_VECTORS),
        (merged_without_looking, orders),
        (updates_join_their_readers, updates),
        (strips_of_whole_width, middles),
        pytest.param(groups_not_combined, groups, marks=IN_VECTORS),
        (zero_divides, quotients),
        (totals_of_the_last_tile_lost, sums),
        (blocks_not_turned, transposes),
    ],
    ids=lambda f: f.__name__,
)
def test_a_fault_is_found(fault: Plant, program: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    program()
    tf.reset_default_graph()
    forget()
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(AssertionError):
            program()
    forget()


def forget() -> None:
    """Plans are made anew, and what their kernels share."""
    execute._records.clear()
    blocks.turning.cache_clear()
