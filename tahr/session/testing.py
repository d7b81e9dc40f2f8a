"""`tf.test`: a unittest.TestCase that knows sessions, arrays and tensors."""

# ruff: noqa: PT009  # what is defined here are unittest's assertions

from __future__ import annotations

import random
import re
import tempfile
import unittest
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import nest, scopes
from tahr.core.graph import Graph, Tensor
from tahr.core.opdef import Array
from tahr.ops.philox import DEFAULT_GRAPH_SEED
from tahr.session.default import get_default_session
from tahr.session.session import Session

# Tolerances for the 16-bit types, by the bits of their significands.
_HALF_TOLERANCE = {"float16": 1e-3, "bfloat16": 1e-2}


class TestCase(unittest.TestCase):
    """A test that starts with an empty default graph and fixed seeds.

    Tensors may be given to its assertions wherever there is a session to evaluate them in.
    """

    def __init__(self, methodName: str = "runTest") -> None:  # unittest's name
        super().__init__(methodName)
        self._cached_session: Session | None = None
        self._temp_dir: str | None = None

    def setUp(self) -> None:
        """Empties the default graph and sets the seeds of Python, NumPy and the graph."""
        self._forget_session()
        random.seed(DEFAULT_GRAPH_SEED)
        np.random.seed(DEFAULT_GRAPH_SEED)  # noqa: NPY002  # programs of TensorFlow 1's time draw from it
        scopes.reset_default_graph()
        scopes.set_random_seed(DEFAULT_GRAPH_SEED)

    def tearDown(self) -> None:
        """Closes the cached session."""
        self._forget_session()

    def _forget_session(self) -> None:
        if self._cached_session is not None:
            self._cached_session.close()
            self._cached_session = None

    def get_temp_dir(self) -> str:
        """A directory of this test's own."""
        if self._temp_dir is None:
            holder = tempfile.TemporaryDirectory()
            self.addCleanup(holder.cleanup)
            self._temp_dir = holder.name
        return self._temp_dir

    # ------------------------------------------------------------ sessions

    @contextmanager
    def session(
        self, graph: Graph | None = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> Generator[Session]:
        """A context manager: a new session is the default one, and is closed at the end.

        Args:
            graph: the graph to run; the default graph by default.
            config: as for Session.
            use_gpu: accepted.
            force_gpu: accepted.
        """
        with Session(graph=graph, config=config) as session:
            yield session

    @contextmanager
    def cached_session(
        self, graph: Graph | None = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> Generator[Session]:
        """As `session`, but every call in a test gives the same session, which keeps its variables."""
        if self._cached_session is None:
            self._cached_session = Session(graph=graph, config=config)
        session = self._cached_session
        with session.graph.as_default(), session.as_default():
            yield session

    def test_session(
        self, graph: Graph | None = None, config: Any = None, use_gpu: bool = False, force_gpu: bool = False
    ) -> AbstractContextManager[Session]:
        """The cached session, or a new one where a graph or config is given."""
        if self._testMethodName == "test_session":
            self.skipTest("Not a test.")  # its name makes unittest take it for one
        if graph is None and config is None:
            return self.cached_session()
        return self.session(graph, config)

    def evaluate(self, tensors: Any) -> Any:
        """The values of a nested structure of tensors, in the default or the cached session.

        Raises:
            ValueError: there is no session.
        """
        session = get_default_session() or self._cached_session
        if session is None:
            raise ValueError("evaluate: there is no session; write `with self.session():` around it")
        return session.run(tensors)

    # ------------------------------------------------------------ comparing arrays

    def _array(self, value: Any) -> Array:
        if hasattr(value, "handle_or_ref") or isinstance(value, Tensor):
            value = self.evaluate(value)
        elif any(isinstance(leaf, Tensor) for leaf in nest.flatten(value)):
            value = [self._array(item) for item in value]
        return np.asarray(value)

    def assertAllClose(self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: Any = None) -> None:
        """Fails unless |a - b| <= atol + rtol |b| everywhere; in dicts and nested lists likewise."""
        if isinstance(a, Mapping) or isinstance(b, Mapping):
            self.assertIsInstance(a, Mapping, msg)
            self.assertIsInstance(b, Mapping, msg)
            self.assertCountEqual(a, b, msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, f"Mismatched value: key {key!r}. {msg or ''}")
        elif isinstance(a, (list, tuple)) and _is_ragged(a):
            self.assertEqual(len(a), len(b), msg)
            for index, (one, other) in enumerate(zip(a, b)):
                self.assertAllClose(one, other, rtol, atol, f"Mismatched value: item {index}. {msg or ''}")
        else:
            self._assert_arrays_close(self._array(a), self._array(b), rtol, atol, msg)

    def _assert_arrays_close(self, a: Array, b: Array, rtol: float, atol: float, msg: Any) -> None:
        self.assertEqual(a.shape, b.shape, f"Shape mismatch: expected {a.shape}, got {b.shape}. {msg or ''}")
        for array in (a, b):
            tolerance = _HALF_TOLERANCE.get(array.dtype.name, 0)
            rtol, atol = max(rtol, tolerance), max(atol, tolerance)
        np.testing.assert_allclose(_wide(a), _wide(b), rtol, atol, err_msg=str(msg or ""))

    def assertAllCloseAccordingToType(
        self,
        a: Any,
        b: Any,
        rtol: float = 1e-6,
        atol: float = 1e-6,
        float_rtol: float = 1e-6,
        float_atol: float = 1e-6,
        half_rtol: float = 1e-3,
        half_atol: float = 1e-3,
        bfloat16_rtol: float = 1e-2,
        bfloat16_atol: float = 1e-2,
        msg: Any = None,
    ) -> None:
        """As `assertAllClose`, with tolerances chosen by the less precise type of the two."""
        by_type = {
            "float32": (float_rtol, float_atol),
            "complex64": (float_rtol, float_atol),
            "float16": (half_rtol, half_atol),
            "bfloat16": (bfloat16_rtol, bfloat16_atol),
        }
        a, b = self._array(a), self._array(b)
        for name in (a.dtype.name, b.dtype.name):
            wanted = by_type.get(name, (rtol, atol))
            rtol, atol = max(rtol, wanted[0]), max(atol, wanted[1])
        self.assertAllClose(a, b, rtol, atol, msg)

    def assertNotAllClose(
        self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: Any = None
    ) -> None:
        """Fails where `assertAllClose` does not."""
        try:
            self.assertAllClose(a, b, rtol, atol)
        except AssertionError:
            return
        raise self.failureException(f"The two values are close at all elements. {msg or ''}")

    def assertAllEqual(self, a: Any, b: Any, msg: Any = None) -> None:
        """Fails unless a and b have one shape and equal elements; NaN equals NaN."""
        a, b = self._array(a), self._array(b)
        self.assertEqual(a.shape, b.shape, f"Shape mismatch: expected {a.shape}, got {b.shape}. {msg or ''}")
        np.testing.assert_array_equal(_as_text(a), _as_text(b), err_msg=str(msg or ""))

    def assertNotAllEqual(self, a: Any, b: Any, msg: Any = None) -> None:
        """Fails where `assertAllEqual` does not."""
        try:
            self.assertAllEqual(a, b)
        except AssertionError:
            return
        raise self.failureException(f"The two values are equal at all elements. {msg or ''}")

    def assertNear(self, f1: float, f2: float, err: float, msg: str | None = None) -> None:
        """Fails unless two numbers are within `err`; equal infinities are."""
        self.assertTrue(f1 == f2 or abs(f1 - f2) <= err, f"{f1!r} != {f2!r} +/- {err!r} {msg or ''}")

    def assertArrayNear(self, farray1: Any, farray2: Any, err: float, msg: str | None = None) -> None:
        """Fails unless two sequences have one length and their numbers are within `err`."""
        self.assertEqual(len(farray1), len(farray2), msg)
        for f1, f2 in zip(farray1, farray2):
            self.assertNear(float(f1), float(f2), err, msg)

    def assertNDArrayNear(self, ndarray1: Any, ndarray2: Any, err: float, msg: str | None = None) -> None:
        """Fails unless the norm of the difference of two arrays is below `err`."""
        self.assertTrue(np.linalg.norm(self._array(ndarray1) - self._array(ndarray2)) < err, msg)

    def assertShapeEqual(self, np_array: Any, tf_tensor: Any, msg: str | None = None) -> None:
        """Fails unless the static shape of a tensor is that of an array."""
        self.assertEqual(list(np_array.shape), tf_tensor.get_shape().as_list(), msg)

    def assertAllGreater(self, a: Any, comparison_target: Any) -> None:
        """Fails unless all elements are greater than a number."""
        self.assertGreater(np.min(self._array(a)), comparison_target)

    def assertAllGreaterEqual(self, a: Any, comparison_target: Any) -> None:
        """Fails unless all elements are at least a number."""
        self.assertGreaterEqual(np.min(self._array(a)), comparison_target)

    def assertAllLess(self, a: Any, comparison_target: Any) -> None:
        """Fails unless all elements are less than a number."""
        self.assertLess(np.max(self._array(a)), comparison_target)

    def assertAllLessEqual(self, a: Any, comparison_target: Any) -> None:
        """Fails unless all elements are at most a number."""
        self.assertLessEqual(np.max(self._array(a)), comparison_target)

    def assertAllInRange(
        self,
        target: Any,
        lower_bound: Any,
        upper_bound: Any,
        open_lower_bound: bool = False,
        open_upper_bound: bool = False,
    ) -> None:
        """Fails unless all elements lie between two numbers, which are included unless said otherwise."""
        a = self._array(target)
        above = a > lower_bound if open_lower_bound else a >= lower_bound
        below = a < upper_bound if open_upper_bound else a <= upper_bound
        outside = a[~(above & below)]  # NaN is outside of every range
        self.assertEqual(outside.size, 0, f"outside of [{lower_bound}, {upper_bound}]: {outside}")

    def assertAllInSet(self, target: Any, expected_set: Any) -> None:
        """Fails unless all elements belong to a set."""
        self.assertLessEqual(set(self._array(target).ravel().tolist()), set(expected_set))

    # ------------------------------------------------------------ errors and text

    @contextmanager
    def assertRaisesWithPredicateMatch(
        self, exception_type: Any, expected_err_re_or_predicate: str | Callable[[Exception], bool]
    ) -> Generator[None]:
        """A context manager that fails unless an exception is raised that matches.

        Args:
            exception_type: its class, or a tuple of classes.
            expected_err_re_or_predicate: a regular expression found in its text, or a function of it.
        """
        expected = expected_err_re_or_predicate
        try:
            yield
        except Exception as error:
            if not isinstance(error, exception_type):
                raise
            found = expected(error) if callable(expected) else re.search(expected, str(error)) is not None
            self.assertTrue(found, f"Exception of type {type(error).__name__} does not match: {error}")
            return
        self.fail(f"{exception_type} not raised")

    def assertRaisesOpError(
        self, expected_err_re_or_predicate: str | Callable[[Exception], bool]
    ) -> AbstractContextManager[None]:
        """As `assertRaisesWithPredicateMatch`, for any `tf.errors.OpError`."""
        return self.assertRaisesWithPredicateMatch(errors.OpError, expected_err_re_or_predicate)

    def assertStartsWith(self, actual: str, expected_start: str, msg: str | None = None) -> None:
        """Fails unless a text starts with another."""
        self.assertTrue(
            actual.startswith(expected_start), msg or f"{actual!r} does not start with {expected_start!r}"
        )


def _is_ragged(values: Any) -> bool:
    """Whether a list holds dicts, or items of different shapes, so that it is no array."""
    if any(isinstance(item, Mapping) for item in values):
        return True
    shapes = {np.shape(item) for item in values if not isinstance(item, (list, tuple, Tensor))}
    return len(shapes) > 1 or any(isinstance(item, (list, tuple)) and _is_ragged(item) for item in values)


def _wide(array: Array) -> Array:
    """An array of a type that NumPy compares: bfloat16 as float32."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _as_text(array: Array) -> Array:
    """Strings as bytes, as a session gives them."""
    return np.char.encode(array) if array.dtype.kind == "U" else _wide(array)


def main(argv: Any = None) -> None:
    """Runs the tests of the program that calls it, and exits."""
    unittest.main(argv=argv)


def get_temp_dir() -> str:
    """A directory for temporary files, the same one all through the process."""
    global _temp_dir
    if _temp_dir is None:
        _temp_dir = tempfile.TemporaryDirectory()
    return _temp_dir.name


_temp_dir: tempfile.TemporaryDirectory[str] | None = None


def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: Any = None) -> bool:
    """Whether TensorFlow's GPU kernels are there: they are not."""
    return False


def gpu_device_name() -> str:
    """The name of the GPU, or "": there is none."""
    return ""


def is_built_with_cuda() -> bool:
    """Whether tahr uses CUDA: it does not."""
    return False
