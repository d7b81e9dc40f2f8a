"""tf.test.TestCase: run by unittest, so that a failure inside is seen as users see it."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf

ROOT = Path(__file__).parent.parent.parent


def outcome(test: Callable[[Any], None]) -> unittest.TestResult:
    """The result of a function as the only test of a TestCase."""
    case = type("Case", (tf.test.TestCase,), {"test_it": test})
    result = unittest.TestResult()
    case("test_it").run(result)
    return result


def passes(test: Callable[[Any], None]) -> bool:
    """Whether it passes; an error, which is no failure, is shown."""
    result = outcome(test)
    assert not result.errors, result.errors[0][1]
    return not result.failures


def test_sessions() -> None:
    def test(self: Any) -> None:
        v = tf.Variable(tf.zeros([]))
        with self.session() as session:
            session.run(v.initializer)
            self.assertAllEqual(v, 0)
            self.assertAllEqual(v.assign_add(1.0), 1.0)
        with self.cached_session() as session:
            session.run(v.initializer)
        with self.test_session() as again:
            assert again is session
            self.assertAllEqual([v, v.value() + 1], [0, 1])
        assert self.evaluate({"v": v}) == {"v": 0}

    assert passes(test)


def test_each_test_starts_afresh() -> None:
    drawn: list[Any] = []

    def test(self: Any) -> None:
        assert not tf.get_default_graph().get_operations()
        with self.session():
            drawn.append((np.random.rand(), self.evaluate(tf.random_uniform([]))))  # noqa: NPY002

    assert passes(test)
    assert passes(test)
    assert drawn[0] == drawn[1]


def test_test_session_is_no_test() -> None:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(type("Case", (tf.test.TestCase,), {}))
    result = unittest.TestResult()
    suite.run(result)
    assert result.wasSuccessful()
    assert [reason for _, reason in result.skipped] == ["Not a test."]


def test_a_session_is_needed_for_tensors() -> None:
    result = outcome(lambda self: self.assertAllEqual(tf.constant(1), 1))
    assert "there is no session" in result.errors[0][1]


def test_get_temp_dir() -> None:
    seen: list[str] = []

    def test(self: Any) -> None:
        seen.append(self.get_temp_dir())
        assert os.path.isdir(seen[0]) and self.get_temp_dir() == seen[0]

    assert passes(test)
    assert not os.path.exists(seen[0])
    assert os.path.isdir(tf.test.get_temp_dir())


HALF = np.array([1.0, 2.0], np.float16)

AGREE: dict[str, Callable[[Any], None]] = {
    "close": lambda self: self.assertAllClose([1.0, 2.0], [1.0 + 1e-7, 2.0]),
    "close nan and inf": lambda self: self.assertAllClose([np.nan, np.inf], [np.nan, np.inf]),
    "close dicts": lambda self: self.assertAllClose({"a": [1.0], "b": 2.0}, {"b": 2.0, "a": [1.0]}),
    "close ragged lists": lambda self: self.assertAllClose(
        [np.ones(2), np.ones(3)], [np.ones(2), np.ones(3)]
    ),
    "close halves": lambda self: self.assertAllClose(HALF, HALF * np.float16(1.0005)),
    "close by type": lambda self: self.assertAllCloseAccordingToType(HALF, [1.001, 2.001]),
    "close bfloat16": lambda self: self.assertAllClose(
        np.ones(2).astype(tf.bfloat16.as_numpy_dtype), [1, 1.005]
    ),
    "equal": lambda self: self.assertAllEqual([[1, 2]], np.array([[1, 2]])),
    "equal strings": lambda self: self.assertAllEqual(["a", "b"], [b"a", b"b"]),
    "equal nan": lambda self: self.assertAllEqual([np.nan], [np.nan]),
    "not close": lambda self: self.assertNotAllClose([1.0], [1.1]),
    "not equal": lambda self: self.assertNotAllEqual([1], [2]),
    "near": lambda self: self.assertNear(1.0, 1.1, 0.2),
    "array near": lambda self: self.assertArrayNear([1.0, 2.0], [1.1, 2.1], 0.2),
    "norm near": lambda self: self.assertNDArrayNear(np.ones(2), np.ones(2) + 0.1, 0.2),
    "shape": lambda self: self.assertShapeEqual(np.ones([2, 3]), tf.ones([2, 3])),
    "greater": lambda self: self.assertAllGreater([2, 3], 1),
    "greater or equal": lambda self: self.assertAllGreaterEqual([2, 3], 2),
    "less": lambda self: self.assertAllLess([2, 3], 4),
    "less or equal": lambda self: self.assertAllLessEqual([2, 3], 3),
    "in range": lambda self: self.assertAllInRange([0, 1], 0, 1),
    "in set": lambda self: self.assertAllInSet([0, 1, 0], [0, 1]),
    "starts with": lambda self: self.assertStartsWith("abc", "ab"),
}

DISAGREE: dict[str, Callable[[Any], None]] = {
    "close": lambda self: self.assertAllClose([1.0, 2.0], [1.0, 2.00001]),
    "close nan": lambda self: self.assertAllClose([np.nan], [1.0]),
    "close shapes": lambda self: self.assertAllClose([1.0, 1.0], 1.0),
    "close dicts": lambda self: self.assertAllClose({"a": 1.0}, {"b": 1.0}),
    "close dict values": lambda self: self.assertAllClose({"a": 1.0}, {"a": 2.0}),
    "close ragged lists": lambda self: self.assertAllClose(
        [np.ones(2), np.ones(3)], [np.ones(2), np.zeros(3)]
    ),
    "close by type": lambda self: self.assertAllCloseAccordingToType([1.0], np.array([1.001])),
    "equal": lambda self: self.assertAllEqual([1, 2], [1, 3]),
    "equal shapes": lambda self: self.assertAllEqual([1, 1], 1),
    "equal strings": lambda self: self.assertAllEqual(["a"], ["b"]),
    "not close": lambda self: self.assertNotAllClose([1.0], [1.0]),
    "not equal": lambda self: self.assertNotAllEqual([1], [1]),
    "near": lambda self: self.assertNear(1.0, 1.3, 0.2),
    "array near": lambda self: self.assertArrayNear([1.0], [1.1, 2.1], 0.2),
    "norm near": lambda self: self.assertNDArrayNear(np.ones(2), np.ones(2) + 1, 0.2),
    "shape": lambda self: self.assertShapeEqual(np.ones([2, 3]), tf.ones([3, 2])),
    "greater": lambda self: self.assertAllGreater([2, 1], 1),
    "greater or equal": lambda self: self.assertAllGreaterEqual([2, 1], 2),
    "less": lambda self: self.assertAllLess([2, 4], 4),
    "less or equal": lambda self: self.assertAllLessEqual([2, 4], 3),
    "in range": lambda self: self.assertAllInRange([0, np.nan], 0, 1),
    "in open range": lambda self: self.assertAllInRange([0, 1], 0, 1, open_upper_bound=True),
    "in set": lambda self: self.assertAllInSet([0, 2], [0, 1]),
    "starts with": lambda self: self.assertStartsWith("abc", "b"),
}


@pytest.mark.parametrize("name", AGREE)
def test_an_assertion_passes(name: str) -> None:
    assert passes(AGREE[name])


@pytest.mark.parametrize("name", DISAGREE)
def test_an_assertion_fails(name: str) -> None:
    assert not passes(DISAGREE[name])


def test_errors_of_operations() -> None:
    def test(self: Any) -> None:
        with self.session():
            with self.assertRaisesOpError("Indices are not valid|is not in"):
                self.evaluate(tf.gather([1, 2], tf.placeholder_with_default(5, [])))
            with self.assertRaisesWithPredicateMatch(ValueError, lambda e: "MatMul" in str(e)):
                tf.matmul(tf.ones([1, 2]), tf.ones([3, 4]))

    def test_nothing_raised(self: Any) -> None:
        with self.assertRaisesOpError("x"):
            pass

    def test_another_text(self: Any) -> None:
        with self.assertRaisesOpError("x"):
            raise tf.errors.NotFoundError(None, None, "y")

    assert passes(test)
    assert not passes(test_nothing_raised)
    assert not passes(test_another_text)


def test_there_is_no_gpu() -> None:
    assert not tf.test.is_gpu_available()
    assert not tf.test.is_built_with_cuda()
    assert tf.test.gpu_device_name() == ""


def test_main_runs_the_tests_of_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import tahr as tf\n"
        "class Test(tf.test.TestCase):\n"
        "    def testOne(self):\n"
        "        self.fail('on purpose')\n"
        "tf.test.main()\n",
        encoding="utf-8",
    )
    found = subprocess.run(
        [sys.executable, str(program)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "on purpose" in found.stderr
    assert "Ran 2 tests" in found.stderr  # the other one, test_session, is skipped
