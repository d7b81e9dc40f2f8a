"""The tests are tested: faults planted into copies of real ops, each of which its check must find."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core import convert, dtypes
from tahr.core.opdef import OPS, OpDef
from tahr.core.shapes import Spec
from tahr.core.sizes import Size
from tahr.errors import Complaint, InvalidArgumentError
from tests.evaluate import evaluate, fed
from tests.ops import checks, test_registry
from tests.ops.samples import Sample

# One elementwise op, one reduction, one contraction, one composite.
SUBJECTS = ("Mul", "Sum", "MatMul", "Softmax")

PRODUCT = Sample(
    "MatMul",
    "2x3 by 3x2",
    inputs=([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]], [[0.5, 1.5], [2.5, -3.5], [4.5, 5.5]]),
    expected=[[9.0, 25.0], [-12.5, -44.5]],
    dtypes=("float32",),
)


def broken(name: str, **changes: Any) -> OpDef:
    """A copy of a registered op in which some parts are replaced; the registered one stays as it is."""
    fault = copy.copy(OPS[name])
    for part, replacement in changes.items():
        setattr(fault, part, replacement)
    return fault


def samples(name: str, dtype: str) -> list[Sample]:
    """The op's samples that run with a dtype."""
    found = [s for s in test_registry.TABLE[name] if dtype in s.dtypes]
    assert found
    return found


def is_caught(check: Callable[..., None], fault: OpDef, dtype: str, **options: Any) -> bool:
    """Whether a check fails for some sample of an op, though it passes for the op as it is."""
    caught = False
    for sample in samples(fault.name, dtype):
        if check is checks.check_gradient and not checks.has_gradient(fault, sample):
            continue
        check(checks.make_case(OPS[fault.name], sample, dtype), **options)
        try:
            check(checks.make_case(fault, sample, dtype), **options)
        except AssertionError:
            caught = True
    return caught


# ---------------------------------------------------------------- kernels


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_kernel_wrong_by_a_thousandth_is_caught(name: str) -> None:
    right = _meaning(name)
    fault = broken(name, compute=lambda *xs, **attrs: (right(*xs, **attrs) * 1.001).astype(xs[0].dtype))
    assert is_caught(checks.check_kernel, fault, "float32")


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_kernel_with_another_dtype_is_caught(name: str) -> None:
    right = _meaning(name)
    fault = broken(name, compute=lambda *xs, **attrs: right(*xs, **attrs).astype(np.float64))
    assert is_caught(checks.check_kernel, fault, "float32")


def test_a_kernel_that_modifies_its_input_is_caught() -> None:
    right = _meaning("MatMul")

    def kernel(a: Any, b: Any, **attrs: Any) -> Any:
        product = right(a, b, **attrs)
        b *= 2
        return product

    with pytest.raises(AssertionError, match="modifies input 1"):
        checks.check_kernel(checks.make_case(broken("MatMul", compute=kernel), PRODUCT, "float32"))


def test_an_undeclared_alias_is_caught() -> None:
    sample = Sample("Identity", "vector", inputs=([1.0, 2.0],), expected=[1.0, 2.0])
    fault = broken("Identity", compute=lambda x: x, aliases=())
    with pytest.raises(AssertionError, match="views of input 0"):
        checks.check_kernel(checks.make_case(fault, sample, "float32"))


def test_a_kernel_that_reads_memory_in_its_own_order_is_caught() -> None:
    sample = Sample("Neg", "vector", inputs=([1.0, 2.0, 3.0],), expected=[-1.0, -2.0, -3.0])
    fault = broken("Neg", compute=lambda x: -np.lib.stride_tricks.as_strided(x, strides=(abs(x.strides[0]),)))
    case = checks.make_case(fault, sample, "float32")
    checks.check_kernel(case)
    with pytest.raises(AssertionError, match="output 0"):
        checks.check_strides(case)


def test_a_wrong_expansion_is_caught() -> None:
    right = OPS["Softmax"].expand
    assert right is not None
    fault = broken("Softmax", expand=lambda x: right(x) * 1.001)
    assert is_caught(checks.check_expansion, fault, "float32")


def _meaning(name: str) -> Callable[..., Any]:
    compute = OPS[name].compute
    assert compute is not None
    return compute


# ---------------------------------------------------------------- shapes and dtypes


@pytest.mark.parametrize("axis", [0, 1])
def test_a_shape_rule_wrong_in_one_dimension_is_caught(axis: int) -> None:
    right = OPS["MatMul"].shape_rule
    assert right is not None

    def rule(*specs: Any, **attrs: Any) -> Any:
        shape = right(*specs, **attrs)
        return None if shape is None else tuple(d + 1 if i == axis else d for i, d in enumerate(shape))

    with pytest.raises(AssertionError, match="full shapes"):
        checks.check_shape_rule(checks.make_case(broken("MatMul", shape_rule=rule), PRODUCT, "float32"))


def test_a_shape_rule_that_knows_too_little_is_caught() -> None:
    fault = broken("MatMul", shape_rule=lambda *_, **__: None)
    with pytest.raises(AssertionError, match="full shapes"):
        checks.check_shape_rule(checks.make_case(fault, PRODUCT, "float32"))


def test_a_shape_rule_that_breaks_on_symbols_is_caught() -> None:
    right = OPS["MatMul"].shape_rule
    assert right is not None

    def rule(*specs: Any, **attrs: Any) -> Any:
        shape = right(*specs, **attrs)
        return None if shape is None else tuple(7 if isinstance(d, Size) else d for d in shape)

    with pytest.raises(AssertionError, match="symbolic"):
        checks.check_shape_rule(checks.make_case(broken("MatMul", shape_rule=rule), PRODUCT, "float32"))


def test_a_wrong_value_rule_is_caught() -> None:
    sample = Sample("Shape", "of a matrix", inputs=([[1.0, 2.0]],), expected=[1, 2])

    def rule(x: Any, **_: Any) -> Any:
        return None if x.shape is None else np.array(x.shape[::-1], dtype=object)

    with pytest.raises(AssertionError, match="value"):
        checks.check_shape_rule(checks.make_case(broken("Shape", value_rule=rule), sample, "float32"))


def test_a_dtype_that_is_let_through_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = checks.make_case(OPS["MatMul"], PRODUCT, "float32")
    checks.check_wrong_dtypes(case)
    monkeypatch.setattr(convert, "_convert_one", lambda opdef, arg, value, bound: value)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        checks.check_wrong_dtypes(case)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_gradient_wrong_by_a_thousandth_is_caught(name: str) -> None:
    right = _gradient(name)

    def rule(op: Any, dy: Any) -> Any:
        first, *others = _as_tuple(right(op, dy))
        return (first * 1.001, *others)

    assert is_caught(checks.check_gradient, broken(name, gradient_rule=rule), "float64")


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_missing_gradient_is_caught(name: str) -> None:
    right = _gradient(name)
    fault = broken(name, gradient_rule=lambda op, dy: (None, *_as_tuple(right(op, dy))[1:]))
    assert is_caught(checks.check_gradient, fault, "float64")


def test_a_gradient_whose_own_gradient_is_wrong_is_caught() -> None:
    right = _gradient("MatMul")
    fault = broken("MatMul", gradient_rule=lambda op, dy: [tf.stop_gradient(dx) for dx in right(op, dy)])
    case = checks.make_case(fault, PRODUCT, "float64")
    checks.check_gradient(case)
    with pytest.raises(AssertionError, match="finite differences"):
        checks.check_gradient(case, second=True)


def _gradient(name: str) -> Callable[..., Any]:
    rule = OPS[name].gradient_rule
    assert rule is not None
    return rule


def _as_tuple(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, (list, tuple)) else (found,)


# ---------------------------------------------------------------- the table


def test_an_op_without_a_sample_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "Nobody", OpDef("Nobody", "x: T -> y: T", register=False))
    with pytest.raises(AssertionError, match="op Nobody has no sample"):
        test_registry.test_every_op_has_a_sample("Nobody")


def test_an_op_that_means_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "Nobody", OpDef("Nobody", "x: T -> y: T", register=False))
    with pytest.raises(AssertionError, match="neither kernel nor expansion"):
        test_registry.test_every_op_means_something("Nobody")


def test_a_sample_without_an_op_is_caught() -> None:
    with pytest.raises(AssertionError, match="no such op"):
        test_registry.test_every_sample_has_an_op("Nobody")


# ---------------------------------------------------------------- the evaluator

Double = OpDef("_Double", "x: T -> y: T", register=False)
Double.kernel(lambda x: x * 2)

Quadruple = OpDef("_Quadruple", "x: T -> y: T", register=False)
Quadruple.expansion(lambda x: Double(Double(x)))

Picky = OpDef("_Picky", "x: T -> y: T", register=False)

Stateful = OpDef("_Stateful", "x: T -> y: T", register=False)
Stateful.stateful_kernel(lambda context, x: x)


@Picky.kernel
def _picky_kernel(x: Any) -> Any:
    raise Complaint("nothing is good enough")


def test_the_evaluator_walks_a_graph_once() -> None:
    calls: list[int] = []
    counting = OpDef("_Counting", "x: T -> y: T", register=False)
    counting.kernel(lambda x: calls.append(1) or x + 1)
    x = counting(1.0)
    deep = x
    for _ in range(2000):
        deep = counting(deep)
    values = evaluate([deep, x, deep])
    assert [float(v) for v in values] == [2002.0, 2.0, 2002.0]
    assert len(calls) == 2001


def test_the_evaluator_uses_what_is_fed() -> None:
    x = fed(Spec(dtypes.float32, None))
    y = Double(x)
    assert evaluate(Double(y), {x: 3}) == 12
    assert evaluate(Double(y), {y: 5}) == 10
    assert evaluate(y, {y: 7}) == 7
    with pytest.raises(NotImplementedError, match="_Fed"):
        evaluate(y)


def test_the_evaluator_expands_without_touching_the_graph() -> None:
    y = Quadruple(2.0)
    before = y.graph.version
    assert evaluate(y) == 8
    assert y.graph.version == before


def test_the_evaluator_raises_what_a_session_would() -> None:
    with pytest.raises(InvalidArgumentError, match="_Picky: nothing is good enough"):
        evaluate(Picky(1.0))
    with pytest.raises(NotImplementedError, match="_Stateful is not pure"):
        evaluate(Stateful(1.0))


def test_no_kernel_can_write_to_what_is_fed() -> None:
    writer = OpDef("_Writer", "x: T -> y: T", register=False)
    writer.kernel(lambda x: np.multiply(x, 2, out=x))
    x = fed(Spec(dtypes.float32, (2,)))
    with pytest.raises(ValueError, match="read-only"):
        evaluate(writer(x), {x: [1.0, 2.0]})
