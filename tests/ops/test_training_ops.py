"""The optimizers' steps: each op type against its formula, written for one element in Python's floats.

Whole optimizers are compared with TensorFlow in tests/recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from math import copysign, sqrt
from typing import Any

import numpy as np
import pytest

from tahr import errors
from tahr.core import dtypes
from tahr.core.graph import Graph
from tahr.core.opdef import OPS
from tahr.ops import training_ops
from tahr.ops.variable_lists import global_variables_initializer
from tahr.session.session import Session
from tahr.variables import Variable

NAMES = [
    "ApplyGradientDescent",
    "ResourceApplyGradientDescent",
    "ApplyMomentum",
    "ResourceApplyMomentum",
    "SparseApplyMomentum",
    "ResourceSparseApplyMomentum",
    "ApplyAdagrad",
    "ResourceApplyAdagrad",
    "SparseApplyAdagrad",
    "ResourceSparseApplyAdagrad",
    "ApplyAdagradDA",
    "ResourceApplyAdagradDA",
    "SparseApplyAdagradDA",
    "ResourceSparseApplyAdagradDA",
    "ApplyAdadelta",
    "ResourceApplyAdadelta",
    "SparseApplyAdadelta",
    "ResourceSparseApplyAdadelta",
    "ApplyRMSProp",
    "ResourceApplyRMSProp",
    "SparseApplyRMSProp",
    "ResourceSparseApplyRMSProp",
    "ApplyCenteredRMSProp",
    "ResourceApplyCenteredRMSProp",
    "SparseApplyCenteredRMSProp",
    "ResourceSparseApplyCenteredRMSProp",
    "ApplyAdam",
    "ResourceApplyAdam",
    "ApplyFtrl",
    "ResourceApplyFtrl",
    "SparseApplyFtrl",
    "ResourceSparseApplyFtrl",
    "ApplyFtrlV2",
    "ResourceApplyFtrlV2",
    "SparseApplyFtrlV2",
    "ResourceSparseApplyFtrlV2",
    "ApplyProximalGradientDescent",
    "ResourceApplyProximalGradientDescent",
    "SparseApplyProximalGradientDescent",
    "ResourceSparseApplyProximalGradientDescent",
    "ApplyProximalAdagrad",
    "ResourceApplyProximalAdagrad",
    "SparseApplyProximalAdagrad",
    "ResourceSparseApplyProximalAdagrad",
]

RATES = {
    "alpha": 0.1,
    "lr": 0.1,
    "l1": 0.25,
    "l2": 0.125,
    "l2_shrinkage": 0.375,
    "lr_power": -0.75,
    "momentum": 0.875,
    "rho": 0.75,
    "epsilon": 0.0625,
    "beta1": 0.75,
    "beta2": 0.9375,
    "beta1_power": 0.5625,
    "beta2_power": 0.875,
}
STEP = 3

# One element: (w, slots, gradient, rates, attributes) -> (w, slots).
Rule = Callable[[float, list[float], float, dict[str, float], dict[str, bool]], tuple[float, list[float]]]


def shrink(x: float, threshold: float) -> float:
    return 0.0 if abs(x) <= threshold else copysign(abs(x) - threshold, x)


def gradient_descent(w, slots, g, r, attrs):
    return w - r["alpha"] * g, []


def momentum(w, slots, g, r, attrs):
    a = r["momentum"] * slots[0] + g
    return w - r["lr"] * (g + r["momentum"] * a if attrs.get("use_nesterov") else a), [a]


def adagrad(w, slots, g, r, attrs):
    a = slots[0] + (g * g if attrs.get("update_slots", True) else 0)
    return w - r["lr"] * g / sqrt(a), [a]


def adagrad_da(w, slots, g, r, attrs):
    total, squares = slots[0] + g, slots[1] + g * g
    return -r["lr"] * shrink(total, r["l1"] * STEP) / (r["l2"] * STEP * r["lr"] + sqrt(squares)), [
        total,
        squares,
    ]


def adadelta(w, slots, g, r, attrs):
    a = r["rho"] * slots[0] + (1 - r["rho"]) * g * g
    update = sqrt(slots[1] + r["epsilon"]) / sqrt(a + r["epsilon"]) * g
    return w - r["lr"] * update, [a, r["rho"] * slots[1] + (1 - r["rho"]) * update * update]


def rmsprop(w, slots, g, r, attrs):
    ms = r["rho"] * slots[0] + (1 - r["rho"]) * g * g
    mom = r["momentum"] * slots[1] + r["lr"] * g / sqrt(ms + r["epsilon"])
    return w - mom, [ms, mom]


def centered_rmsprop(w, slots, g, r, attrs):
    mg = r["rho"] * slots[0] + (1 - r["rho"]) * g
    ms = r["rho"] * slots[1] + (1 - r["rho"]) * g * g
    mom = r["momentum"] * slots[2] + r["lr"] * g / sqrt(ms - mg * mg + r["epsilon"])
    return w - mom, [mg, ms, mom]


def adam(w, slots, g, r, attrs):
    m = r["beta1"] * slots[0] + (1 - r["beta1"]) * g
    v = r["beta2"] * slots[1] + (1 - r["beta2"]) * g * g
    ahead = r["beta1"] * m + (1 - r["beta1"]) * g if attrs.get("use_nesterov") else m
    rate = r["lr"] * sqrt(1 - r["beta2_power"]) / (1 - r["beta1_power"])
    return w - rate * ahead / (sqrt(v) + r["epsilon"]), [m, v]


def ftrl(w, slots, g, r, attrs, shrinkage=0.0):
    total = slots[0] + g * g
    new, old = total ** -r["lr_power"], slots[0] ** -r["lr_power"]
    linear = slots[1] + g + 2 * shrinkage * w - (new - old) / r["lr"] * w
    return -shrink(linear, r["l1"]) / (new / r["lr"] + 2 * r["l2"]), [total, linear]


def ftrl_v2(w, slots, g, r, attrs):
    return ftrl(w, slots, g, r, attrs, r["l2_shrinkage"])


def proximal_gradient_descent(w, slots, g, r, attrs, rate=None):
    rate = r["alpha"] if rate is None else rate
    return shrink(w - rate * g, rate * r["l1"]) / (1 + rate * r["l2"]), []


def proximal_adagrad(w, slots, g, r, attrs):
    a = slots[0] + g * g
    return proximal_gradient_descent(w, [], g, r, attrs, r["lr"] / sqrt(a))[0], [a]


RULES: dict[str, tuple[int, Rule]] = {
    "GradientDescent": (0, gradient_descent),
    "Momentum": (1, momentum),
    "Adagrad": (1, adagrad),
    "AdagradDA": (2, adagrad_da),
    "Adadelta": (2, adadelta),
    "RMSProp": (2, rmsprop),
    "CenteredRMSProp": (3, centered_rmsprop),
    "Adam": (2, adam),
    "Ftrl": (2, ftrl),
    "FtrlV2": (2, ftrl_v2),
    "ProximalGradientDescent": (0, proximal_gradient_descent),
    "ProximalAdagrad": (1, proximal_adagrad),
}


def rule_of(name: str) -> tuple[int, Rule]:
    return RULES[name.partition("Apply")[2]]


def step(
    name: str,
    state: list[np.ndarray],
    grad: np.ndarray,
    indices: Any = None,
    rates: dict[str, Any] | None = None,
    **attrs: Any,
) -> list[np.ndarray]:
    """Run one operation in a session and return the variable and its slots."""
    definition = OPS[name]
    with Graph().as_default() as graph:
        variables = [Variable(a, use_resource=name.startswith("Resource")) for a in state]
        given: dict[str, Any] = {k: np.asarray(v, grad.dtype) for k, v in {**RATES, **(rates or {})}.items()}
        given.update(grad=grad, delta=grad, indices=indices, global_step=np.int64(STEP))
        inputs = [given[arg.name] for arg in definition.inputs[len(state) :]]
        result = definition(*(v.handle_or_ref for v in variables), *inputs, **attrs)
        with Session(graph=graph) as session:
            session.run(global_variables_initializer())
            new = session.run(result)
            found = session.run(variables)
    if new is not None:
        np.testing.assert_array_equal(new, found[0])
    return found


def arrays(name: str, shape: tuple[int, ...], dtype: Any = "float64") -> tuple[list[np.ndarray], np.ndarray]:
    """A variable, slots and a gradient with a zero in it.

    Slots are positive, as sums of squares are, and a later one exceeds the square of the one before, as a
    mean of squares exceeds the square of the mean.
    """
    random = np.random.default_rng(7)
    slots, _ = rule_of(name)
    state = [random.normal(size=shape), *(random.uniform(i + 0.5, i + 0.9, shape) for i in range(slots))]
    grad = random.normal(size=shape)
    if grad.ndim and grad.size:
        grad.flat[0] = 0
    return [a.astype(dtype) for a in state], grad.astype(dtype)


def by_element(name: str, state: list[np.ndarray], grad: np.ndarray, **attrs: bool) -> list[np.ndarray]:
    """The same step by the formulas above."""
    _, rule = rule_of(name)
    # The rates as the dtype under test has them.
    rates = {k: float(np.asarray(v, grad.dtype)) for k, v in RATES.items()}
    found = [np.empty(a.shape) for a in state]
    for at in np.ndindex(grad.shape):
        w, slots = rule(float(state[0][at]), [float(a[at]) for a in state[1:]], float(grad[at]), rates, attrs)
        for array, value in zip(found, [w, *slots], strict=True):
            array[at] = value
    return found


def assert_close(got: list[np.ndarray], expected: list[np.ndarray], rtol: float = 1e-12) -> None:
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.astype(np.float64), b, rtol, rtol)


DENSE = [name for name in NAMES if "Sparse" not in name]
SPARSE = [name for name in NAMES if "Sparse" in name]


def test_every_step_is_listed() -> None:
    assert sorted(NAMES) == sorted(name for name in OPS if "Apply" in name)


@pytest.mark.parametrize("shape", [(3, 2), (), (0, 2)], ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_dense(name: str, shape: tuple[int, ...]) -> None:
    state, grad = arrays(name, shape)
    assert_close(step(name, state, grad), by_element(name, state, grad))


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-5), ("float16", 2e-2), ("bfloat16", 2e-1)])
@pytest.mark.parametrize("name", [name for name in DENSE if "Resource" not in name])
def test_dtypes(name: str, dtype: str, rtol: float) -> None:
    state, grad = arrays(name, (4,), dtypes.as_dtype(dtype).numpy)
    found = step(name, state, grad)
    assert all(a.dtype == grad.dtype for a in found)
    assert_close(found, by_element(name, state, grad), rtol)


@pytest.mark.parametrize(
    ("name", "attr", "value"),
    [
        ("ApplyMomentum", "use_nesterov", True),
        ("SparseApplyMomentum", "use_nesterov", True),
        ("ApplyAdagrad", "update_slots", False),
        ("ApplyAdam", "use_nesterov", True),
    ],
)
def test_attributes(name: str, attr: str, value: bool) -> None:
    state, grad = arrays(name, (3, 2))
    indices = [0, 1, 2] if "Sparse" in name else None
    attrs: dict[str, Any] = {attr: value}
    assert_close(step(name, state, grad, indices, **attrs), by_element(name, state, grad, **attrs))


@pytest.mark.parametrize("name", ["ApplyAdam", "ApplyFtrl"])
def test_variable_larger_than_a_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_ops, "BLOCK", 4)
    state, grad = arrays(name, (3, 3))
    assert_close(step(name, state, grad), by_element(name, state, grad))


@pytest.mark.parametrize("name", ["ApplyAdam", "ApplyMomentum"])
def test_arrays_in_other_orders(name: str) -> None:
    state, grad = arrays(name, (3, 4))
    found = step(name, [np.asfortranarray(a) for a in state], np.asfortranarray(grad))
    assert_close(found, by_element(name, state, grad))


@pytest.mark.parametrize("name", SPARSE)
def test_rows(name: str) -> None:
    state, grad = arrays(name, (4, 2))
    rows = [3, 1]
    found = step(name, state, grad[:2], rows)
    expected = [a.astype(np.float64) for a in state]
    for whole, part in zip(expected, by_element(name, [a[rows] for a in state], grad[:2]), strict=True):
        whole[rows] = part
    assert_close(found, expected)


def test_no_rows() -> None:
    state, grad = arrays("SparseApplyMomentum", (4, 2))
    assert_close(step("SparseApplyMomentum", state, grad[:0], np.zeros(0, np.int32)), state)


def test_repeated_rows_change_in_order() -> None:
    state, grad = arrays("SparseApplyAdagrad", (2, 2))
    found = step("SparseApplyAdagrad", state, grad, [1, 1])
    rows = [a[1:] for a in state]
    for i in range(2):
        rows = by_element("SparseApplyAdagrad", rows, grad[i : i + 1])
    assert_close([a[1:] for a in found], rows)
    assert_close([a[:1] for a in found], [a[:1] for a in state])


def test_row_out_of_range() -> None:
    state, grad = arrays("SparseApplyAdagrad", (2, 2))
    with pytest.raises(errors.InvalidArgumentError, match="Index 2 at offset 1 in indices is out of range"):
        step("SparseApplyAdagrad", state, grad, [0, 2])


def test_rate_that_is_no_scalar() -> None:
    state, grad = arrays("ApplyAdagrad", (2,))
    with pytest.raises(ValueError, match="Shape must be rank 0 but is rank 1"):
        step("ApplyAdagrad", state, grad, rates={"lr": [0.1, 0.2]})


def test_gradient_of_another_shape() -> None:
    state, grad = arrays("ApplyAdagrad", (2,))
    with pytest.raises(ValueError, match=r"grad is \[1\]"):
        step("ApplyAdagrad", state, grad[:1])
    # A handle does not tell the shape, so for a resource variable it shows when the step runs.
    with pytest.raises(errors.InvalidArgumentError, match="do not have the same shape"):
        step("ResourceApplyAdagrad", state, grad[:1])


def test_uninitialized_slot() -> None:
    with Graph().as_default() as graph:
        w, slot = (Variable(lambda: np.ones(2, np.float32)) for _ in range(2))
        rate, grad = np.float32(0.1), np.ones(2, np.float32)
        update = OPS["ApplyAdagrad"](w.handle_or_ref, slot.handle_or_ref, rate, grad)
        with Session(graph=graph) as session:
            session.run(w.initializer)
            with pytest.raises(errors.FailedPreconditionError, match="uninitialized value Variable_1"):
                session.run(update)
            np.testing.assert_array_equal(session.run(w), [1, 1])
