"""From Python into native code in a third of a microsecond: a builtin function made of machine code.

`make_entry` gives a callable that takes a run's arrays, checks each with a few comparisons on NumPy's C structure, puts
their addresses into the run's table and walks through the steps. One compiled function serves all plans: what a plan
expects is data, which the callable holds as its `self`. On builds of Python whose objects look different, such as those
without a global lock, the callable is plain Python and does the same.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tahr.backends.native import engine as engines, ir
from tahr.backends.native.kernel import AS_WRITTEN
from tahr.backends.native.once import once
from tahr.backends.native.runtime import Frame, Steps, runtime

# Where CPython and NumPy 2 keep what is read here, in bytes, on 64-bit systems; `_layout_is_known` compares.
TYPE = 8
FLOAT_VALUE = 16
DATA, DIMENSIONS_COUNT, DIMENSIONS, DESCRIPTOR, FLAGS = 16, 24, 32, 56, 64
# Flags of an array: C-contiguous and aligned.
DENSE = 0x0001 | 0x0100
METH_O, METH_FASTCALL = 0x0008, 0x0080

# What a plan expects: 64-bit words, first these, then a record for each input, then the inputs' dimensions.
BUSY, STEPS, COUNT, TABLE, POOL, RELEASE, INPUTS, ARRAY_TYPE, FLOAT_TYPE, REFUSAL, SUCCESS, FIRST_INPUT = (
    range(12)
)
# An input's record. SCALAR: how a Python float is stored, 0 not at all, 4 as float32, 8 as float64. VALUE: where.
IN_DTYPE, IN_RANK, IN_SLOT, IN_SHAPE, IN_SCALAR, IN_VALUE, IN_WORDS = range(7)


@dataclass(frozen=True)
class Input:
    """An array that a run is given.

    Attributes:
        slot: its number in the run's table of buffers.
        dtype: its dtype; a Python float is also taken where that is float32 or float64 and the shape is ().
        shape: its shape.
    """

    slot: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


# Takes one argument for each input. Gives None when all steps ran, the status code that a step reported, or
# NotImplemented when an argument is not what was expected or the frame is in use: then nothing has run.
Entry = Callable[..., Any]


def make_entry(steps: Steps, frame: Frame, inputs: Sequence[Input], release: bool) -> Entry:
    """A callable that runs steps on a frame, with arrays put into the frame's table.

    Args:
        release: whether other Python threads may run meanwhile: worth its 0.1 us for runs of tens of microseconds.
    """
    make = _native_entry if is_native() else PythonEntry
    return make(steps, frame, inputs, release)


def is_native() -> bool:
    """Whether entries are machine code here."""
    return _layout_is_known()


class PythonEntry:
    """An entry in plain Python."""

    def __init__(self, steps: Steps, frame: Frame, inputs: Sequence[Input], release: bool) -> None:
        self._steps = steps
        self._frame = frame
        self._inputs = inputs
        self._release = release
        self._busy = False

    def __call__(self, *arguments: Any) -> Any:
        """Runs; see `Entry`."""
        if len(arguments) != len(self._inputs) or self._busy:
            return NotImplemented
        arrays: list[np.ndarray[Any, Any]] = []
        for argument, expected in zip(arguments, self._inputs):
            if type(argument) is float and _scalar_bytes(expected):
                with np.errstate(over="ignore"):
                    argument = np.array(argument, expected.dtype)
            if type(argument) is not np.ndarray or argument.dtype != expected.dtype:
                return NotImplemented
            if argument.shape != expected.shape or not _is_dense(argument):
                return NotImplemented
            arrays.append(argument)
        self._busy = True
        try:
            for array, expected in zip(arrays, self._inputs):
                self._frame.buffers[expected.slot] = array.ctypes.data
            return runtime().run(self._steps, self._frame, self._release) or None
        finally:
            self._busy = False


def _is_dense(array: np.ndarray[Any, Any]) -> bool:
    return array.flags.c_contiguous and array.flags.aligned


def _scalar_bytes(expected: Input) -> int:
    """How many bytes a Python float takes as an input, or 0 where it cannot be one."""
    is_scalar = expected.shape == () and expected.dtype in (np.dtype(np.float32), np.dtype(np.float64))
    return expected.dtype.itemsize if is_scalar else 0


# ---------------------------------------------------------------- the builtin function


class _Expectation(np.ndarray[Any, Any]):
    """The words of what a plan expects; `self` of the builtin function."""

    held: tuple[Any, ...]
    """What the words' addresses lead to."""


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def _native_entry(steps: Steps, frame: Frame, inputs: Sequence[Input], release: bool) -> Entry:
    rank = sum(len(expected.shape) for expected in inputs)
    first_shape = FIRST_INPUT + IN_WORDS * len(inputs)
    words = np.zeros(first_shape + rank, np.int64).view(_Expectation)
    values = np.zeros(len(inputs), np.float64)
    words[STEPS], words[COUNT] = steps.address, len(steps)
    words[TABLE], words[POOL] = frame.address, runtime().pool
    words[RELEASE], words[INPUTS] = release, len(inputs)
    words[ARRAY_TYPE], words[FLOAT_TYPE] = id(np.ndarray), id(float)
    words[REFUSAL], words[SUCCESS] = id(NotImplemented), id(None)
    at = first_shape
    for i, expected in enumerate(inputs):
        record = words[FIRST_INPUT + IN_WORDS * i :]
        record[IN_DTYPE], record[IN_RANK] = id(expected.dtype), len(expected.shape)
        record[IN_SLOT], record[IN_SHAPE] = expected.slot, at
        record[IN_SCALAR], record[IN_VALUE] = _scalar_bytes(expected), values.ctypes.data + 8 * i
        words[at : at + len(expected.shape)] = expected.shape
        at += len(expected.shape)
    words.held = (steps, frame, [expected.dtype for expected in inputs], values)
    return _builtin(_definitions()[0], words)


@once
def address_function() -> Callable[[np.ndarray[Any, Any]], int]:
    """A function that gives the address of an array's data, 20 times as quick as `array.ctypes.data`."""
    return _builtin(_definitions()[1], np.ndarray) if is_native() else lambda array: array.ctypes.data


def _builtin(definition: _MethodDefinition, self: Any) -> Any:
    """A builtin function, or method of an object."""
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return new(ctypes.addressof(definition), self, None)


@once
def _definitions() -> tuple[_MethodDefinition, _MethodDefinition]:
    """The definitions of entries and of the function for addresses; they live as long as the process."""
    names = (
        "Py_IncRef",
        "PyLong_FromLongLong",
        "PyEval_SaveThread",
        "PyEval_RestoreThread",
        "PyErr_SetString",
    )
    imports = {name: _address(getattr(ctypes.pythonapi, name)) for name in names}
    imports["PyExc_TypeError"] = ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyExc_TypeError"))
    imports["tahr_run_steps"] = runtime().run_steps
    found = engines.engine().load_module(text(), "entry", ["tahr_entry", "tahr_address"], imports)
    return (
        _MethodDefinition(b"run", found["tahr_entry"], METH_FASTCALL, None),
        _MethodDefinition(b"address", found["tahr_address"], METH_O, None),
    )


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


DECLARATIONS = (
    "declare void @Py_IncRef(ptr)",
    "declare ptr @PyLong_FromLongLong(i64)",
    "declare ptr @PyEval_SaveThread()",
    "declare void @PyEval_RestoreThread(ptr)",
    "declare void @PyErr_SetString(ptr, ptr)",
    "@PyExc_TypeError = external global ptr",
    '@expected_array = private constant [18 x i8] c"expected an array\\00"',
    "declare i64 @tahr_run_steps(ptr, i64, ptr, ptr)",
)


def text() -> str:
    """The module of the builtin functions."""
    return AS_WRITTEN + ir.module([_entry_text(), _address_text()], DECLARATIONS)


def _address_text() -> str:
    """`address(array)`; its `self` is NumPy's type of arrays."""
    f = ir.Function("tahr_address", [(ir.POINTER, "self"), (ir.POINTER, "array")], ir.POINTER)
    found, wrong = f.label("found"), f.label("wrong")
    kind = f.load(ir.POINTER, f.at(ir.I8, "%array", TYPE))
    f.do(f"br i1 {f.value(f'icmp eq ptr {kind}, %self')}, label %{found}, label %{wrong}")
    f.open(wrong)
    error = f.load(ir.POINTER, "@PyExc_TypeError")
    f.do(f"call void @PyErr_SetString(ptr {error}, ptr @expected_array)")
    f.do("ret ptr null")
    f.open(found)
    address = f.load(ir.I64, f.at(ir.I8, "%array", DATA))
    return f.finish(f"ptr {f.value(f'call ptr @PyLong_FromLongLong(i64 {address})')}")


def _entry_text() -> str:
    """An entry; its `self` is an `_Expectation`."""
    arguments = [(ir.POINTER, "self"), (ir.POINTER, "arguments"), (ir.I64, "count")]
    f = ir.Function("tahr_entry", arguments, ir.POINTER)
    words = f.load(ir.POINTER, f.at(ir.I8, "%self", DATA))
    refuse = f.label("refuse")

    def word(index: int | str, base: str = words, kind: str = ir.I64) -> str:
        return f.load(kind, f.at(ir.I64, base, index))

    def expect(condition: str) -> None:
        """Goes on where a condition holds."""
        following = f.label("following")
        f.do(f"br i1 {condition}, label %{following}, label %{refuse}")
        f.open(following)

    def expect_equal(kind: str, a: str, b: str) -> None:
        expect(f.value(f"icmp eq {kind} {a}, {b}"))

    def field(base: str, offset: int, kind: str) -> str:
        return f.load(kind, f.at(ir.I8, base, offset))

    expect_equal(ir.I64, "%count", word(INPUTS))
    expect_equal(ir.I64, word(BUSY), "0")
    table = word(TABLE, kind=ir.POINTER)
    with f.loop(0, "%count", hint="input") as i:
        argument = f.load(ir.POINTER, f.at(ir.POINTER, "%arguments", i))
        record = f.at(ir.I64, words, f.add(f.mul(i, IN_WORDS), FIRST_INPUT))
        place = f.at(ir.POINTER, table, word(IN_SLOT, record))
        kind = field(argument, TYPE, ir.POINTER)
        is_array = f.value(f"icmp eq ptr {kind}, {word(ARRAY_TYPE, kind=ir.POINTER)}")
        with f.either(is_array) as branches:
            expect_equal(
                ir.POINTER, field(argument, DESCRIPTOR, ir.POINTER), word(IN_DTYPE, record, ir.POINTER)
            )
            flags = f.value(f"and i32 {field(argument, FLAGS, ir.I32)}, {DENSE}")
            expect_equal(ir.I32, flags, str(DENSE))
            rank = f.value(f"zext i32 {field(argument, DIMENSIONS_COUNT, ir.I32)} to i64")
            expect_equal(ir.I64, rank, word(IN_RANK, record))
            dimensions = field(argument, DIMENSIONS, ir.POINTER)
            shape = f.at(ir.I64, words, word(IN_SHAPE, record))
            with f.loop(0, rank, hint="axis") as axis:
                expect_equal(ir.I64, word(axis, dimensions), word(axis, shape))
            f.store(ir.POINTER, field(argument, DATA, ir.POINTER), place)
            branches.otherwise()
            expect_equal(ir.POINTER, kind, word(FLOAT_TYPE, kind=ir.POINTER))
            scalar = word(IN_SCALAR, record)
            expect(f.value(f"icmp ne i64 {scalar}, 0"))
            value, target = field(argument, FLOAT_VALUE, ir.F64), word(IN_VALUE, record, ir.POINTER)
            with f.either(f.value(f"icmp eq i64 {scalar}, 4")) as precision:
                f.store(ir.F32, f.value(f"fptrunc double {value} to float"), target)
                precision.otherwise()
                f.store(ir.F64, value, target)
            f.store(ir.POINTER, target, place)

    # Nobody else may use the frame, should other Python threads run now.
    f.store(ir.I64, "1", words)
    run = (
        f"call i64 @tahr_run_steps(ptr {word(STEPS, kind=ir.POINTER)}, i64 {word(COUNT)}, ptr {table}, "
        f"ptr {word(POOL, kind=ir.POINTER)})"
    )
    result = f.variable(ir.I64)
    with f.either(f.value(f"icmp ne i64 {word(RELEASE)}, 0")) as branches:
        thread = f.value("call ptr @PyEval_SaveThread()")
        f.store(ir.I64, f.value(run), result)
        f.do(f"call void @PyEval_RestoreThread(ptr {thread})")
        branches.otherwise()
        f.store(ir.I64, f.value(run), result)
    f.store(ir.I64, "0", words)
    code = f.load(ir.I64, result)
    succeeded, failed = f.label("succeeded"), f.label("failed")
    f.do(f"br i1 {f.value(f'icmp eq i64 {code}, 0')}, label %{succeeded}, label %{failed}")
    f.open(failed)
    f.do(f"ret ptr {f.value(f'call ptr @PyLong_FromLongLong(i64 {code})')}")
    f.open(succeeded)
    none = word(SUCCESS, kind=ir.POINTER)
    f.do(f"call void @Py_IncRef(ptr {none})")
    f.do(f"ret ptr {none}")
    f.open(refuse)
    refusal = word(REFUSAL, kind=ir.POINTER)
    f.do(f"call void @Py_IncRef(ptr {refusal})")
    return f.finish(f"ptr {refusal}")


@once
def _layout_is_known() -> bool:
    """Whether objects of this Python and this NumPy look as expected, found out on real ones."""
    if (
        sys.implementation.name != "cpython"
        or sys.maxsize < 1 << 32
        or sysconfig.get_config_var("Py_GIL_DISABLED")
    ):
        return False

    def read(address: int, kind: Any = ctypes.c_uint64) -> Any:
        return kind.from_address(address).value

    number = 0.1
    array = np.zeros((2, 3), np.float32)
    odd = array[:, ::2]
    if ctypes.sizeof(ctypes.c_void_p) != 8 or read(id(number) + TYPE) != id(float):
        return False
    if read(id(number) + FLOAT_VALUE, ctypes.c_double) != number or array.__sizeof__() < FLAGS + 4:
        return False
    for each, dense in ((array, True), (odd, False)):
        start = id(each)
        if (
            read(start + TYPE) != id(np.ndarray)
            or read(start + DATA) != each.ctypes.data
            or read(start + DIMENSIONS_COUNT, ctypes.c_int32) != 2
            or read(start + DESCRIPTOR) != id(each.dtype)
            or (read(start + FLAGS, ctypes.c_int32) & DENSE == DENSE) != dense
        ):
            return False
        dimensions = read(start + DIMENSIONS)
        if (read(dimensions), read(dimensions + 8)) != each.shape:
            return False
    return True
