"""Other processors: everything again for x86-64 without AVX, and a training step's kernels for 64-bit Arm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import conversions, engine, ir, kernel, runtime, target as targets
from tahr.backends.native.engine import Engine
from tahr.backends.native.kernel import Kernel, with_parts
from tahr.backends.native.target import AARCH64, BASELINE, Target
from tests.backends.native.test_engine import call

ROOT = Path(__file__).parents[3]
HERE = "tests/backends/native"
# One op of each form of computation.
SOME = [
    "AddV2",
    "Tanh",
    "Cast",
    "Sum",
    "Max",
    "MatMul",
    "BatchMatMulV2",
    "Softmax",
    "ConcatV2",
    "GatherV2",
    "Conv2D",
    "Cumsum",
]


def on_baseline(*arguments: str) -> None:
    """Runs tests in a process of their own, compiled for the oldest x86-64."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]
    environment = {**os.environ, "TAHR_TARGET": "baseline"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


x86 = pytest.mark.skipif(targets.host().architecture != "x86_64", reason="needs x86-64")


@x86
@pytest.mark.timeout(600)
def test_some_ops_and_graphs_without_avx() -> None:
    names = [f"{HERE}/test_ops.py::test_op[{name}-sizes hidden]" for name in SOME]
    graphs = f"{HERE}/test_random_graphs.py::test_small_batches"
    angles = f"{HERE}/test_large_angles.py"
    smallest = f"{HERE}/test_smallest_numbers.py"
    threads = f"{HERE}/test_threads.py::test_bits_do_not_depend_on_the_number_of_threads"
    on_baseline(*names, graphs, angles, smallest, threads)


@x86
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", ["test_ops.py", "test_random_graphs.py", "test_threads.py", "test_feeds.py"])
def test_everything_without_avx(file: str) -> None:
    on_baseline(f"{HERE}/{file}")


@x86
@pytest.mark.parametrize("name", conversions.NAMES)
def test_what_llvm_calls_to_convert_halves(name: str) -> None:
    source, target = conversions.NAMES[name]
    f = kernel.function()
    x, y, count = kernel.buffer(f, 0), kernel.buffer(f, 1), kernel.size(f, 0)
    kinds = ir.MEMORY[source], ir.MEMORY[target]
    with f.loop(0, count) as i:
        given = f.load(kinds[0], f.at(kinds[0], x, i))
        instruction = "fpext" if source.size < target.size else "fptrunc"
        made = f.value(f"{instruction} {kinds[0]} {given} to {kinds[1]}")
        f.store(kinds[1], made, f.at(kinds[1], y, i))
    converting = Kernel(kernel.AS_WRITTEN + f.finish(), 0, name)
    assert name in Engine(BASELINE).assembly_of(converting)
    numbers = np.array([0.0, -0.0, 1.0, 1 + 2**-9, 1 + 2**-11, -65504.0, 1e6, 1e-6, np.inf, -np.inf, np.nan])
    with np.errstate(over="ignore"):
        given = numbers.astype(source.numpy)
        expected = given.astype(target.numpy)
    got = np.zeros(len(given), target.numpy)
    with targets.using(BASELINE):
        (address,) = engine.load([converting])
        call(address, [given, got], [len(given)], 1)
    np.testing.assert_array_equal(got.astype(np.float64), expected.astype(np.float64))


# ---------------------------------------------------------------- 64-bit Arm


def training_step() -> tuple[list[Any], dict[Any, np.ndarray]]:
    """Every form of computation in one step."""
    x, ids = tf.placeholder(tf.float32, [None, 8, 8, 3]), tf.placeholder(tf.int32, [None])
    filters, weights = tf.Variable(tf.zeros([3, 3, 3, 8])), tf.Variable(tf.zeros([128, 10]))
    table = tf.Variable(tf.zeros([20, 10]))
    y = tf.nn.relu(tf.nn.conv2d(x, filters, [1, 1, 1, 1], "SAME"))
    y = tf.nn.dropout(tf.nn.max_pool(y, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"), rate=0.5)
    logits = tf.matmul(tf.reshape(y, [-1, 128]), weights) + tf.gather(table, ids)
    halves = tf.cast(tf.nn.sigmoid(tf.cast(logits, tf.float16)), tf.float32)
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids // 2, logits=logits * halves)
    )
    loss += tf.reduce_mean(tf.sin(tf.transpose(logits)))
    train = tf.train.AdamOptimizer().minimize(loss)
    return [train, loss], {x: np.ones((6, 8, 8, 3), np.float32), ids: np.arange(6, dtype=np.int32)}


class _Enough(Exception):
    """The kernels were seen; nothing can run."""


@pytest.mark.parametrize("target", [AARCH64, BASELINE], ids=lambda t: t.triple)
def test_kernels_of_a_training_step_compile(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    fetches, feeds = training_step()
    seen: dict[str, Kernel] = {}

    def load(kernels: Sequence[Kernel]) -> list[int]:
        seen.update({kernel.symbol: kernel for kernel in with_parts(kernels)})
        return [0] * len(kernels)

    def run(*arguments: Any) -> None:
        raise _Enough

    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        monkeypatch.setattr(engine, "load", load)
        monkeypatch.setattr(runtime.Runtime, "run", run)
        with targets.using(target), pytest.raises(_Enough):
            session.run(fetches, feeds)
    own = Engine(target)
    objects = own.objects_of(list(seen.values()))
    titles = "\n".join(kernel.title for kernel in seen.values())
    for word in ("convolution float32", "to filter", "max pool", "matmul", "lookup", "uniform", "ApplyAdam"):
        assert word in titles
    assert all(data[:4] == b"\x7fELF" and len(data) > 100 for data in objects)
