"""`Session.explain`: what is compiled, what is left to NumPy, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends import costs
from tahr.backends.native import gemm, target
from tahr.backends.report import Report, amount
from tahr.core import sizes
from tahr.session.explain import TIMED_RUNS

needs_llvm = pytest.mark.skipif(not target.is_available(), reason="llvmlite is not installed")
BACKENDS = ["numpy", pytest.param("native", marks=needs_llvm)]


def net() -> tuple[Any, Any, Any, dict[Any, Any]]:
    """A layer of 8 units, its loss and a step of descent, with feeds of a batch of 16."""
    x = tf.placeholder(tf.float32, [None, 4])
    w = tf.Variable(np.ones((4, 8), np.float32))
    y = tf.tanh(tf.matmul(x, w) + 1.0)
    loss = tf.reduce_sum(y)
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    return y, loss, step, {x: np.ones((16, 4), np.float32)}


def titles(steps: Sequence[Any]) -> list[str]:
    return [step.title for step in steps]


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_run(backend: str) -> None:
    _, loss, step, feeds = net()
    with tf.Session(backend=backend) as session:
        session.run(tf.global_variables_initializer())
        before = session.run(loss, feeds)
        found = session.explain([loss, step], feeds)
        assert session.run(loss, feeds) == pytest.approx(before)
    assert all(s.ms is None for s in found.steps)


@pytest.mark.parametrize("backend", BACKENDS)
def test_measured_runs_are_real(backend: str) -> None:
    _, loss, step, feeds = net()
    with tf.Session(backend=backend) as session:
        session.run(tf.global_variables_initializer())
        found = session.explain([loss, step], feeds, time=True)
        explained = session.run(loss, feeds)
        session.run(tf.global_variables_initializer())
        for _ in range(TIMED_RUNS):
            session.run(step, feeds)
        assert session.run(loss, feeds) == pytest.approx(explained)
    assert found.steps
    assert all(s.ms is not None and s.ms >= 0 for s in found.steps)
    assert found.reports[0].runs == TIMED_RUNS
    assert f"median of {TIMED_RUNS}" in str(found)


@needs_llvm
def test_bytes_and_operations_of_a_fused_product() -> None:
    y, _, _, feeds = net()
    with tf.Session(backend="native") as session:
        (step,) = session.explain(y, feeds).steps
    assert [n.opdef.name for n in step.nodes] == ["MatMul", "AddV2", "Tanh"]
    assert step.segment == 1 and step.reason == ""
    assert step.reads == 4 * (16 * 4 + 4 * 8)
    assert step.writes == 4 * 16 * 8
    assert step.flops is not None and step.flops >= 2 * 16 * 4 * 8 + 2 * 16 * 8
    assert [line.split("   ")[1] for line in step.lines] == ["y = tf.tanh(tf.matmul(x, w) + 1.0)"]
    assert step.places.startswith("test_explain.py:")


@needs_llvm
def test_products_that_are_a_library_s() -> None:
    x, w = tf.placeholder(tf.float32, [None, 64]), tf.placeholder(tf.float32, [64, 10])
    plain, fused = tf.matmul(x, w), tf.tanh(tf.matmul(x, w) * 2.0)
    own, theirs = gemm.Way(gemm.BLOCKED), gemm.Way(gemm.BLOCKED, library=1)

    def choose(product: gemm.Product, problem: gemm.Problem, known: gemm.Known) -> gemm.Way:
        return theirs if product.epilogue.is_plain and problem.m > 100 else own

    with pytest.MonkeyPatch.context() as patch, tf.Session(backend="native") as session:
        patch.setattr(gemm, "choose", choose)
        found = {
            (name, rows): session.explain(y, {x: np.ones((rows, 64)), w: np.ones((64, 10))})
            for name, y in (("plain", plain), ("fused", fused))
            for rows in (50, 512)
        }
    libraries = {key: [step.library for step in each.steps] for key, each in found.items()}
    assert libraries.pop(("plain", 512)) == ["OpenBLAS"]
    assert all(not any(each) for each in libraries.values())
    (line,) = (line for line in str(found["plain", 512]).splitlines() if "MatMul" in line)
    assert line.endswith("   by OpenBLAS")
    assert "OpenBLAS" not in str(found["plain", 50])


@needs_llvm
def test_kernels_that_only_other_sizes_need_count() -> None:
    x = tf.placeholder(tf.float32, [None])
    total = tf.reduce_sum(x)
    with tf.Session(backend="native") as session:
        few, many = (session.explain(total, {x: np.ones(n, np.float32)}).reports[0] for n in (3, 300_000))
    assert few.kernels == many.kernels >= few.compiled + few.from_disk


@needs_llvm
def test_a_broadcast_input_is_read_once() -> None:
    x, row = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.float32, [8])
    feeds = {x: np.ones((16, 8), np.float32), row: np.ones(8, np.float32)}
    with tf.Session(backend="native") as session:
        (step,) = session.explain(x + row, feeds).steps
    assert (step.reads, step.writes, step.flops) == (4 * (16 * 8 + 8), 4 * 16 * 8, 16 * 8)


@needs_llvm
def test_a_lookup_reads_what_it_gives() -> None:
    table = tf.placeholder(tf.float32, [1000, 8])
    with tf.Session(backend="native") as session:
        feeds = {table: np.ones((1000, 8), np.float32)}
        (step,) = session.explain(tf.gather(table, [3, 5]), feeds).steps
    assert step.reads is not None and step.reads < 1000
    assert step.writes == 4 * 2 * 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_sizes(backend: str) -> None:
    y, _, _, feeds = net()
    (x,) = feeds
    with tf.Session(backend=backend) as session:
        small = session.explain(y, feeds)
        large = session.explain(y, {x: np.ones((32, 4), np.float32)})
    assert sum(s.flops or 0 for s in large.steps) == 2 * sum(s.flops or 0 for s in small.steps)
    assert large.cache_misses == 0


def test_the_reference_backend_has_steps_of_numpy_only() -> None:
    y, _, _, feeds = net()
    with tf.Session(backend="numpy") as session:
        found = session.explain(y, feeds)
    assert titles(found.steps) == ["_ReadCell", "MatMul", "AddV2", "Tanh"]
    assert {s.segment for s in found.steps} == {None}
    product = found.steps[1]
    assert (product.reads, product.writes, product.flops) == (384, 512, 1024)
    assert found.boundaries == []
    assert found.arena_bytes == 0
    assert str(found).startswith("run: numpy\n")


# ---------------------------------------------------------------- boundaries


@needs_llvm
@pytest.mark.parametrize("time", [False, True])
def test_why_a_segment_ends(time: bool) -> None:
    x = tf.placeholder(tf.float32, [None, 4])
    q, _ = tf.linalg.qr(tf.tanh(x))
    y = tf.exp(q)
    with tf.Session(backend="native") as session:
        found = session.explain(y, {x: np.ones((6, 4), np.float32)}, time=time)
    assert titles(found.steps) == ["Tanh", "Qr", "Exp"]
    assert [s.segment for s in found.steps] == [1, None, 2]
    (boundary,) = found.boundaries
    assert boundary.segment == 1
    assert boundary.reason == "Qr: no native form"
    assert boundary.bytes == 6 * 4 * 4
    assert (boundary.ms is not None) is time
    lines = str(found).splitlines()
    assert lines[0].startswith("run: native; 2 segments, 1 step by NumPy; arena")
    assert any("ends because of Qr: no native form; hands over 96 B" in line for line in lines)


@needs_llvm
def test_reasons() -> None:
    x = tf.placeholder(tf.float32, [3])
    with tf.Session(backend="native") as session:
        fetches = [
            tf.py_func(lambda a: a, [x], tf.float32),
            tf.Assert(tf.reduce_all(x > 0), [tf.as_string(x)]),
            tf.cast(x, tf.complex64) * 2.0,
        ]
        found = session.explain(fetches, {x: np.ones(3, np.float32)})
    reasons = {s.title: s.reason for s in found.steps if s.segment is None}
    assert reasons == {
        "PyFunc": "touches the world outside",
        "AsString": "dtype string",
        "Assert": "what it would show has no native form",
        "Cast": "dtype complex64",
        "Mul": "dtype complex64",
    }


@needs_llvm
def test_every_step_of_numpy_has_a_reason() -> None:
    x = tf.placeholder(tf.complex64, [3])
    with tf.Session(backend="native") as session:
        y = tf.reshape(tf.exp(x), [1, 3])
        found = session.explain(y, {x: np.ones(3, np.complex64)})
    (report,) = found.reports
    assert (report.backend, report.reason) == ("numpy", "nothing in it is native")
    assert [s.reason for s in report.steps] == ["dtype complex64"] * 2
    assert all(s.reason for s in report.steps)
    assert "because nothing in it is native" in str(found)


@needs_llvm
def test_views_that_wait_for_numpy() -> None:
    x = tf.placeholder(tf.float32, [3])
    with tf.Session(backend="native") as session:
        (step,) = session.explain(tf.reshape(x, [1, 3]), {x: np.ones(3, np.float32)}).steps
    assert (step.title, step.reason) == ("Reshape", "its plan is not compiled")
    assert (step.reads, step.writes, step.flops) == (0, 0, 0)


@needs_llvm
def test_a_variable_that_numpy_gets_at_is_read_by_numpy() -> None:
    v = tf.Variable([1.0, 2.0])
    grown = tf.assign(v, tf.exp(v), validate_shape=False)
    with tf.Session(backend="native") as session:
        session.run(tf.global_variables_initializer())
        found = session.explain([grown, tf.exp(v.read_value())])
    reasons = {s.title: s.reason for s in found.steps if s.segment is None}
    assert reasons["Assign"] == "an assignment may change the shape, or has to complain"
    assert reasons["_ReadCell"] == "a step of NumPy's takes the variable itself"


# ---------------------------------------------------------------- several plans


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_follows_from_data_is_known_once_it_ran(backend: str) -> None:
    x = tf.placeholder(tf.int32, [None])
    unique, _ = tf.unique(x)
    y = tf.square(unique)
    with tf.Session(backend=backend) as session:
        feeds = {x: np.array([1, 1, 2], np.int32)}
        before = session.explain(y, feeds)
        after = session.explain(y, feeds, time=True)
    assert titles(before.steps) == ["Unique"]
    assert before.reports[0].ends == "the shape of Unique follows from data"
    assert "goes on in another plan" in str(before)
    assert titles(after.steps) == ["Unique", "Square"]
    assert len(after.reports) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_may_block(backend: str) -> None:
    queue = tf.FIFOQueue(10, tf.float32, [[]])
    y = queue.dequeue() * 2.0
    with tf.Session(backend=backend) as session:
        session.run(queue.enqueue_many([np.ones(10, np.float32)]))
        assert session.explain(y).reports[0].ends.endswith("may block")
        session.explain(y, time=True)
        assert session.run(queue.size()) == 10 - TIMED_RUNS


def test_bodies_of_loops_are_plans_of_their_own() -> None:
    x = tf.placeholder(tf.complex64, [2])
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2.0), [0, x])
    with tf.Session(backend="numpy") as session:
        found = session.explain(y, {x: np.ones(2, np.complex64)}, time=True)
    assert found.reports[0].what == "run"
    bodies = [r for r in found.reports[1:] if "Mul" in titles(r.steps)]
    assert bodies[0].what == "while loop"
    assert bodies[0].runs == 3 * TIMED_RUNS


def test_bad_fetches_and_a_closed_session() -> None:
    y, _, _, _ = net()
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError, match="must feed a value"):
            session.explain(y)
        with pytest.raises(TypeError):
            session.explain(object())
    with pytest.raises(RuntimeError, match="closed"):
        session.explain(tf.constant(1.0))


# ---------------------------------------------------------------- text and counts


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, "?"),
        (0, "-"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (12345, "12.3 kB"),
        (2.5e9, "2.5 GB"),
    ],
)
def test_amounts(count: float | None, expected: str) -> None:
    assert amount(count, "B") == expected


def test_an_empty_report() -> None:
    assert Report("native", ()).boundaries == ()


def test_elements() -> None:
    n = sizes.symbol("n")
    assert costs.elements((n, 3), {"n": 4}) == 12
    assert costs.elements((), {}) == 1
    assert costs.elements((n,), {}) is None
    assert costs.elements((sizes.UNKNOWN, 3), {}) is None
    assert costs.elements(None, {}) is None


def test_operations_of_convolutions() -> None:
    x, w = tf.placeholder(tf.float32, [2, 5, 5, 3]), tf.placeholder(tf.float32, [3, 3, 3, 8])
    y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "VALID")
    dx, dw = tf.gradients(y, [x, w])
    feeds = {x: np.ones((2, 5, 5, 3), np.float32), w: np.ones((3, 3, 3, 8), np.float32)}
    with tf.Session(backend="numpy") as session:
        found = session.explain([y, dx, dw], feeds)
    counts = {s.title: s.flops for s in found.steps if "Conv2D" in s.title}
    assert counts == dict.fromkeys(
        ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"), 2 * (2 * 3 * 3) * (3 * 3 * 3 * 8)
    )


def test_operations_of_pooling() -> None:
    x = tf.placeholder(tf.float32, [2, 6, 6, 3])
    y = tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    (dx,) = tf.gradients(tf.square(y), x)
    with tf.Session(backend="numpy") as session:
        found = session.explain([y, dx], {x: np.ones((2, 6, 6, 3), np.float32)})
    counts = {s.title: s.flops for s in found.steps if "Pool" in s.title}
    assert counts == dict.fromkeys(("AvgPool", "AvgPoolGrad"), 2 * 3 * 3 * 3 * 4)


@needs_llvm
@pytest.mark.parametrize("time", [False, True])
def test_a_native_loop_is_part_of_its_segment(time: bool) -> None:
    x = tf.placeholder(tf.float32, [2])
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.exp(a)), [0, x])
    with tf.Session(backend="native") as session:
        found = session.explain(y, {x: np.ones(2, np.float32)}, time=time)
    assert len(found.reports) == 1
    assert {s.segment for s in found.steps} == {1}
    assert {"Less", "AddV2", "Exp"} <= set(titles(found.steps))


@needs_llvm
def test_loops_and_branches_are_indented() -> None:
    x = tf.placeholder(tf.float32, [2])

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(i < 2, lambda: tf.exp(a), lambda: tf.sin(a))

    _, y = tf.while_loop(lambda i, a: i < 3, body, [0, x])
    with tf.Session(backend="native") as session:
        found = session.explain(y, {x: np.ones(2, np.float32)})
    depths = {s.title: s.depth for s in found.steps}
    assert [depths[t] for t in ("loop", "while", "if", "Exp", "else", "Sin")] == [0, 0, 1, 2, 1, 2]
    lines = str(found).splitlines()
    assert any(line.startswith("    if ") for line in lines) and any(
        line.startswith("      Exp ") for line in lines
    )
