"""Gradients of tables and lists of which branches in loops read items: they go on the loops' lists in the branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively
from tests.backends.native.hostile import hostile
from tests.backends.native.loop_programs import repeated

F = tf.float64
RNG = np.random.RandomState(9)
# What puts the slices together behind all loops.
HANDED = ["_ListOf", "TensorListConcat"]

Lookup = Callable[[Any, Any], Any]
Program = Callable[[Lookup, Any, Any, Any, Any], Any]


def _by_product(table: Any, indices: Any) -> Any:
    """Rows of a table, of which the gradient is no slices."""
    return tf.matmul(tf.one_hot(indices, 7, dtype=F), table)


def _one_branch(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        return tf.tanh(h + tf.cond(flags[i], lambda: lookup(table, ids[:, i]), lambda: tf.sin(h)))

    return repeated(4, step, h)


def _without_a_bound(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        # No factor is above 0.6: the loop ends, whatever is in the table.
        def by_rows() -> Any:
            return h * tf.tanh(lookup(table, ids[:, i % 4]))

        return 0.6 * tf.cond(flags[i % 4], by_rows, lambda: 0.5 * h)

    def is_large(_: Any, h: Any) -> Any:
        return tf.reduce_sum(tf.abs(h)) > 0.01

    return tf.while_loop(is_large, lambda i, h: (i + 1, step(i, h)), [0, h])[1]


def _both_branches(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        rows = tf.cond(flags[i], lambda: lookup(table, ids[:, i]), lambda: 2 * lookup(table, ids[:, 3 - i]))
        return tf.tanh(h * rows)

    return repeated(4, step, h)


def _other_numbers_of_rows(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        def of_all() -> Any:
            rows = lookup(table, tf.reshape(ids, [-1]))
            return tf.reduce_sum(tf.reshape(rows, [-1, 4, 3]), 1)

        return tf.tanh(0.3 * h + tf.cond(flags[i], of_all, lambda: lookup(table, ids[:, i])))

    return repeated(4, step, h)


def _branches_in_branches(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        def inner() -> Any:
            return tf.cond(flags[3 - i], lambda: h * 0.5, lambda: lookup(table, ids[:, i]))

        return tf.tanh(h + tf.cond(flags[i], lambda: tf.zeros_like(h), inner))

    return repeated(4, step, h)


def _loops_in_branches(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        def inner() -> Any:
            return repeated(i, lambda j, h: tf.tanh(h + lookup(table, ids[:, j])), h)

        return 0.9 * tf.cond(flags[i], inner, lambda: tf.sin(h))

    return repeated(4, step, h)


def _branches_in_loops_in_loops(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    return repeated(3, lambda _, h: _one_branch(lookup, table, ids, flags, h), h)


def _two_in_one_branch(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        def two() -> Any:
            return lookup(table, ids[:, i]) * lookup(table, ids[:, 3 - i])

        return tf.tanh(h + tf.cond(flags[i], two, lambda: h))

    return repeated(4, step, h)


def _beside_branches(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    """The slices of a branch and others are put together in each iteration."""

    def step(i: Any, h: Any) -> Any:
        return lookup(table, ids[:, i]) + _one_branch(lookup, table, ids, flags, h)

    return repeated(2, step, h)


def _of_items(lookup: Lookup, table: Any, ids: Any, flags: Any, h: Any) -> Any:
    """Rows that are looked up before, and of which branches read some, in nested branches."""
    rows = tf.reshape(lookup(table, tf.reshape(tf.transpose(ids), [-1])), [4, -1, 3])
    items = tf.TensorArray(F, 4, clear_after_read=False).unstack(rows)

    def step(i: Any, h: Any) -> Any:
        def inner() -> Any:
            return tf.cond(flags[3 - i], lambda: items.read(i), lambda: items.read(3 - i) * h)

        return tf.tanh(h + tf.cond(flags[i], inner, lambda: h))

    return repeated(4, step, h)


NATIVE = [
    _one_branch,
    _without_a_bound,
    _both_branches,
    _branches_in_branches,
    _loops_in_branches,
    _branches_in_loops_in_loops,
    _two_in_one_branch,
]
PROGRAMS = [*NATIVE, _other_numbers_of_rows, _beside_branches, _of_items]


class _Inputs:
    """What is fed."""

    def __init__(self) -> None:
        self.table, self.ids = tf.placeholder(F, [7, 3]), tf.placeholder(tf.int32, [None, 4])
        self.flags = tf.placeholder(tf.bool, [4])

    def feeds(self) -> list[dict[Any, Any]]:
        """Several batches, in which other branches are taken."""
        cases = [
            (5, [True, False, True, True]),
            (1, [False] * 4),
            (2, [True] * 4),
            (0, [False, True, False, False]),
            (5, [False, True, False, True]),
        ]
        return [
            {self.table: RNG.randn(7, 3), self.ids: RNG.randint(0, 7, (batch, 4)), self.flags: flags}
            for batch, flags in cases
        ]

    def fetches(self, program: Program, lookup: Lookup) -> list[Any]:
        """A result and the gradient of the sum of its squares."""
        h = tf.zeros([tf.shape(self.ids)[0], 3], F) + 0.3
        y = program(lookup, self.table, self.ids, self.flags, h)
        (dx,) = tf.gradients(tf.reduce_sum(y * y), self.table)
        return [y, tf.convert_to_tensor(dx)]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_gradients_are_those_of_products(program: Program, backend: str) -> None:
    inputs = _Inputs()
    found, expected = (inputs.fetches(program, lookup) for lookup in (tf.nn.embedding_lookup, _by_product))
    with tf.Session(backend=backend, tier="compiled" if backend == "native" else None) as session:
        for feeds in inputs.feeds():
            for a, b in zip(*session.run([found, expected], feeds)):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("program", NATIVE)
def test_only_what_is_behind_all_loops_is_left_to_numpy(program: Program) -> None:
    inputs = _Inputs()
    natively.is_as_numpy(inputs.fetches(program, tf.nn.embedding_lookup), *inputs.feeds(), hosts=HANDED)


def test_items_are_added_in_branches() -> None:
    """Nothing is left to NumPy where the number of items is known."""
    inputs = _Inputs()
    natively.is_as_numpy(inputs.fetches(_of_items, _by_product), *inputs.feeds())


@pytest.mark.parametrize("program", NATIVE)
def test_nothing_is_written_outside(program: Program) -> None:
    inputs = _Inputs()
    fetches = inputs.fetches(program, tf.nn.embedding_lookup)
    for feeds in inputs.feeds():
        expected = natively.by_numpy(fetches, feeds)
        with hostile(), tf.Session(backend="native", tier="compiled") as session:
            natively.execute._records.clear()
            for _ in range(2):
                for found, wanted in zip(session.run(fetches, feeds), expected):
                    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("program", [_one_branch, _branches_in_branches, _of_items])
def test_the_gradient_of_a_gradient(program: Program) -> None:
    inputs = _Inputs()
    found: list[Any] = []
    for lookup in (tf.nn.embedding_lookup, _by_product):
        y, dx = inputs.fetches(program, lookup)
        (second,) = tf.gradients(tf.reduce_sum(dx * dx) + tf.reduce_sum(y), inputs.table)
        found.append([dx, tf.convert_to_tensor(second)])
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend) as session:
            for feeds in inputs.feeds():
                for a, b in zip(*session.run(found, feeds)):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_an_index_that_is_not_valid_in_a_branch() -> None:
    inputs = _Inputs()
    fetches = inputs.fetches(_one_branch, tf.nn.embedding_lookup)
    with tf.Session(backend="native", tier="compiled") as session:
        for feeds in inputs.feeds():
            session.run(fetches, feeds)
        wrong = {**inputs.feeds()[0], inputs.ids: np.full((5, 4), 9)}
        with pytest.raises(tf.errors.InvalidArgumentError, match="9"):
            session.run(fetches, wrong)
        for feeds in inputs.feeds():
            for a, b in zip(session.run(fetches, feeds), natively.by_numpy(fetches, feeds)):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_scheduled_sampling() -> None:
    """What a recurrent net has emitted is looked up in some steps, and what is given in others."""
    ids, lengths = tf.placeholder(tf.int32, [None, 6]), tf.placeholder(tf.int32, [None])
    table, out = tf.placeholder(F, [7, 3]), tf.placeholder(F, [3, 7])
    count = tf.shape(ids)[0]
    given = tf.TensorArray(F, 6).unstack(tf.nn.embedding_lookup(table, tf.transpose(ids)))
    cell = tf.nn.rnn_cell.BasicRNNCell(3, dtype=F)

    def loop_fn(time: Any, output: Any, state: Any, _: Any) -> Any:
        is_over = time >= lengths
        if output is None:
            first = tf.nn.embedding_lookup(table, tf.zeros([count], tf.int32))
            return is_over, first, cell.zero_state(count, F), tf.zeros([7], F), None
        emitted = tf.matmul(output, out)

        def following() -> Any:
            best = tf.argmax(emitted, 1, output_type=tf.int32)
            is_sampled = tf.equal(time % 3, 0)
            return tf.cond(is_sampled, lambda: tf.nn.embedding_lookup(table, best), lambda: given.read(time))

        x = tf.cond(tf.reduce_all(is_over), lambda: tf.zeros([count, 3], F), following)
        x.set_shape([None, 3])
        return is_over, x, state, emitted, None

    emitted = tf.nn.raw_rnn(cell, loop_fn)[0].stack()
    gradients = tf.gradients(tf.reduce_sum(tf.square(emitted)), [table, out])
    fetches = [emitted, *map(tf.convert_to_tensor, gradients)]
    lists = ("Length", "Stack", "Concat", "GatherLike")
    hosts = ["_ListOf", "_NoItems", "UnsortedSegmentSum", *(f"TensorList{name}" for name in lists)]
    with tf.variable_scope("", reuse=True):
        weights = tf.global_variables()
    feeds = [
        {
            ids: RNG.randint(0, 7, (len(each), 6)),
            lengths: each,
            table: RNG.randn(7, 3),
            out: RNG.randn(3, 7),
            **{w: 0.5 * RNG.randn(*w.shape.as_list()) for w in weights},
        }
        for each in ([6, 2, 4], [1, 1], [3, 5, 6, 0], [6, 2, 4])
    ]
    natively.is_as_numpy(fetches, *feeds, hosts=hosts)
