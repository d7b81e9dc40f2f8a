"""Partial runs: feeds and fetches in several steps of one run. Messages were recorded from TensorFlow 2.21."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf


@pytest.fixture
def session():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


def test_nothing_is_computed_twice(session):
    a, b = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    calls = []
    v = tf.Variable(0.0)
    drawn = tf.random_uniform([]) + a
    called = tf.py_func(lambda x: calls.append(x) or x, [drawn], tf.float32)
    product = called * b
    update = v.assign_add(a)
    session.run(v.initializer)
    handle = session.partial_run_setup([called, product, update], [a, b])
    first, updated = session.partial_run(handle, [called, update], {a: 1.0})
    assert updated == 1.0
    assert session.partial_run(handle, product, {b: 10.0}) == np.float32(first * np.float32(10.0))
    assert session.run(v) == 1.0 and len(calls) == 1
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="Must run 'setup' before performing partial runs!"
    ):
        session.partial_run(handle, product)


def test_nested_fetches_and_steps_without_feeds(session):
    a, b = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    x, y, z = a + 1.0, a * 2.0, a + b
    handle = session.partial_run_setup([x, y, z], [a, b])
    assert session.partial_run(handle, {"x": x}, {a: [1.0, 2.0]})["x"].tolist() == [2.0, 3.0]
    found = session.partial_run(handle, [y])[0]
    assert found.tolist() == [2.0, 4.0]
    found[:] = 0.0
    assert session.partial_run(handle, z, {b: [3.0, 3.0]}).tolist() == [4.0, 5.0]


def test_operations_and_variables(session):
    v = tf.Variable(1.0)
    a = tf.placeholder(tf.float32, [])
    update = v.assign_add(a)
    session.run(v.initializer)
    handle = session.partial_run_setup([update.op, v], [a])
    assert session.partial_run(handle, update.op, {a: 2.0}) is None
    assert session.partial_run(handle, v) == 3.0


def test_a_queue_waits_only_for_what_is_fetched(session):
    queue = tf.FIFOQueue(1, tf.float32, shapes=[[]])
    a = tf.placeholder(tf.float32, [])
    plain, waiting = a * 2.0, queue.dequeue() + a
    handle = session.partial_run_setup([plain, waiting], [a])
    assert session.partial_run(handle, plain, {a: 1.0}) == 2.0
    session.run(queue.enqueue(5.0))
    assert session.partial_run(handle, waiting) == 6.0


def test_what_a_write_gave_is_enqueued(session):
    queue, counter = tf.FIFOQueue(4, tf.int32, [()]), tf.Variable(0)
    session.run(counter.initializer)
    enqueue, taken = queue.enqueue(tf.assign_add(counter, 1)), queue.dequeue()
    handle = session.partial_run_setup([enqueue, taken], [])
    assert session.partial_run(handle, [enqueue, taken], {}) == [None, 1]


def test_errors(session):
    a, b = tf.placeholder(tf.float32, [], name="a"), tf.placeholder(tf.float32, [], name="b")
    x, y = tf.add(a, 1.0, name="x"), tf.multiply(a, b, name="y")
    other = tf.negative(a, name="other")
    handle = session.partial_run_setup([x, y], [a, b])
    for fetch, feed, phrase in [
        (y, {a: 1.0}, "Fetch y:0 can't be computed from the feeds that have been fed so far."),
        (x, {a: 1.0}, "The feed a:0 has already been fed."),
        (x, {x: 1.0}, "The feed x:0 was not specified in partial_run_setup."),
        (other, None, "The fetch other:0 was not specified in partial_run_setup."),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session.partial_run(handle, fetch, feed)
        assert str(caught.value) == phrase
    assert session.partial_run(handle, x) == 2.0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"The fetch x:0 has already been fetched\."):
        session.partial_run(handle, x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Must run 'setup'"):
        session.partial_run("no handle", x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one target"):
        session.partial_run_setup([], [a])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor 'b'"
    ):
        session.partial_run_setup([x, y], [a])
