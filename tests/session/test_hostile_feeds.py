"""Feeds of every kind: the right answer, or an error that names the tensor; never a crash or a write to a feed."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf

N = 6


def numbers(count: int = N) -> np.ndarray:
    return np.arange(count, dtype=np.float32) + 1


def twice(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """`2 x`, by way of an operation that would like to write into its input."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(dtype or tf.float32, shape, name="x")
        return session.run(tf.identity(x) + x, {x: value})


# ---------------------------------------------------------------- arrays in every memory layout


def misaligned() -> np.ndarray:
    raw = np.zeros(N * 4 + 1, np.uint8)
    view = raw[1:].view(np.float32)
    view[:] = numbers()
    assert not view.flags.aligned
    return view


def byte_swapped() -> np.ndarray:
    return numbers().astype(numbers().dtype.newbyteorder())


def read_only() -> np.ndarray:
    array = numbers()
    array.setflags(write=False)
    return array


LAYOUTS: dict[str, Callable[[], np.ndarray]] = {
    "plain": numbers,
    "misaligned": misaligned,
    "byte swapped": byte_swapped,
    "read only": read_only,
    "negative stride": lambda: numbers()[::-1],
    "zero stride": lambda: np.broadcast_to(np.float32(3), [N]),
    "every second": lambda: numbers(2 * N)[::2],
    "column": lambda: numbers(N * N).reshape(N, N)[:, 2],
    "transposed": lambda: numbers(N * N).reshape(N, N).T,
    "Fortran order": lambda: np.asfortranarray(numbers(N * N).reshape(N, N)),
    "scalar": lambda: np.array(2.0, np.float32),
    "no elements": lambda: np.zeros([0, 3], np.float32),
    "float64": lambda: numbers().astype(np.float64),
    "float16": lambda: numbers().astype(np.float16),
    "int8": lambda: numbers().astype(np.int8),
    "bool": lambda: numbers() > 2,
    "matrix": lambda: numbers().reshape(2, 3).view(np.matrix),
    "masked, with nothing masked": lambda: np.ma.masked_array(numbers(), mask=False),
    "record field": lambda: np.array([(1, 2.0)] * N, [("a", "i1"), ("b", "f4")])["b"],
    "subclass": lambda: numbers().view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("shape", ["known", "unknown"])
def test_layouts(name: str, shape: str) -> None:
    array = LAYOUTS[name]()
    before = np.array(array, copy=True)
    found = twice(array, shape=array.shape if shape == "known" else None)
    assert type(found) in (np.ndarray, np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, 2 * np.asarray(before, np.float32))
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("name", ["misaligned", "negative stride", "zero stride", "transposed", "read only"])
def test_layouts_in_other_kernels(name: str) -> None:
    array = LAYOUTS[name]()
    before = np.array(array)
    x = tf.placeholder(tf.float32, name="x")
    wide = tf.reshape(x, [-1, 2])
    fetches = [tf.matmul(wide, wide, transpose_b=True), tf.reduce_sum(x), tf.nn.softmax(wide), tf.sort(x)]
    with tf.Session() as session:
        product, total, soft, ordered = session.run(fetches, {x: array})
    rows = before.reshape(-1, 2)
    np.testing.assert_allclose(product, rows @ rows.T, rtol=1e-6)
    np.testing.assert_allclose(total, before.sum(), rtol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(ordered, np.sort(before))
    np.testing.assert_array_equal(array, before)


def test_a_memory_mapped_file(tmp_path: Path) -> None:
    numbers().tofile(tmp_path / "data")
    for mode in ("r", "r+", "c"):
        mapped = np.memmap(tmp_path / "data", np.float32, mode=mode)
        np.testing.assert_array_equal(twice(mapped), 2 * numbers())
        np.testing.assert_array_equal(mapped, numbers())
        del mapped


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (True, 1.0),
        ([], []),
        ([[]], [[]]),
        ([1, 2.5], [1, 2.5]),
        (((1, 2), (3, 4)), [[1, 2], [3, 4]]),
        (range(3), [0, 1, 2]),
        ([np.float32(1), 2, np.array(3)], [1, 2, 3]),
        (np.float16(1.5), 1.5),
        ("2.5", 2.5),
        ([b"1", b"2"], [1, 2]),
        ([Decimal("1.5"), Fraction(1, 2)], [1.5, 0.5]),
        (np.array([1, 2.5, True], dtype=object), [1, 2.5, 1]),
        (float("nan"), np.nan),
        (2**70, 2.0**70),
        (1e300, np.inf),
        (memoryview(b"\x01\x02"), [1, 2]),
    ],
)
def test_values_that_are_numbers(value: Any, expected: Any) -> None:
    np.testing.assert_array_equal(twice(value), 2 * np.asarray(expected, np.float32))


# ---------------------------------------------------------------- values that do not fit


class Raises:
    """An object that raises when it is asked to be something."""

    def __init__(self, method: str, error: BaseException) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise error

        # Python looks special methods up in the class, so each object gets a class of its own.
        self.__class__ = type("Raises", (Raises,), {method: fail})  # pyright: ignore[reportAttributeAccessIssue]


class Impolite:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} here")


class EndlessLength:
    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: int) -> float:
        raise IndexError


class LyingArray:
    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return "no array"


class Cyclic(list):
    def __init__(self) -> None:
        super().__init__([self])


FLOAT, INT, BOOL, STRING = tf.float32, tf.int32, tf.bool, tf.string

BAD: dict[str, tuple[Any, Any, type[Exception] | tuple[type[Exception], ...], str]] = {
    "object": (FLOAT, object(), TypeError, "object"),
    "None": (FLOAT, None, TypeError, "None"),
    "None in a list": (FLOAT, [1.0, None], TypeError, "None"),
    "objects": (FLOAT, np.array([object()], dtype=object), TypeError, "object"),
    "ragged": (FLOAT, [[1.0], [2.0, 3.0]], ValueError, "inhomogeneous"),
    "array in a ragged list": (FLOAT, [np.ones(2), np.ones(3)], ValueError, "inhomogeneous"),
    "text": (FLOAT, "x", ValueError, "could not convert string to float"),
    "dict": (FLOAT, {"a": 1}, TypeError, "dict"),
    "set": (FLOAT, {1.0}, TypeError, "set"),
    "generator": (FLOAT, (i for i in range(3)), TypeError, "generator"),
    "complex": (FLOAT, 1j, TypeError, "complex128"),
    "complex array": (FLOAT, np.ones(2, np.complex64), TypeError, "complex64"),
    "date": (FLOAT, datetime.datetime(2020, 1, 1), TypeError, "datetime"),
    "dates": (FLOAT, np.array(["2020-01-01"], "M8[D]"), TypeError, "datetime64"),
    "durations": (INT, np.array([1], "m8[s]"), TypeError, "timedelta64"),
    "structured": (FLOAT, np.zeros(2, [("a", "f4")]), TypeError, "expected numbers"),
    "masked": (FLOAT, np.ma.masked_array([1.0, 2.0], [True, False]), ValueError, "masked"),
    "tensor in a list": (FLOAT, [tf.Tensor], TypeError, "type"),
    "__array__ raises": (FLOAT, Raises("__array__", RuntimeError("broken\nreally")), TypeError, "broken"),
    "__array__ raises ValueError": (FLOAT, Raises("__array__", ValueError("broken")), ValueError, "broken"),
    "__array__ raises a strange error": (
        FLOAT,
        Raises("__array__", UnicodeDecodeError("utf8", b"x", 0, 1, "broken")),
        ValueError,
        "broken",
    ),
    "__array__ raises nothing to read": (FLOAT, Raises("__array__", KeyError()), TypeError, "KeyError"),
    "__array__ gives none": (FLOAT, LyingArray(), ValueError, "array"),
    "__len__ raises": (FLOAT, Raises("__len__", RuntimeError("broken")), TypeError, "Raises"),
    "__repr__ raises": (FLOAT, Raises("__repr__", RuntimeError("broken")), TypeError, "a Raises"),
    "__float__ raises": (FLOAT, [Raises("__float__", RuntimeError("broken"))], TypeError, "broken"),
    "__getattr__ raises": (FLOAT, Impolite(), TypeError, "no "),
    "a list in itself": (FLOAT, Cyclic(), ValueError, "x:0"),
    "NaN as an integer": (INT, float("nan"), ValueError, "invalid value"),
    "NaNs as integers": (INT, np.array([1.0, np.nan]), ValueError, "invalid value"),
    "infinity as an integer": (INT, [np.inf], ValueError, "invalid value"),
    "float out of range": (INT, 1e20, ValueError, "invalid value"),
    "integer out of range": (INT, 2**31, TypeError, "Type of feed value 2147483648"),
    "huge integer": (INT, 2**100, (TypeError, ValueError), "x:0"),
    "integers out of range": (INT, np.array([2**40]), TypeError, "larger type"),
    "negative as unsigned": (tf.uint8, [-1], TypeError, "larger type"),
    "unsigned out of range": (tf.int64, np.array([2**64 - 1], np.uint64), TypeError, "larger type"),
    "text as an integer": (INT, "1.5", ValueError, "invalid literal"),
    "two as a bool": (BOOL, 2, TypeError, "Type of feed value 2"),
    "text as a bool": (BOOL, "False", TypeError, "do not fit"),
    "number as a string": (STRING, 3, TypeError, "expected strings"),
    "numbers as strings": (STRING, [b"a", 3], TypeError, "expected strings"),
    "None as a string": (STRING, [None], TypeError, "expected strings"),
}


@pytest.mark.parametrize("name", BAD)
def test_values_that_do_not_fit(name: str) -> None:
    dtype, value, kind, phrase = BAD[name]
    with pytest.raises(kind) as caught:
        twice(value, dtype) if dtype not in (BOOL, STRING) else twice_of_other(value, dtype)
    text = str(caught.value)
    assert phrase in text
    assert "Cannot feed" in text.splitlines()[0]
    assert "Tensor 'x:0'" in text
    assert "test_hostile_feeds.py" in text
    assert len(text.splitlines()) <= 3


def twice_of_other(value: Any, dtype: Any) -> Any:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(dtype, name="x")
        return session.run(tf.stack([x, x]), {x: value})


def test_a_placeholder_without_dtype_takes_numbers_and_text_only() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(name="x")
        assert session.run(tf.identity(x), {x: [1, 2]}).tolist() == [1, 2]
        for value in (object(), None, np.array(["2020-01-01"], "M8[D]"), {"a": 1}):
            with pytest.raises(TypeError, match="Cannot feed"):
                session.run(tf.identity(x), {x: value})


def test_interrupts_are_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        twice(Raises("__array__", KeyboardInterrupt()))
    with pytest.raises(MemoryError):
        twice(Raises("__array__", MemoryError()))


def test_strings() -> None:
    for value in (["a", "é"], [b"a", "é".encode()], np.array(["a", "é"]), np.array(["a", "é"], dtype=object)):
        found = twice_of_other(value, STRING)
        assert found.tolist() == [[b"a", "é".encode()]] * 2
    assert twice_of_other(b"\x00\xff", STRING).tolist() == [b"\x00\xff"] * 2
    assert twice_of_other([], STRING).shape == (2, 0)


def test_bools() -> None:
    for value in ([True, False], [1, 0], np.array([1.0, 0.0])):
        assert twice_of_other(value, BOOL).tolist() == [[True, False]] * 2


# ---------------------------------------------------------------- one array in several places


def test_one_array_for_two_placeholders() -> None:
    x, y = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    array = numbers()
    with tf.Session() as session:
        total, difference = session.run([x + y, x - y], {x: array, y: array})
    assert total.tolist() == (2 * numbers()).tolist()
    assert difference.tolist() == [0.0] * N
    assert array.tolist() == numbers().tolist()


def test_a_fed_view_that_is_fetched() -> None:
    x = tf.placeholder(tf.float32)
    base = numbers()
    view = base[1:3]
    with tf.Session() as session:
        same, copy, more = session.run([x, tf.identity(x), x + 1.0], {x: view})
    assert same is view  # a fed tensor comes back as it is
    copy[:] = -1
    more[:] = -1
    assert base.tolist() == numbers().tolist()


def test_a_fed_array_is_never_a_variables_storage() -> None:
    v = tf.Variable(tf.zeros([N]))
    x = tf.placeholder(tf.float32, [N])
    array = numbers()
    with tf.Session() as session:
        session.run(v.initializer)
        session.run(v.assign(x), {x: array})
        session.run(v.assign_add(tf.ones([N])))
        assert array.tolist() == numbers().tolist()
        array[:] = 0
        assert session.run(v).tolist() == (numbers() + 1).tolist()
        session.run(v.assign_add(x), {x: session.run(v)})
        assert session.run(v).tolist() == (2 * numbers() + 2).tolist()


def test_a_fed_constant_keeps_its_value() -> None:
    c = tf.constant(numbers())
    array = np.zeros(N, np.float32)
    with tf.Session() as session:
        assert session.run(c * 2.0, {c: array}).tolist() == [0.0] * N
        fetched = session.run(c)
        fetched[:] = -1
        assert session.run(c * 1.0).tolist() == numbers().tolist()


def test_a_py_func_that_writes_its_input() -> None:
    def function(array: np.ndarray) -> np.ndarray:
        array[:] = 0
        return array

    x = tf.placeholder(tf.float32, [N])
    result = tf.py_func(function, [x], tf.float32)
    array = numbers()
    with tf.Session() as session:
        assert session.run(result + x, {x: array}).tolist() == numbers().tolist()
    assert array.tolist() == numbers().tolist()


# ---------------------------------------------------------------- changes while running


def test_arrays_changed_by_another_thread() -> None:
    x, ids = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [None])
    fetches = [tf.reduce_sum(tf.tanh(x) * x), tf.gather(x, ids), tf.sort(x), tf.unique(ids).y]
    array, places = numbers(500), np.zeros(500, np.int32)
    done = threading.Event()

    def change() -> None:
        random = np.random.default_rng(0)
        while not done.is_set():
            array[:] = random.standard_normal(500)
            places[:] = random.integers(-3, 503, 500)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with tf.Session() as session:
            for _ in range(150):
                # An index may change after it was checked, so what the error says of it is anybody's guess.
                with contextlib.suppress(tf.errors.InvalidArgumentError):
                    found = session.run(fetches, {x: array, ids: places})
                    assert found[1].shape == (500,)
    finally:
        done.set()
        thread.join()


def test_a_feed_dict_changed_by_another_thread() -> None:
    x = tf.placeholder(tf.float32, [])
    others = [tf.placeholder(tf.float32, []) for _ in range(20)]
    feeds: dict[Any, Any] = {x: 1.0}
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for other in others:
                feeds[other] = 2.0
            for other in others:
                del feeds[other]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with tf.Session() as session:
            assert all(session.run(x + 1.0, feeds) == 2.0 for _ in range(30))
    finally:
        done.set()
        thread.join()


def test_a_feed_dict_changed_by_the_run() -> None:
    x = tf.placeholder(tf.float32, [])
    feeds: dict[Any, Any] = {x: 1.0}

    def change() -> np.float32:
        feeds.clear()
        return np.float32(1)

    total = x + tf.py_func(change, [], tf.float32) + x
    with tf.Session() as session:
        assert session.run(total, feeds) == 3.0


def test_a_value_that_changes_the_feed_dict() -> None:
    x, y = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])

    class Meddler:
        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            feeds.clear()
            return np.array(1.0)

    feeds: dict[Any, Any] = {x: Meddler(), y: 2.0}
    with tf.Session() as session:
        assert session.run(x + y, feeds) == 3.0


def test_a_value_that_runs_the_session() -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.Session() as session:

        class Nested:
            def __array__(self, *args: Any, **kwargs: Any) -> Any:
                return np.asarray(session.run(x * 10.0, {x: 1.0}))

        assert session.run(x + 1.0, {x: Nested()}) == 11.0
