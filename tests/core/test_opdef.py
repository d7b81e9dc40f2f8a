"""Descriptions of ops: signatures, inference, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.core import dtypes, opdef
from tahr.core.forms import Elementwise
from tahr.core.opdef import REQUIRED, Arg, Effects, OpDef, known_int, known_ints, known_value
from tahr.core.shapes import Spec, as_value
from tahr.core.sizes import UNKNOWN, symbol

FLOAT = Spec(dtypes.float32, (2,))


def _op(signature, **kwargs):
    return OpDef("Example", signature, register=False, **kwargs)


def test_signatures():
    op = _op("x: float32, many: N*T, any: [Tin], ref: &T -> y: T, z: [Tout]")
    assert op.inputs == (
        Arg("x", "float32"),
        Arg("many", "T", number="N"),
        Arg("any", "Tin", is_hetero=True),
        Arg("ref", "T", is_ref=True),
    )
    assert [a.is_list for a in op.inputs] == [False, True, True, False]
    assert op.outputs == (Arg("y", "T"), Arg("z", "Tout", is_hetero=True))
    assert _op("->").inputs == _op("->").outputs == ()


@pytest.mark.parametrize("signature", ["x T -> y: T", "x: -> y: T", "x: T -> y"])
def test_a_bad_signature(signature):
    op = _op(signature)  # parsed when it is first asked for
    with pytest.raises(ValueError, match="bad signature"):
        _ = op.inputs, op.outputs


@pytest.mark.parametrize("name", sorted(opdef.OPS))
def test_the_signature_of_every_op(name):
    op = opdef.OPS[name]
    said = {*op.attrs, *(t.name for t in dtypes.ALL), *(arg.type for arg in op.inputs)}
    for arg in op.outputs:
        assert arg.type in said or op.dtype_rule
        assert arg.number is None or arg.number in op.attrs


def test_an_op_is_defined_once():
    with pytest.raises(ValueError, match="op Identity is defined twice"):
        OpDef("Identity", "x: T -> y: T")
    assert opdef.OPS["Identity"].name == "Identity" and repr(opdef.OPS["Identity"]) == "<OpDef Identity>"


def test_output_dtypes():
    assert _op("x: T -> y: T, n: int64").output_dtypes([FLOAT], {}) == [dtypes.float32, dtypes.int64]
    cast = _op("x: SrcT -> y: DstT", attrs={"DstT": REQUIRED})
    assert cast.output_dtypes([FLOAT], {"DstT": dtypes.int8}) == [dtypes.int8]
    split = _op("x: T -> parts: n*T", attrs={"n": REQUIRED})
    assert split.output_dtypes([FLOAT], {"n": 2}) == [dtypes.float32] * 2
    call = _op("-> out: [Tout]", attrs={"Tout": REQUIRED})
    assert call.output_dtypes([], {"Tout": [dtypes.string, dtypes.bool_]}) == [dtypes.string, dtypes.bool_]


def test_inference():
    add = _op("x: T, y: T -> z: T", form=Elementwise(np.add))
    (spec,) = add.infer([Spec(dtypes.float32, (UNKNOWN, 1)), Spec(dtypes.float32, (3,))], {})
    assert spec == Spec(dtypes.float32, (UNKNOWN, 3))
    (spec,) = _op("x: T -> y: T").infer([FLOAT], {})
    assert spec.shape is None  # without a rule nothing is known


def test_values_of_small_integer_tensors():
    add = _op("x: T, y: T -> z: T", form=Elementwise(np.add), shape_math=True)
    s = symbol("s")
    x = Spec(dtypes.int32, (2,), as_value([s, 3]))
    y = Spec(dtypes.int32, (2,), as_value([1, UNKNOWN]))
    (spec,) = add.infer([x, y], {})
    assert spec.value is not None and list(spec.value) == [s + 1, UNKNOWN]
    (spec,) = add.infer([x, Spec(dtypes.int32, (2,))], {})
    assert spec.value is None
    large = Spec(dtypes.int32, (65,), as_value(range(65)))
    assert add.infer([large, large], {})[0].value is None


def test_values_of_several_outputs():
    halves = _op("x: T -> a: T, b: T", shape_math=True)
    halves.shape(lambda x: [(1,), (1,)])
    halves.kernel(lambda x: (x[:1], x[1:]))
    a, b = halves.infer([Spec(dtypes.int32, (2,), as_value([7, UNKNOWN]))], {})
    assert a.value is not None and list(a.value) == [7] and b.value is None


def test_known_values():
    def spec(*values):
        return Spec(dtypes.int32, (len(values),), as_value(values))

    s = symbol("s")
    assert known_value(spec(1, s)) == [1, s] and known_value(spec(1, UNKNOWN)) is None
    assert known_ints(spec(1, 2)) == [1, 2] and known_ints(spec(1, s)) is None
    assert known_int(spec(4)) == 4 and known_int(spec(4, 5)) is None and known_int(spec(s)) is None
    assert known_value(FLOAT) is known_int(FLOAT) is known_ints(FLOAT) is None


def test_effects():
    assert not opdef.PURE.any and opdef.DRAWS.any and not opdef.DRAWS.ordered
    assert opdef.IO.ordered and opdef.CHECKS.ordered and Effects(reads=(0,)).ordered


def test_calling():
    op = _op("x: T, y: T -> z: T", types={"T": dtypes.FLOATS}, form=Elementwise(np.add))
    z = op(1.0, tf.constant([2.0]))
    assert (z.name, z.op.type, z.shape) == ("Example:0", "Example", [1])
    assert op(1.0, 2.0, name="named").name == "named:0"
    nothing = _op("x: T ->")
    assert isinstance(nothing(1.0), tf.Operation)
    two = _op("x: T -> a: T, b: T")
    assert [t.name for t in two(1.0, name="two")] == ["two:0", "two:1"]


def test_bad_calls():
    op = _op("x: T, y: T -> z: T", attrs={"needed": REQUIRED, "k": 1}, types={"T": dtypes.FLOATS})
    with pytest.raises(TypeError, match="Example: takes 2 inputs, got 1"):
        op(1.0, needed=1)
    with pytest.raises(TypeError, match="needs the attribute 'needed'"):
        op(1.0, 2.0)
    with pytest.raises(TypeError, match="has no attribute 'other'"):
        op(1.0, 2.0, needed=1, other=2)
    with pytest.raises(TypeError, match="has DataType int32 not in list of allowed values: float32, float64"):
        op(tf.constant(1), tf.constant(2), needed=1)
    with pytest.raises(
        TypeError, match="Input 'y' of 'Example' Op has type float64 that does not match type float32"
    ):
        op(tf.constant(1.0), tf.constant(2.0, tf.float64), needed=1)
    with pytest.raises(TypeError, match="expected a list for argument 'x'"):
        _op("x: N*T -> y: T")(tf.constant(1.0))
