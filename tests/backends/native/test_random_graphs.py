"""Random graphs natively against NumPy: values and gradients, for batches of every awkward size.

Each graph runs in watched memory (see `hostile`), for two sizes of the batch and the first again, with one plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings, strategies as st

import tahr as tf
from tahr.backends.native.tiles import TILE
from tahr.core.opdef import Array
from tests.backends.native import graphs
from tests.backends.native.graphs import Recipe
from tests.backends.native.hostile import hostile

NUMBERS = st.integers(0, 255)
RECIPES = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=14)
SMALL = st.sampled_from([2, 3, 1, 0, 5, 7, 17, 64])
# Tiles end where a number of elements, or of rows of some width, is reached.
EDGES = st.sampled_from(
    [TILE // width + more for width in (1, 3, 5, 8, 15) for more in (-1, 0, 1)] + [2 * TILE + 1]
)
FLOATS = st.sampled_from(graphs.FLOATS)


def check(found: Sequence[Any], expected: Sequence[Any], dtype: str) -> None:
    """Raises where results differ by more than roundings."""
    sizes = [np.abs(_wide(e))[np.isfinite(_wide(e))].max(initial=0.0) for e in expected if _is_float(e)]
    scale = max([1.0, *sizes])
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if _is_float(b):
            tolerance = graphs.TOLERANCES[dtype] * scale
            np.testing.assert_allclose(_wide(a), _wide(b), rtol=0, atol=tolerance, err_msg=f"output {i}")
        else:
            np.testing.assert_array_equal(a, b, err_msg=f"output {i}")


def _is_float(array: Any) -> bool:
    return np.asarray(array).dtype.kind not in "biu"


def _wide(array: Any) -> Array:
    return np.asarray(array).astype(np.float64)


def run(
    recipe: Recipe,
    dtype: str,
    sizes: Sequence[int],
    with_gradients: bool = True,
    is_known: bool = False,
    exact: bool = False,
) -> None:
    """Builds a graph, and runs it on both backends for some sizes of the batch."""
    with tf.Graph().as_default():
        operations = graphs.EXACT if exact else graphs.OPERATIONS
        graph = graphs.build(recipe, dtype, sizes[0] if is_known else None, operations)
        fetches = graph.outputs() + (graph.gradients() if with_gradients else [])
        reference = tf.Session(backend="numpy")
        with hostile(), tf.Session(backend="native", tier="compiled") as session:
            for seed, size in enumerate(sizes):
                feeds = graph.feeds(size, seed, specials=exact)
                check(session.run(fetches, feeds), reference.run(fetches, feeds), dtype)


@settings(max_examples=2 * settings().max_examples)
@given(recipe=RECIPES, dtype=FLOATS, sizes=st.tuples(SMALL, SMALL))
def test_small_batches(recipe: Recipe, dtype: str, sizes: tuple[int, int]) -> None:
    run(recipe, dtype, [*sizes, sizes[0]])


@given(recipe=RECIPES, dtype=FLOATS, size=SMALL)
def test_known_batches(recipe: Recipe, dtype: str, size: int) -> None:
    run(recipe, dtype, [size, size], is_known=True)


@given(recipe=RECIPES, dtype=st.sampled_from(["float64", "float32"]), sizes=st.tuples(EDGES, SMALL))
def test_batches_at_the_edges_of_tiles(recipe: Recipe, dtype: str, sizes: tuple[int, int]) -> None:
    run(recipe, dtype, sizes)


@given(recipe=RECIPES, dtype=FLOATS, sizes=st.tuples(SMALL, EDGES))
def test_what_is_no_number(recipe: Recipe, dtype: str, sizes: tuple[int, int]) -> None:
    run(recipe, dtype, sizes, with_gradients=False, exact=True)


# ---------------------------------------------------------------- variables

VIEWS = [
    lambda v: v,
    tf.transpose,
    lambda v: tf.reverse(v, [0]),
    lambda v: tf.reverse(v, [1]) * 0.5,
    lambda v: tf.concat([v[1:], v[:1]], 0),
    lambda v: tf.reduce_sum(v, 0, keepdims=True) * 0.25 + v,
    lambda v: tf.tanh(tf.matmul(v, v)),
    lambda v: tf.broadcast_to(v[:, :1], [4, 4]),
    lambda v: tf.reshape(tf.reshape(v, [2, 8]), [4, 4]),
]
"""Ways to look at a variable, most of them at its own storage."""


def updated(variables: Sequence[Any], recipe: Recipe, x: Any) -> tuple[Any, list[Any]]:
    """A chain of updates, and what was read in between; some of it is used only after later updates."""
    last, seen = tf.no_op(), []
    for what, target_, source, number in recipe:
        with tf.control_dependencies([last]):
            read = variables[source % len(variables)].read_value()
            value = VIEWS[what % len(VIEWS)](read)
            if number % 4:  # else it is the view itself that is written
                value = 0.5 * (value + (x if number % 3 == 0 else 0.125))
            old = seen[number % len(seen)] if seen and number % 2 else read
            seen.append(tf.identity(VIEWS[number % len(VIEWS)](old)))
            variable = variables[target_ % len(variables)]
        with tf.control_dependencies([last]):
            update = (tf.assign, tf.assign_add, tf.assign_sub)[what // 16 % 3](variable, value)
        last = update.op
    return last, [s * 2.0 for s in seen] + seen


@given(recipe=RECIPES.map(lambda r: r[:8]), use_resource=st.booleans())
def test_updates(recipe: Recipe, use_resource: bool) -> None:
    """Whatever is read before an update is the old value, though variables are changed in place."""
    with tf.Graph().as_default():
        rng = np.random.default_rng(0)
        variables = [
            tf.Variable(rng.integers(-8, 9, [4, 4]) / 4, dtype=tf.float64, use_resource=use_resource)
            for _ in range(2)
        ]
        x = tf.placeholder(tf.float64, [4, 4])
        last, seen = updated(variables, recipe, x)
        initializer = tf.global_variables_initializer()
        with (
            tf.Session(backend="numpy") as reference,
            tf.Session(backend="native", tier="compiled") as session,
        ):
            for s in (reference, session):
                s.run(initializer)
            for i in range(4):
                feeds = {x: rng.integers(-8, 9, [4, 4]) / 8}
                found, expected = (
                    s.run([last, *seen[: 20 * (i % 2)]], feeds)[1:] for s in (session, reference)
                )
                check(found, expected, "float64")
                check(session.run(variables), reference.run(variables), "float64")
