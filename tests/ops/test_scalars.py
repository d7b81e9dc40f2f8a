"""The ops' functions of one element: each against the op's NumPy kernel, evaluated by NumPy and compiled by LLVM."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import target
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.forms import Elementwise, Update
from tahr.core.opdef import OPS, OpDef
from tests.backends.native.loop import Loop
from tests.ops.test_training_ops import RATES

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")

# Sorted, so that test processes side by side collect the same tests.
SUPPORTED = sorted(scalar.SUPPORTED, key=lambda dtype: dtype.name)

FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, 1.5, 2.5, -2.5, 7.0, -7.0, 1e-3, -1e-3, 0.9, 1.1, 6.0, 100.25,
    np.inf, -np.inf, np.nan, 1e4, -1e4, -88.7, 88.7, -104.0, 104.0, 1e30, -1e30, 1e-30, 3e38, -3e38,
    1e300, -1e300, 1e-300,
)  # fmt: skip
INTEGERS = (0, 1, 2, 3, 5, 7, 100, 127, 128, -1, -2, -5, -7, -100, -128)

_SIGNED = frozenset({dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64})
# Ops whose function is not defined for some dtypes, although their kernel is.
PARTIAL = {
    "Reciprocal": _SIGNED,  # of an integer that is 0 it is an error
    "Inv": _SIGNED,
    "Pow": _SIGNED,  # an integer to a power that may be negative is an error
    "Lgamma": {dtypes.float64},  # not exact enough near its zeros
    "Digamma": {dtypes.float64},
}
DIVISIONS = ("FloorDiv", "TruncateDiv", "Div", "FloorMod", "TruncateMod", "Mod")
# Ops of the elementwise form that have no such function.
WITHOUT = {
    "Complex": "complex",
    "Real": "complex",
    "Imag": "complex",
    "Angle": "complex",
    "Conj": "complex",
    "ComplexAbs": "complex",
    "CheckCrop": "it exists to raise an error",
    "Polygamma": "series",
    "Zeta": "series",
    "Igamma": "series",
    "IgammaGradA": "series",
    "Igammac": "series",
    "Betainc": "series",
    "RandomGammaGrad": "series",
}


def elementwise() -> list[OpDef]:
    return [op for op in OPS.values() if isinstance(op.form, Elementwise)]


def test_every_elementwise_op_has_a_function_or_a_reason_for_none():
    assert {op.name for op in elementwise() if not has_function(op)} == set(WITHOUT)


def has_function(op: OpDef) -> bool:
    return isinstance(op.form, Elementwise) and op.form.scalar is not None


def function(op: OpDef) -> Callable[..., Any]:
    """The op's function of one element."""
    assert isinstance(op.form, (Elementwise, Update)) and op.form.scalar is not None
    return op.form.scalar


def run(op: OpDef, *inputs: Any, **attrs: Any) -> Any:
    """What the op's kernel gives."""
    assert op.compute is not None
    with np.errstate(all="ignore"):
        return op.compute(*inputs, **attrs)


def dtypes_of(op: OpDef) -> list[list[DType]]:
    """The dtypes of the inputs, for each dtype that the op and the language have in common."""
    found: list[list[DType]] = []
    for dtype in SUPPORTED:
        row: list[DType] = []
        for arg in op.inputs:
            allowed = op.types.get(arg.type)
            named = dtypes.bool_ if arg.type == "bool" else dtype
            row += [named] * (3 if arg.is_list else 1)
            if allowed is not None and named not in allowed:
                break
        else:
            if row not in found:
                found.append(row)
    return found


def attributes(op: OpDef) -> Iterator[dict[str, Any]]:
    if op.name == "Cast":
        for target in SUPPORTED:
            yield {"DstT": target, "Truncate": False}
    else:
        yield dict(op.attrs)


def cases() -> list[Any]:
    return [
        pytest.param(op, inputs, id=f"{op.name}-{inputs[0].name}")
        for op in elementwise()
        if has_function(op)
        for inputs in dtypes_of(op)
        if inputs[0] not in PARTIAL.get(op.name, ())
    ]


def values(dtype: DType) -> np.ndarray:
    with np.errstate(all="ignore"):
        if dtype.is_floating:
            spread = np.random.default_rng(0).normal(size=24) * np.repeat([1.0, 1e-4, 20.0], 8)
            return np.concatenate([FLOATS, spread]).astype(dtype.numpy)
        return np.array(INTEGERS).astype(dtype.numpy)


def inputs_of(row: list[DType]) -> list[np.ndarray]:
    """All pairs of values; for more inputs the values side by side, shifted."""
    columns = [values(dtype) for dtype in row]
    if len(row) <= 2:
        return [np.array(column) for column in zip(*itertools.product(*columns))]
    return [np.resize(np.roll(column, 3 * i), 256) for i, column in enumerate(columns)]


def check(result: np.ndarray, expected: np.ndarray, dtype: DType, ulps: float = 4) -> None:
    """Values agree within some units in the last place; what is below the normal numbers may be zero."""
    assert result.dtype == expected.dtype
    if not dtype.is_floating:
        np.testing.assert_array_equal(result, expected)
        return
    one = np.ones((), result.dtype)
    epsilon = float(np.nextafter(one, one + one) - one)
    tiny = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}[
        dtype.name
    ]
    found, wanted = result.astype(np.float64), expected.astype(np.float64)
    same = (found == wanted) | np.isnan(found) & np.isnan(wanted)
    with np.errstate(all="ignore"):
        near = np.abs(found - wanted) <= ulps * epsilon * np.abs(wanted)
    near |= (np.abs(wanted) <= 2 * tiny) & (np.abs(found) <= 2 * tiny)
    wrong = np.flatnonzero(~(same | near))
    assert not wrong.size, (wrong[:5], found[wrong[:5]], wanted[wrong[:5]])


def widened(x: np.ndarray) -> np.ndarray:
    """Halves as float32, in which expressions compute them; the kernels round after every step."""
    return x.astype(np.float32) if x.dtype in (np.float16, dtypes.bfloat16.numpy) else x


# Where a function says something else than the kernel, and why.
def agreed(op: OpDef, inputs: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    """Where function and kernel must agree."""
    if op.name in DIVISIONS and inputs[1].dtype.kind in "iu":  # an error, which a pass looks for
        return inputs[1] != 0
    if op.name == "Cast" and inputs[0].dtype.kind in "fV" and attrs["DstT"].is_integer:
        # What becomes of a float that does not fit depends on the processor.
        limits = np.iinfo(attrs["DstT"].numpy)
        x = inputs[0].astype(np.float64)
        return (
            (x > float(limits.min) - 1)
            & (x < float(limits.max) + (limits.bits < 64))
            & (x >= float(limits.min))
        )
    return np.ones(inputs[0].shape, bool)


Case = tuple[str, int]  # an op, and which of its sets of attributes


@functools.cache
def expressions(row: tuple[DType, ...]) -> dict[Case, tuple[dict[str, Any], scalar.Scalar]]:
    """The functions of all ops that take these dtypes."""
    leaves = [scalar.leaf(i, dtype) for i, dtype in enumerate(row)]
    found: dict[Case, tuple[dict[str, Any], scalar.Scalar]] = {}
    for op in elementwise():
        if has_function(op) and list(row) in dtypes_of(op):
            for i, attrs in enumerate(attributes(op)):
                try:
                    found[op.name, i] = attrs, function(op)(*leaves, **attrs)
                except scalar.Unsupported:
                    assert row[0] in PARTIAL.get(op.name, ())
    return found


@functools.cache
def results(row: tuple[DType, ...]) -> dict[Case, tuple[np.ndarray, np.ndarray]]:
    """What the functions give, evaluated and compiled: all together, since that takes a fraction of the time."""
    cases, arrays = expressions(row), inputs_of(list(row))
    outputs = [expression for _, expression in cases.values()]
    # A constant is one element.
    evaluated = [np.broadcast_to(v, arrays[0].shape) for v in scalar.evaluate(outputs, arrays)]
    native = Loop(outputs, row, width=8)(*arrays)
    return dict(zip(cases, zip(evaluated, native)))


@pytest.mark.parametrize(("op", "row"), cases())
def test_function_agrees_with_kernel(op: OpDef, row: list[DType]):
    arrays = inputs_of(row)
    mine = [(case, *made) for case, made in expressions(tuple(row)).items() if case[0] == op.name]
    assert mine
    for case, attrs, expression in mine:
        where = agreed(op, arrays, attrs)
        with np.errstate(all="ignore"):
            given = run(op, *(widened(a[where]) for a in arrays), **attrs)
            # ZerosLike's kernel gives one element for all.
            expected = np.broadcast_to(given, arrays[0][where].shape).astype(expression.dtype.numpy)
        for result in results(tuple(row))[case]:
            check(result[where], expected, expression.dtype)


@pytest.mark.parametrize("name", PARTIAL)
def test_what_is_left_to_the_kernel(name: str):
    op = OPS[name]
    for dtype in PARTIAL[name]:
        with pytest.raises(scalar.Unsupported):
            function(op)(*(scalar.leaf(i, dtype) for i in range(len(op.inputs))))


@pytest.mark.parametrize("divisor", [1, 2, 3, -1, -3, 7])
@pytest.mark.parametrize("name", DIVISIONS)
def test_integers_are_divided_by_constants(name: str, divisor: int):
    for dtype in (dtypes.int8, dtypes.uint8, dtypes.int32, dtypes.int64):
        if dtype.is_unsigned and divisor < 0:
            continue
        x = values(dtype)
        expression = function(OPS[name])(scalar.leaf(0, dtype), scalar.constant(divisor, dtype))
        expected = run(OPS[name], x, np.full_like(x, divisor))
        np.testing.assert_array_equal(scalar.evaluate([expression], [x])[0], expected)
        np.testing.assert_array_equal(Loop([expression], [dtype])(x)[0], expected)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7])
def test_integers_have_constant_powers(exponent: int):
    x = values(dtypes.int32)
    expression = function(OPS["Pow"])(scalar.leaf(0, dtypes.int32), scalar.constant(exponent, dtypes.int32))
    np.testing.assert_array_equal(scalar.evaluate([expression], [x])[0], x ** np.int32(exponent))
    np.testing.assert_array_equal(Loop([expression], [dtypes.int32])(x)[0], x ** np.int32(exponent))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 0.5, -0.5])
def test_constant_powers_are_powers(exponent: float):
    x = values(dtypes.float64)
    expression = function(OPS["Pow"])(
        scalar.leaf(0, dtypes.float64), scalar.constant(exponent, dtypes.float64)
    )
    with np.errstate(all="ignore"):
        expected = np.power(x, np.full_like(x, exponent))
    check(scalar.evaluate([expression], [x])[0], expected, dtypes.float64)


# ---------------------------------------------------------------- updates


class Context:
    """What a kernel of an update asks of a session; variables are arrays."""

    def update(self, arrays: Any, change: Any) -> None:
        change(*arrays)


class Cell:
    """A variable."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def update(self, change: Any) -> None:
        self.array = change(self.array)

    def assign(self, value: np.ndarray) -> None:
        self.array = value


def updates() -> list[OpDef]:
    return [op for op in OPS.values() if isinstance(op.form, Update)]


def test_every_dense_step_is_an_update():
    steps = {name for name in OPS if name.startswith(("Apply", "ResourceApply"))}
    assigns = {"Assign", "AssignAdd", "AssignSub"}
    assigns |= {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}
    assert {op.name for op in updates()} == steps | assigns


# The other side of each rule's switches.
VARIANTS = {"use_nesterov": (False, True), "update_slots": (True, False)}


def variants(op: OpDef) -> Iterator[dict[str, Any]]:
    switches = [name for name in VARIANTS if name in op.attrs]
    for choice in itertools.product(*(VARIANTS[name] for name in switches)):
        yield {**op.attrs, **dict(zip(switches, choice))}


STEPS = [
    pytest.param(op, lr_power, id=f"{op.name}-{lr_power}")
    for op in updates()
    if "Apply" in op.name
    for lr_power in ((-0.75, -0.5) if "Ftrl" in op.name else (-0.75,))
]


def state_and_inputs(op: OpDef, dtype: DType, rates: dict[str, float]) -> list[np.ndarray]:
    """Inputs of a step. Slots are larger than gradients; a mean is smaller than the mean of squares that follows it."""
    random = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for i, arg in enumerate(op.inputs):
        if i == 0 or arg.name in ("grad", "delta"):
            arrays.append(random.normal(size=37).astype(dtype.numpy))
        elif i < len(op.effects.writes):
            arrays.append(
                (random.uniform(2, 3, size=37) * (0.1 if arg.name == "mg" else 1)).astype(dtype.numpy)
            )
        elif arg.name == "global_step":
            arrays.append(np.asarray(3))
        else:
            arrays.append(np.asarray(rates[arg.name], dtype.numpy))
    return arrays


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(("op", "lr_power"), STEPS)
def test_step_agrees_with_kernel(op: OpDef, lr_power: float, dtype: DType):
    tolerance = 64 * np.finfo(dtype.numpy).eps
    for attrs in variants(op):
        arrays = state_and_inputs(op, dtype, {**RATES, "lr_power": lr_power})
        leaves = [scalar.leaf(i, dtypes.of_numpy(a.dtype)) for i, a in enumerate(arrays)]
        outputs = function(op)(*leaves, **attrs)
        assert len(outputs) == len(op.effects.writes)
        evaluated = scalar.evaluate(outputs, arrays)
        native = Loop(outputs, [leaf.dtype for leaf in leaves])(*np.broadcast_arrays(*arrays))
        run(op, Context(), *arrays, **attrs)
        for found, fast, expected in zip(evaluated, native, arrays):
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(fast, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op", [op for op in updates() if "Assign" in op.name], ids=lambda op: op.name)
def test_assignment_agrees_with_kernel(op: OpDef):
    old, value = np.array([1, 2, 3], np.int32), np.array([10, -20, 2**31 - 1], np.int32)
    cell = Cell(old.copy())
    run(op, None, cell, value, **op.attrs)
    (new,) = function(op)(scalar.leaf(0, dtypes.int32), scalar.leaf(1, dtypes.int32), **op.attrs)
    np.testing.assert_array_equal(scalar.evaluate([new], [old, value])[0], cell.array)
