"""`tf.debug.ir`: every stage of a program as text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import target
from tahr.program.passes import pipeline


def lines(text: str) -> list[str]:
    """The lines, stripped, without comments."""
    return [line.split("   #")[0].strip() for line in text.splitlines()]


def fed(*shape: int | None) -> tuple[Any, dict[Any, Any]]:
    """A placeholder, and feeds of sizes where it knows none."""
    x = tf.placeholder(tf.float32, shape)
    return x, {x: np.ones([n or 40 for n in shape], np.float32)}


def test_every_stage() -> None:
    x, feeds = fed(None, 64)
    found = tf.debug.ir(tf.nn.relu(x * 2.0 + 1.0), feeds)
    assert found.program.splitlines()[-1].startswith("return %")
    numpy, native = [p.name for p in pipeline.NUMPY], [p.name for p in pipeline.NATIVE]
    assert list(found.passes) == numpy + [f"native: {name}" for name in native]
    assert "group 1: Mul AddV2 Relu" in found.groups
    (kernel,) = found.kernels
    assert kernel.uses == ("Mul AddV2 Relu",)
    assert "define" in found.llvm and "@KERNEL" in found.llvm
    assert "fmul" in found.llvm
    assert re.search(r"<\d+ x float>", found.optimized), "LLVM vectorized it"
    assert "KERNEL:" in found.assembly
    text = str(found)
    for stage in (found.program, found.groups, found.nests, found.llvm, found.optimized, found.assembly):
        assert stage in text
    assert text.index("==== after canonicalize ====") < text.index("==== groups ====")


def test_nothing_is_run_and_no_session_is_needed() -> None:
    v = tf.Variable([1.0, 2.0])
    update = tf.assign_add(v, [1.0, 1.0])
    assert "AssignAdd" in tf.debug.ir(update).groups
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.debug.ir(update)
        tf.debug.ir(update, session=session)
        assert session.run(v).tolist() == [1.0, 2.0]


def test_the_program_after_each_pass() -> None:
    x, feeds = fed(None, 8)
    found = tf.debug.ir(tf.nn.softmax(x), feeds)
    assert "Softmax" in found.program
    assert "Softmax" in found.passes["simplify"]
    assert "Softmax" not in found.passes["native: expand"]
    assert "after canonicalize ====\n\nunchanged" in str(found)


def test_an_element_wise_nest() -> None:
    x, feeds = fed(None, 64)
    row = tf.constant(np.arange(64, dtype=np.float32))
    nest = lines(tf.debug.ir(x * 2.0 + row, feeds).nests)
    assert nest[0] == "# Mul AddV2"
    assert nest[1:3] == ["for i in 0..s0:", "for j in 0..64:"]
    assert re.fullmatch(r"%\d+\[64 i \+ j\] = \(%\d+\[64 i \+ j\] \* 2\) \+ %\d+\[j\]", nest[3])


def test_a_nest_of_one_run_of_elements() -> None:
    x, feeds = fed(None, 64)
    nest = lines(tf.debug.ir(-x, feeds).nests)
    assert nest[1] == "for j in 0..64*s0:"
    assert re.fullmatch(r"%\d+\[j\] = -%\d+\[j\]", nest[2])


def test_softmax_keeps_its_exponentials() -> None:
    x, feeds = fed(None, 64)
    nest = lines(tf.debug.ir(tf.nn.softmax(x), feeds).nests)
    assert nest.count("for j in 0..64:") == 3
    assert "r0 = -inf" in nest and "r1 = 0" in nest
    assert sum(line.startswith("k0[j] = ") for line in nest) == 1
    assert re.fullmatch(r"%\d+\[64 i \+ j\] = k0\[j\] / r1", nest[-1])


def test_reductions_that_leave() -> None:
    x, feeds = fed(None, 64)
    found = tf.debug.ir([tf.reduce_sum(x, 0), tf.reduce_max(x)], feeds)
    assert re.search(r"partial %\d+\[j\] \+= %\d+\[64 i \+ j\]|%\d+\[j\] \+= %\d+\[64 i \+ j\]", found.nests)
    assert re.search(r"= maximum\((partial )?%\d+, %\d+\[", found.nests)


def test_totals_of_several_dimensions_of_columns() -> None:
    x = tf.placeholder(tf.float32, [None, None, 8])
    pairs = x * tf.placeholder(tf.float32, [None, 1, 8])
    feeds = {x: np.ones((4, 5, 8)), pairs.op.inputs[1]: np.ones((4, 1, 8))}
    found = tf.debug.ir(tf.reduce_sum(pairs, 0), feeds)
    assert re.search(r"%\d+\[8 j0 \+ j1\] \+= ", found.nests)


def test_products_are_kernels_of_their_own() -> None:
    x, feeds = fed(None, 64)
    w = tf.Variable(np.ones((64, 32), np.float32))
    found = tf.debug.ir(tf.tanh(tf.matmul(x, w)), feeds)
    assert "group 1: MatMul Tanh" in found.groups
    assert re.search(r"matmul float32 nn.*: \d+ tiles? of \[%\d+, %\d+, %\d+\]", found.nests)


def test_what_numpy_computes_stands_between() -> None:
    x, feeds = fed(6, 4)
    q, _ = tf.linalg.qr(tf.tanh(x))
    found = tf.debug.ir(tf.exp(q), feeds)
    heads = [line for line in found.groups.splitlines() if not line.startswith("    ")]
    assert heads[0] == "segment 1"
    assert heads[2] == "NumPy, because: no native form"
    assert "Qr(" in heads[3]
    assert heads[4] == "segment 2"


def test_nothing_to_compile() -> None:
    found = tf.debug.ir(tf.constant(1.0))
    assert found.kernels == [] and found.llvm == "" and found.nests == ""


def test_without_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "complaint", lambda: "llvmlite is not installed")
    with pytest.raises(ImportError, match="llvmlite is not installed"):
        tf.debug.ir(tf.constant(1.0))


def test_few_columns_are_written_out() -> None:
    x, feeds = fed(None, 3)
    nest = tf.debug.ir(tf.nn.softmax(x), feeds).nests
    assert "# written out, so that the loop over rows is the inner one" in nest
    assert not re.search(r"k\d+\[j\]", nest), "what is kept is in registers"


def test_positions_and_sizes_are_no_memory() -> None:
    x, feeds = fed(None, 64)
    places = tf.cast(tf.range(tf.shape(x)[0]), tf.float32) * tf.cast(tf.size(x), tf.float32)
    (store,) = [line for line in lines(tf.debug.ir(places, feeds).nests) if line.startswith("%")]
    assert re.search(r"float32\(.*j.*\) \* float32\(\(64\*s0\)\)", store)


def test_updates_are_stored_where_the_variable_lies() -> None:
    v = tf.Variable(np.ones(64, np.float32))
    x, feeds = fed(64)
    nest = lines(tf.debug.ir(tf.assign_add(v, x * 2.0).op, feeds).nests)
    (store,) = [line for line in nest if line.startswith("%")]
    target, expression = store.split(" = ")
    assert expression.startswith(f"{target} + (")


def test_loops_jump() -> None:
    x, feeds = fed(None, 4)
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.tanh(a)), [0, x])
    found = lines(tf.debug.ir(y, feeds).nests)
    assert "place 1:" in found and "go to place 1" in found
    assert any(line.startswith("go to place 2 unless %") for line in found) and "place 2:" in found
