"""Cases recorded from TensorFlow.

A case is a function of `tf`. The scripts in `tests/fixtures` run it with TensorFlow and write down what it
returns; the tests run the very same function with tahr and compare. Neither side needs the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Case = Callable[[Any], Any]
Cases = dict[str, Case]

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

# Relative and absolute tolerance by dtype. TensorFlow's vectorised exp, log and tanh are a few units in the
# last place off in float32, and sums are taken in another order.
TOLERANCES = {"float16": (2e-3, 1e-3), "float32": (1e-5, 2e-6), "float64": (1e-9, 1e-12)}
PYTHON_FLOAT = (1e-6, 1e-9)
ARRAY_KEY = re.compile(r"(\w+)\[([\d,]*)\]")

# Op types that differ between TensorFlow 1.15 and the recording release, or between its + and its tf.add, and
# mean the same.
SAME_TYPE = {"AddV2": "Add", "BatchMatMulV2": "BatchMatMul", "SelectV2": "Select"}


def encode(value: Any) -> Any:
    """Turn what a case returned into JSON: an array becomes {"float32[2,3]": [six numbers]}."""
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _encode_array(np.asarray(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return _encode_number(value, 17)
    return value


def _encode_array(array: np.ndarray) -> dict[str, list[Any]]:
    key = f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
    flat = array.ravel().tolist()
    if array.dtype.kind == "f":
        flat = [_encode_number(number, 17 if array.itemsize == 8 else 9) for number in flat]
    return {key: encode(flat)}


def _encode_number(number: float, digits: int) -> float | str:
    """Shorten to digits that read back as the same number; JSON has no NaN and Inf: these become strings."""
    if not np.isfinite(number):
        return str(number)
    return number if digits == 17 else float(f"{number:.{digits}g}")


def run_case(tf: Any, case: Case) -> Any:
    """Run one case in a graph of its own and return its encoded result."""
    with tf.Graph().as_default():
        return encode(case(tf))


def load_fixture(topic: str) -> dict[str, Any]:
    """Read the recorded results of a topic, by case name."""
    return json.loads((FIXTURES / f"{topic}.json").read_text(encoding="utf-8"))["cases"]


def check(tf: Any, cases: Cases, topic: str, name: str, atol: float | None = None) -> None:
    """Run a case with `tf` and compare what it returns with what TensorFlow returned."""
    assert_same(run_case(tf, cases[name]), load_fixture(topic)[name], where=name, atol=atol)


def assert_same(got: Any, expected: Any, where: str, atol: float | None = None) -> None:
    """Compare two encoded results: numbers of arrays within their dtype's tolerance, all else exactly.

    `atol` replaces the absolute tolerance, for results that are small without cancelling.
    """
    if isinstance(expected, dict):
        assert isinstance(got, dict) and list(got) == list(expected), f"{where}: {got} instead of {expected}"
        for key, item in expected.items():
            array = ARRAY_KEY.fullmatch(key)
            if array:
                _assert_numbers(got[key], item, array[1], where, atol)
            else:
                assert_same(got[key], item, f"{where}.{key}", atol)
    elif isinstance(expected, list):
        assert isinstance(got, list) and len(got) == len(expected), f"{where}: {got} instead of {expected}"
        for index, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert_same(one, other, f"{where}[{index}]", atol)
    elif isinstance(expected, float):
        np.testing.assert_allclose(float(got), expected, *PYTHON_FLOAT, err_msg=where)
    else:
        assert got == expected, f"{where}: {got!r} instead of {expected!r}"


def _assert_numbers(got: list[Any], expected: list[Any], dtype: str, where: str, atol: float | None) -> None:
    if dtype not in TOLERANCES:
        assert got == expected, f"{where}: {got} instead of {expected}"
        return
    rtol, usual_atol = TOLERANCES[dtype]
    # float("nan") and float("inf") read the strings that stand for them.
    left, right = ([float(number) for number in numbers] for numbers in (got, expected))
    np.testing.assert_allclose(left, right, rtol, usual_atol if atol is None else atol, err_msg=where)


def run(tf: Any, fetches: Any, feed_dict: Any = None) -> Any:
    """Evaluate in a fresh session with the variables initialized."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feed_dict)


def operations(tf: Any) -> list[tuple[str, str]]:
    """Return name and type of every operation of the default graph, in order of creation."""
    return [(op.name, op.type) for op in tf.get_default_graph().get_operations()]


def static_shape(tensor: Any) -> list[int | None] | str:
    """Return the static shape as a list, or "unknown" for an unknown rank."""
    shape = tensor.get_shape()
    return "unknown" if shape.ndims is None else shape.as_list()
