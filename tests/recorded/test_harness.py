"""The comparison with recorded results must notice what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.recorded.harness import assert_same, encode

RECORDED = encode({"name": "w:0", "values": [np.array([1.0, np.nan, -np.inf], np.float32)], "count": 3})


def changed(**items: Any) -> Any:
    return {**RECORDED, **{key: encode(item) for key, item in items.items()}}


def test_the_same_result_passes() -> None:
    assert_same(changed(values=[np.array([1.000001, np.nan, -np.inf], np.float32)]), RECORDED, "case")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"name": "w_1:0"}, id="name"),
        pytest.param({"count": 4}, id="integer"),
        pytest.param({"values": [np.array([1.001, np.nan, -np.inf], np.float32)]}, id="number"),
        pytest.param({"values": [np.array([1.0, 0.0, -np.inf], np.float32)]}, id="number for NaN"),
        pytest.param({"values": [np.array([1.0, np.nan, np.inf], np.float32)]}, id="sign of infinity"),
        pytest.param({"values": [np.array([1.0, np.nan, -np.inf], np.float64)]}, id="dtype"),
        pytest.param({"values": [np.array([[1.0, np.nan, -np.inf]], np.float32)]}, id="shape"),
        pytest.param({"values": []}, id="missing array"),
        pytest.param({"extra": 1}, id="extra key"),
    ],
)
def test_a_wrong_result_is_noticed(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert_same(changed(**wrong), RECORDED, "case")


def test_small_numbers_are_compared_without_an_absolute_tolerance() -> None:
    one, other = encode(np.array([1e-9], np.float32)), encode(np.array([2e-9], np.float32))
    assert_same(one, other, "case")
    with pytest.raises(AssertionError):
        assert_same(one, other, "case", atol=1e-12)
