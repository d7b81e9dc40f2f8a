"""The random ops: recorded values through kernels, seeds, static shapes, and names in the graph."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tahr as tf
from tahr.autodiff.gradients import gradients
from tahr.core import dtypes
from tahr.core.convert import constant
from tahr.core.graph import Graph
from tahr.core.opdef import OPS
from tahr.core.scopes import get_default_graph, set_random_seed
from tahr.core.tensor_shapes import TensorShape
from tahr.errors import Complaint, InvalidArgumentError
from tahr.ops import candidate_sampling, random, seeds
from tahr.ops.placeholders import placeholder
from tahr.ops.streams import Stream
from tahr.session.session import Session

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "random_values.json").read_text())["cases"]
BY_NAME = {t.name: t for t in dtypes.ALL}


class OneStream:
    """A context for the kernel of one operation: its stream starts from the seeds of the first draw."""

    def __init__(self) -> None:
        self._stream: Stream | None = None

    def stream(self, seed: int, seed2: int) -> Any:
        self._stream = self._stream or Stream(seed, seed2)
        return nullcontext(self._stream)


def arguments(case: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The inputs and attributes of an op's kernel for a recorded case."""
    dtype = BY_NAME[case["dtype"]]
    attrs: dict[str, Any] = dict(zip(("seed", "seed2"), case["seeds"], strict=True))
    shape = np.array(case.get("shape", []), np.int32)
    match case["op"]:
        case "RandomUniformInt":
            return [shape, *(np.array(case[k], dtype.numpy) for k in ("minval", "maxval"))], attrs
        case "RandomGamma":
            return [shape, np.array(case["alpha"], dtype.numpy)], attrs
        case "RandomPoissonV2":
            return [shape, np.array(case["rate"], np.float64)], {**attrs, "dtype": dtype}
        case "Multinomial":
            logits = np.array([row.split() for row in case["logits"]]).astype(np.float32)
            return [logits, np.array(case["num_samples"], np.int32)], {**attrs, "output_dtype": dtype}
        case "RandomShuffle":
            return [np.arange(case["size"])], attrs
        case "UniformCandidateSampler" | "LogUniformCandidateSampler":
            sizes = {k: case[k] for k in ("num_sampled", "unique", "range_max")}
            return [np.array([[0, 11], [3, 5]])], {**attrs, "num_true": 2, **sizes}
        case _:
            return [shape], {**attrs, "dtype": dtype}


RECORDED = [c for c in FIXTURE if max([*c.get("shape", [0]), c.get("size", 0)]) < 100]


@pytest.mark.parametrize("case", RECORDED, ids=lambda c: f"{c['op']}-{c['dtype']}-{FIXTURE.index(c)}")
def test_kernels_draw_tensorflows_values(case):
    inputs, attrs = arguments(case)
    kernel, context = OPS[case["op"]].compute, OneStream()
    assert kernel is not None
    for run in case["runs"]:  # every run goes on in the same stream
        found = kernel(context, *inputs, **attrs)
        values = found[0] if isinstance(found, tuple) else found
        assert list(values.shape) == run["shape"]
        dtype = ml_dtypes.bfloat16 if case["dtype"] == "bfloat16" else np.dtype(case["dtype"])
        assert values.dtype == dtype
        if "values" in run:
            expected = np.frombuffer(bytes.fromhex(run["values"]), dtype).reshape(run["shape"])
            np.testing.assert_allclose(values.astype(np.float64), expected.astype(np.float64), rtol=1e-14)


def test_shuffling_nothing_does_not_draw():
    context = OneStream()
    kernel = OPS["RandomShuffle"].compute
    assert kernel is not None
    for value in (np.zeros([3, 0]), np.array(7.0)):
        assert kernel(context, value, seed=1, seed2=2).shape == value.shape
    first = kernel(context, np.arange(9), seed=1, seed2=2)
    assert first.tolist() == Stream(1, 2).random_shuffle(9).tolist()


def test_shuffled_rows_stay_whole():
    kernel = OPS["RandomShuffle"].compute
    assert kernel is not None
    rows = np.arange(12).reshape(6, 2)
    shuffled = kernel(OneStream(), rows, seed=1, seed2=2)
    assert shuffled.tolist() != rows.tolist()
    assert sorted(map(tuple, shuffled.tolist())) == sorted(map(tuple, rows.tolist()))


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "phrase"),
    [
        ("RandomUniformInt", [[2], 5, 5], {}, "Need minval < maxval, got 5 >= 5"),
        ("RandomUniform", [[2, -1]], {"dtype": dtypes.float32}, "Dimensions must be >= 0"),
        ("Multinomial", [[[]], 2], {"output_dtype": dtypes.int64}, "num_classes should be positive"),
        ("RandomPoissonV2", [[2], np.nan], {"dtype": dtypes.int64}, "rate must be finite"),
        (
            "UniformCandidateSampler",
            [[[1, 2]]],
            {"num_true": 3, "num_sampled": 2, "unique": True, "range_max": 5},
            "true_classes must have num_true columns",
        ),
        (
            "LogUniformCandidateSampler",
            [[[1, 2]]],
            {"num_true": 2, "num_sampled": 9, "unique": True, "range_max": 5},
            "Sampler's range is too small",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kernel_complains(op, inputs, attrs, phrase):
    kernel = OPS[op].compute
    assert kernel is not None
    with pytest.raises(Complaint, match=phrase):
        kernel(OneStream(), *map(np.asarray, inputs), seed=1, seed2=2, **attrs)


# ---- Seeds ----


def test_seeds_follow_the_graphs_and_the_ops():
    with Graph().as_default():
        assert seeds.get_seed(None) == (None, None)
        assert seeds.get_seed(3) == (87654321, 3)
        set_random_seed(5)
        assert seeds.get_seed(3) == (5, 3)
        random.random_uniform([2])  # shape, min and max precede the draw
        draw = get_default_graph().get_operation_by_name("random_uniform/RandomUniform")
        assert (draw.attrs["seed"], draw.attrs["seed2"]) == (5, 3)


def test_without_seeds_the_operating_system_gives_one():
    with Graph().as_default():
        op = random.random_shuffle([1, 2]).op
        assert (op.attrs["seed"], op.attrs["seed2"]) == (0, 0)


# ---- Through a session ----


def test_functions_return_tensorflows_values_run_by_run():
    """The numbers are what TensorFlow 2.21 (compat.v1) returns."""
    with Graph().as_default():
        uniform = random.random_uniform([2], 1, 3, seed=4)
        crop = random.random_crop(np.arange(24).reshape(4, 6), [2, 3], seed=4)
        poisson = random.random_poisson([1.0, 20.0], [2], seed=4)
        with Session() as session:
            for expected in (
                ([2.913163423538208, 1.5336215496063232], [[3, 4, 5], [9, 10, 11]], [[3, 25], [1, 13]]),
                ([2.785634994506836, 1.6241912841796875], [[13, 14, 15], [19, 20, 21]], [[2, 20], [1, 24]]),
            ):
                for found, wanted in zip(session.run([uniform, crop, poisson]), expected, strict=True):
                    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_one_number_of_one_distribution():
    for draw in (tf.random_gamma([], 1.0), tf.random_poisson(3.0, [])):
        with tf.Session() as session:
            assert session.run(draw).shape == ()


def test_the_gradient_of_gamma_numbers():
    """The numbers are what TensorFlow 2.21 (compat.v1) returns."""
    with Graph().as_default():
        alpha, beta = constant([0.5, 1.0, 3.0]), constant(2.0)
        y = random.random_gamma([2], alpha, beta, seed=1)
        with Session() as session:
            values, by_alpha, by_beta = session.run([y, *gradients(y, [alpha, beta])])
    drawn = [[0.19318825, 0.37376592, 1.02973926], [0.1851846, 0.2398430, 1.8793252]]
    np.testing.assert_allclose(values, drawn, rtol=1e-6)
    np.testing.assert_allclose(by_alpha, [1.150784969, 0.898129702, 1.025450349], rtol=1e-5)
    np.testing.assert_allclose(by_beta, -1.950523019, rtol=1e-5)


def test_a_crop_that_does_not_fit():
    with Graph().as_default(), Session() as session:
        crop = random.random_crop(placeholder(dtypes.float32, [None]), [5])
        with pytest.raises(InvalidArgumentError, match=r"Need value\.shape >= size, got "):
            session.run(crop, {"Placeholder:0": [1.0, 2.0]})


# ---- Names, types and static shapes ----


def built(make):
    """The operations that a function adds to an empty graph, as `name:type`."""
    with Graph().as_default() as graph:
        make()
        return [f"{op.name}:{op.type}" for op in graph.get_operations()]


def test_names_are_tensorflows():
    affine = [
        "n/shape:Const",
        "n/mean:Const",
        "n/stddev:Const",
        "n/RandomStandardNormal:RandomStandardNormal",
    ]
    assert built(lambda: random.random_normal([2], name="n")) == [*affine, "n/mul:Mul", "n:Add"]
    names = [name.split(":")[0] for name in built(lambda: random.random_uniform([2]))]
    inner = ["shape", "min", "max", "RandomUniform", "sub", "mul"]
    assert names == [*(f"random_uniform/{name}" for name in inner), "random_uniform"]
    assert (
        built(lambda: random.random_uniform([2], 1, 5, dtypes.int32))[-1] == "random_uniform:RandomUniformInt"
    )
    assert (
        built(lambda: random.truncated_normal([2]))[3] == "truncated_normal/TruncatedNormal:TruncatedNormal"
    )
    assert built(lambda: random.multinomial([[1.0]], 2)) == [
        "multinomial/logits:Const",
        "multinomial/Multinomial/num_samples:Const",
        "multinomial/Multinomial:Multinomial",
    ]
    assert built(lambda: random.categorical([[1.0]], 2))[-1] == "categorical/Multinomial:Multinomial"
    assert (
        built(lambda: random.random_poisson(1.0, [2]))[-1] == "random_poisson/RandomPoissonV2:RandomPoissonV2"
    )
    assert built(lambda: random.random_gamma([2], 1.0))[-1] == "random_gamma/Maximum:Maximum"
    assert built(lambda: random.random_crop([1, 2], [1]))[-1] == "random_crop:Slice"


def test_static_shapes():
    with Graph().as_default():
        unknown = placeholder(dtypes.int32, [None])
        assert random.random_uniform([2, 3]).shape.as_list() == [2, 3]
        assert random.random_normal([]).shape.as_list() == []
        assert random.truncated_normal(TensorShape([4])).shape.as_list() == [4]
        assert random.random_normal(unknown).shape.ndims is None
        assert random.random_gamma([2], np.ones([3, 1]), np.ones([1, 4])).shape.as_list() == [2, 3, 4]
        assert random.random_poisson([1.0, 2.0], [5]).shape.as_list() == [5, 2]
        assert random.multinomial(np.ones([6, 2]), 7).shape.as_list() == [6, 7]
        assert random.random_crop(np.ones([6, 5, 3]), [2, 5, 3]).shape.as_list() == [2, 5, 3]
        sampled = candidate_sampling.uniform_candidate_sampler([[1, 2]], 2, 3, True, 10)
        assert [t.shape.as_list() for t in sampled] == [[3], [1, 2], [3]]
        rows = random.random_shuffle(placeholder(dtypes.float32, [None, 2]))
        assert rows.shape.as_list() == [None, 2]


def test_bad_arguments():
    with Graph().as_default():
        with pytest.raises(ValueError, match="Must specify maxval for integer dtype"):
            random.random_uniform([2], dtype=dtypes.int32)
        with pytest.raises(ValueError, match="Invalid dtype"):
            random.random_uniform([2], dtype=dtypes.string)
        with pytest.raises(TypeError, match="not in list of allowed values: float32, float64"):
            random.random_normal([2], dtype=dtypes.complex64)
