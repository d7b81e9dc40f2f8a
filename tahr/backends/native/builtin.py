"""An entry (`entry.py`) as a builtin function made of machine code: a run in a third of a microsecond.

One compiled function serves all plans: what a plan expects is data, records which the function holds as its `self`. It
is called as CPython calls what is written in C, and uses CPython's functions for extensions where it makes objects.

While it runs and does not let other Python threads go on, nobody sees the variables, so it needs no locks: a variable
that nobody else holds (its array's reference count is one) is changed where it lies. Where it does let them go on, it
takes the locks if they are free, and variables out of their cells. What it finds otherwise, it leaves to the long way.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tahr.backends.native import engine as engines, ir, objects, records
from tahr.backends.native.entry import Buffer, Entry, PythonEntry, Recipe, Variable
from tahr.backends.native.kernel import AS_WRITTEN
from tahr.backends.native.once import once
from tahr.backends.native.runtime import runtime
from tahr.backends.native.walk import FULL, PAUSED, STATUS

METH_FASTCALL = 0x0080

# What every array is expected to be; the first fields of the records below.
_BUFFER = [
    ("dtype", np.uint64),
    ("rank", np.int64),
    ("shape", np.uint64),  # address of the dimensions
    ("slot", np.int64),
]
INPUT = np.dtype(
    [
        *_BUFFER,
        ("scalar", np.int64),  # how a Python float is stored: 0 not at all, 4 as float32, 8 as float64
        ("value", np.uint64),  # where
    ]
)
VARIABLE = np.dtype(
    [
        *_BUFFER,
        ("place", np.uint64),  # where the cell keeps its array
        ("lazy", np.uint64),  # where it keeps whether it is lazy; 0: the variable is only read
        ("acquire", np.uint64),  # the methods of the cell's lock; 0: it is not taken
        ("release", np.uint64),
        ("array", np.uint64),  # in a run: the array
    ]
)
RESULT = np.dtype(
    [
        *_BUFFER,
        (
            "arguments",
            np.uint64,
        ),  # those of `np.empty`, two addresses; 0: the array is there once and for all
        ("array", np.uint64),
    ]
)
SHIFT = np.dtype([("slot", np.int64), ("source", np.int64), ("bytes", np.int64)])
EXPECTATION = np.dtype(
    [
        ("busy", np.int64),
        ("steps", np.uint64),
        ("count", np.int64),  # of the steps
        ("table", np.uint64),
        ("pool", np.uint64),
        ("threaded", np.int64),  # whether other Python threads may run meanwhile
        ("inputs", np.uint64),
        ("input_count", np.int64),
        ("variables", np.uint64),
        ("variable_count", np.int64),
        ("results", np.uint64),
        ("result_count", np.int64),
        ("shifts", np.uint64),
        ("shift_count", np.int64),
        ("form", np.uint64),  # address of integers: which result each item is, below 0 for None
        ("item_count", np.int64),  # below 0: one item, and no list
        ("failed", np.uint64),  # what to call where a step failed
        ("paused", np.uint64),  # and where the steps pause or a list is full
    ]
)


# ---------------------------------------------------------------- the records of a recipe


class _Self(np.ndarray[Any, Any]):
    """A record of EXPECTATION; `self` of the builtin function."""

    held: tuple[Any, ...]
    """What the record's addresses lead to."""


def make_entry(recipe: Recipe) -> Entry:
    """What does what a recipe says: a builtin function, or plain Python where objects look different."""
    return _native_entry(recipe) if objects.is_known() else PythonEntry(recipe)


def _native_entry(recipe: Recipe) -> Entry:
    inputs, inputs_hold = _input_records(recipe.inputs)
    variables, variables_hold = _variable_records(recipe.variables, recipe.release)
    results, results_hold = _result_records(recipe)
    shifts = np.array([(s.slot, s.source, s.bytes) for s in recipe.shifts], SHIFT)
    form = np.array([-1 if place is None else place for place in recipe.form.places], np.int64)
    record = np.zeros(1, EXPECTATION)
    values = {
        "steps": recipe.steps.address,
        "count": len(recipe.steps),
        "table": recipe.frame.address,
        "pool": runtime().pool,
        "threaded": recipe.release,
        "inputs": inputs.ctypes.data,
        "input_count": len(inputs),
        "variables": variables.ctypes.data,
        "variable_count": len(variables),
        "results": results.ctypes.data,
        "result_count": len(results),
        "shifts": shifts.ctypes.data,
        "shift_count": len(shifts),
        "form": form.ctypes.data,
        "item_count": len(form) if recipe.form.is_list else -1,
        "failed": id(recipe.failed),
        "paused": id(recipe.paused),
    }
    for name, value in values.items():
        record[name] = value
    found = record.view(_Self)
    found.held = (recipe, inputs, inputs_hold, variables, variables_hold, results, results_hold, shifts, form)
    return _builtin(_definition(), found)


def _records(kind: np.dtype[Any], buffers: Sequence[Buffer]) -> tuple[np.ndarray[Any, Any], list[Any]]:
    """Records with the common fields filled in, and what must be kept for them."""
    found = np.zeros(len(buffers), kind)
    shapes = [np.array(buffer.shape, np.int64) for buffer in buffers]
    for record, buffer, shape in zip(found, buffers, shapes):
        record["dtype"], record["rank"], record["slot"] = id(buffer.dtype), len(shape), buffer.slot
        record["shape"] = shape.ctypes.data
    return found, shapes


def _input_records(inputs: Sequence[Buffer]) -> tuple[np.ndarray[Any, Any], Any]:
    found, shapes = _records(INPUT, inputs)
    values = np.zeros(len(inputs), np.float64)
    found["scalar"] = [buffer.scalar_bytes for buffer in inputs]
    found["value"] = values.ctypes.data + 8 * np.arange(len(inputs))
    return found, (shapes, values)


def _variable_records(variables: Sequence[Variable], takes: bool) -> tuple[np.ndarray[Any, Any], Any]:
    found, held = _records(VARIABLE, [variable.buffer for variable in variables])
    for record, variable in zip(found, variables):
        cell = variable.cell
        record["place"] = objects.attribute_address(cell, "array")
        if variable.is_written:
            record["lazy"] = objects.attribute_address(cell, "is_lazy")
        if variable.is_written and takes:
            methods = cell.lock.acquire, cell.lock.release
            record["acquire"], record["release"] = map(id, methods)
            held.append(methods)
    return found, held


def _result_records(recipe: Recipe) -> tuple[np.ndarray[Any, Any], Any]:
    found, held = _records(RESULT, recipe.results)
    for record, buffer in zip(found, recipe.results):
        if buffer.shape:
            arguments = (buffer.shape, buffer.dtype)
            addresses = np.array([id(a) for a in arguments], np.uint64)
            record["arguments"] = addresses.ctypes.data
            held += [arguments, addresses]
        else:  # what is handed over is a copy, a NumPy scalar
            array = np.zeros((), buffer.dtype)
            record["array"] = id(array)
            recipe.frame.buffers[buffer.slot] = array.ctypes.data
            held.append(array)
    return found, held


# ---------------------------------------------------------------- the builtin function


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def _builtin(definition: _MethodDefinition, self: Any) -> Any:
    """A builtin function, or method of an object."""
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return new(ctypes.addressof(definition), self, None)


# Functions of CPython that are called: what they give and take.
_FUNCTIONS = {
    "Py_IncRef": "void (ptr)",
    "Py_DecRef": "void (ptr)",
    "PyErr_Clear": "void ()",
    "PyErr_Fetch": "void (ptr, ptr, ptr)",
    "PyErr_Restore": "void (ptr, ptr, ptr)",
    "PyEval_RestoreThread": "void (ptr)",
    "PyEval_SaveThread": "ptr ()",
    "PyList_New": "ptr (i64)",
    "PyList_SetItem": "i32 (ptr, i64, ptr)",
    "PyObject_GetItem": "ptr (ptr, ptr)",
    "PyObject_VectorcallDict": "ptr (ptr, ptr, i64, ptr)",
}
# Objects that are compared with or handed over; they live as long as the process.
_OBJECTS = {
    "none": None,
    "false": False,
    "true": True,
    "refusal": NotImplemented,
    "float_type": float,
    "array_type": np.ndarray,
    "empty": np.empty,
    "no_index": (),
}


TITLE = "entry"


@once
def announce() -> None:
    """Has what entries are made of compiled behind the next kernels."""
    if objects.is_known():
        engines.engine().announce(text(), TITLE, is_urgent=False)


def is_coming() -> bool:
    """Whether it is just being compiled, so that whoever makes an entry waits for it."""
    return objects.is_known() and engines.engine().is_at_work(text())


@once
def _definition() -> _MethodDefinition:
    """The definition of entries; it lives as long as the process."""
    imports = {name: _address(getattr(ctypes.pythonapi, name)) for name in _FUNCTIONS}
    imports |= {f"tahr_{name}": id(value) for name, value in _OBJECTS.items()}
    imports["tahr_run_steps"] = runtime().run_steps
    found = engines.engine().load_module(text(), TITLE, ["tahr_entry"], imports)
    return _MethodDefinition(b"run", found["tahr_entry"], METH_FASTCALL, None)


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@functools.cache
def text() -> str:
    """The module of the builtin function."""
    declarations = ["declare i64 @tahr_run_steps(ptr, i64, ptr, ptr)"]
    for name, signature in _FUNCTIONS.items():
        returns, arguments = signature.split(" ", 1)
        declarations.append(f"declare {returns} @{name}{arguments}")
    declarations += [f"@tahr_{name} = external global i8" for name in _OBJECTS]
    functions = [
        _fits(),
        _take_argument(),
        _make_results(),
        _drop_results(),
        _look_at_variables(),
        _lock_variables(),
        _unlock_variables(),
        _take_variables(),
        _give_variables(),
        _shift(),
        _walk(),
        _item(),
        _hand_over(),
        _entry(),
    ]
    return AS_WRITTEN + ir.module(functions, declarations)


def _function(name: str, arguments: Sequence[str], returns: str) -> ir.Function:
    """A function of the module, on addresses."""
    return ir.Function(name, [(ir.POINTER, a) for a in arguments], returns, "alwaysinline", "internal")


def _expect(f: ir.Function, condition: str) -> None:
    """Goes on where a condition holds, else gives false."""
    following, refuse = f.label("following"), f.label("refuse")
    f.branch(condition, following, refuse)
    f.open(refuse)
    f.do("ret i1 false")
    f.open(following)


def _equal(f: ir.Function, kind: str, a: str, b: str) -> str:
    return f.value(f"icmp eq {kind} {a}, {b}")


def _differ(f: ir.Function, kind: str, a: str, b: str) -> str:
    return f.value(f"icmp ne {kind} {a}, {b}")


def _field(f: ir.Function, instance: str, offset: int, kind: str) -> str:
    """A field of an object."""
    return f.load(kind, f.at(ir.I8, instance, offset))


@contextmanager
def _each(f: ir.Function, what: str, kind: np.dtype[Any]) -> Generator[str]:
    """The blocks of a loop over the expectation's records of one kind; the context manager's value is a record."""
    base = records.get(f, EXPECTATION, f"{what}s", "%self")
    with f.loop(0, records.get(f, EXPECTATION, f"{what}_count", "%self"), hint=what) as i:
        yield records.at(f, kind, base, i)


def _call(f: ir.Function, function: str, arguments: str = "null", count: int = 0) -> str:
    """What a Python object gives that is called; null where it raises."""
    return f.value(
        f"call ptr @PyObject_VectorcallDict(ptr {function}, ptr {arguments}, i64 {count}, ptr null)"
    )


# ---------------------------------------------------------------- what is given


def _fits() -> str:
    """Whether an array is as expected; its address is then in the table."""
    f = _function("fits", ["array", "record", "table"], ir.I1)
    _expect(f, _equal(f, ir.POINTER, _field(f, "%array", objects.TYPE, ir.POINTER), "@tahr_array_type"))
    dtype = _field(f, "%array", objects.DESCRIPTOR, ir.POINTER)
    _expect(f, _equal(f, ir.POINTER, dtype, records.get(f, INPUT, "dtype", "%record")))
    flags = f.value(f"and i32 {_field(f, '%array', objects.FLAGS, ir.I32)}, {objects.DENSE}")
    _expect(f, _equal(f, ir.I32, flags, str(objects.DENSE)))
    rank = f.value(f"zext i32 {_field(f, '%array', objects.DIMENSIONS_COUNT, ir.I32)} to i64")
    _expect(f, _equal(f, ir.I64, rank, records.get(f, INPUT, "rank", "%record")))
    dimensions = _field(f, "%array", objects.DIMENSIONS, ir.POINTER)
    shape = records.get(f, INPUT, "shape", "%record")
    with f.loop(0, rank, hint="axis") as axis:
        size, wanted = (f.load(ir.I64, f.at(ir.I64, base, axis)) for base in (dimensions, shape))
        _expect(f, _equal(f, ir.I64, size, wanted))
    address = _field(f, "%array", objects.DATA, ir.POINTER)
    f.store(ir.POINTER, address, f.at(ir.POINTER, "%table", records.get(f, INPUT, "slot", "%record")))
    return f.finish("i1 true")


def _take_argument() -> str:
    """Whether an argument is as expected: an array, or a Python float for a scalar, which is stored."""
    f = _function("take_argument", ["argument", "record", "table"], ir.I1)
    kind = _field(f, "%argument", objects.TYPE, ir.POINTER)
    number, other = f.label("number"), f.label("other")
    f.branch(_equal(f, ir.POINTER, kind, "@tahr_float_type"), number, other)
    f.open(other)
    fits = f.value("call i1 @fits(ptr %argument, ptr %record, ptr %table)")
    f.do(f"ret i1 {fits}")
    f.open(number)
    scalar, target = (records.get(f, INPUT, name, "%record") for name in ("scalar", "value"))
    _expect(f, _differ(f, ir.I64, scalar, "0"))
    value = _field(f, "%argument", objects.FLOAT_VALUE, ir.F64)
    with f.either(_equal(f, ir.I64, scalar, "4")) as precision:
        f.store(ir.F32, f.value(f"fptrunc double {value} to float"), target)
        precision.otherwise()
        f.store(ir.F64, value, target)
    f.store(ir.POINTER, target, f.at(ir.POINTER, "%table", records.get(f, INPUT, "slot", "%record")))
    return f.finish("i1 true")


# ---------------------------------------------------------------- results


def _make_results() -> str:
    """Makes arrays for the results; false where there is no memory."""
    f = _function("make_results", ["self", "table"], ir.I1)
    with _each(f, "result", RESULT) as record:
        arguments = records.get(f, RESULT, "arguments", record)
        with f.when(_differ(f, ir.POINTER, arguments, "null")):
            array = _call(f, "@tahr_empty", arguments, 2)
            records.put(f, RESULT, "array", record, array)
            _expect(f, _differ(f, ir.POINTER, array, "null"))
            address = _field(f, array, objects.DATA, ir.POINTER)
            f.store(ir.POINTER, address, f.at(ir.POINTER, "%table", records.get(f, RESULT, "slot", record)))
    return f.finish("i1 true")


def _drop_results() -> str:
    """Lets go of the results' arrays."""
    f = _function("drop_results", ["self"], "void")
    with _each(f, "result", RESULT) as record:
        is_new = _differ(f, ir.POINTER, records.get(f, RESULT, "arguments", record), "null")
        array = records.get(f, RESULT, "array", record)
        with f.when(f.value(f"and i1 {is_new}, {_differ(f, ir.POINTER, array, 'null')}")):
            f.do(f"call void @Py_DecRef(ptr {array})")
            records.put(f, RESULT, "array", record, "null")
    return f.finish()


def _item() -> str:
    """One item of what is handed over: a result, a new NumPy scalar, or None."""
    f = ir.Function("item", [(ir.POINTER, "self"), (ir.I64, "place")], ir.POINTER, linkage="internal")
    nothing, something, array_, scalar = (f.label(n) for n in ("nothing", "something", "array", "scalar"))
    f.branch(f.value("icmp slt i64 %place, 0"), nothing, something)
    f.open(nothing)
    f.do("call void @Py_IncRef(ptr @tahr_none)")
    f.do("ret ptr @tahr_none")
    f.open(something)
    record = records.at(f, RESULT, records.get(f, EXPECTATION, "results", "%self"), "%place")
    array = records.get(f, RESULT, "array", record)
    is_new = _differ(f, ir.POINTER, records.get(f, RESULT, "arguments", record), "null")
    f.branch(is_new, array_, scalar)
    f.open(array_)
    f.do(f"call void @Py_IncRef(ptr {array})")
    f.do(f"ret ptr {array}")
    f.open(scalar)
    value = f.value(f"call ptr @PyObject_GetItem(ptr {array}, ptr @tahr_no_index)")
    return f.finish(f"ptr {value}")


def _hand_over() -> str:
    """The results in their form; null where there is no memory."""
    f = _function("hand_over", ["self"], ir.POINTER)
    form = records.get(f, EXPECTATION, "form", "%self")
    count = records.get(f, EXPECTATION, "item_count", "%self")
    alone, several, made, no_memory = (f.label(n) for n in ("alone", "several", "made", "no_memory"))
    f.branch(f.value(f"icmp slt i64 {count}, 0"), alone, several)
    f.open(alone)
    only = f.value(f"call ptr @item(ptr %self, i64 {f.load(ir.I64, form)})")
    f.do(f"ret ptr {only}")
    f.open(several)
    items = f.value(f"call ptr @PyList_New(i64 {count})")
    f.branch(_equal(f, ir.POINTER, items, "null"), no_memory, made)
    f.open(no_memory)
    f.do("ret ptr null")
    f.open(made)
    with f.loop(0, count, hint="item") as i:
        item = f.value(f"call ptr @item(ptr %self, i64 {f.load(ir.I64, f.at(ir.I64, form, i))})")
        f.do(f"call i32 @PyList_SetItem(ptr {items}, i64 {i}, ptr {item})")
        with f.when(_equal(f, ir.POINTER, item, "null")):
            f.do(f"call void @Py_DecRef(ptr {items})")
            f.do("ret ptr null")
            f.open(f.label("never"))
    return f.finish(f"ptr {items}")


# ---------------------------------------------------------------- variables


def _look_at_variables() -> str:
    """Whether variables are as expected, and nobody else holds those that are written."""
    f = _function("look_at_variables", ["self", "table"], ir.I1)
    with _each(f, "variable", VARIABLE) as record:
        array = f.load(ir.POINTER, records.get(f, VARIABLE, "place", record))
        _expect(f, f.value(f"call i1 @fits(ptr {array}, ptr {record}, ptr %table)"))
        records.put(f, VARIABLE, "array", record, array)
        lazy = records.get(f, VARIABLE, "lazy", record)
        with f.when(_differ(f, ir.POINTER, lazy, "null")):
            _expect(f, _equal(f, ir.I32, _field(f, array, objects.REFERENCES, ir.I32), "1"))
            _expect(f, _equal(f, ir.POINTER, f.load(ir.POINTER, lazy), "@tahr_false"))
    return f.finish("i1 true")


def _lock_variables() -> str:
    """Takes the locks that are to be taken, if they are free; else none."""
    f = _function("lock_variables", ["self"], ir.I1)
    taken, argument = f.variable(ir.I64, "0"), f.variable(ir.POINTER, "@tahr_false")
    with _each(f, "variable", VARIABLE) as record:
        acquire = records.get(f, VARIABLE, "acquire", record)
        with f.when(_differ(f, ir.POINTER, acquire, "null")):
            answer = _call(f, acquire, argument, 1)
            f.do(f"call void @Py_DecRef(ptr {answer})")
            with f.when(_differ(f, ir.POINTER, answer, "@tahr_true")):
                f.do(f"call void @unlock_variables(ptr %self, i64 {f.load(ir.I64, taken)})")
                f.do("ret i1 false")
                f.open(f.label("never"))
        f.store(ir.I64, f.add(f.load(ir.I64, taken), 1), taken)
    return f.finish("i1 true")


def _unlock_variables() -> str:
    """Lets go of the locks of the first `count` variables."""
    f = ir.Function("unlock_variables", [(ir.POINTER, "self"), (ir.I64, "count")], linkage="internal")
    base = records.get(f, EXPECTATION, "variables", "%self")
    with f.loop(0, "%count", hint="variable") as i:
        release = records.get(f, VARIABLE, "release", records.at(f, VARIABLE, base, i))
        with f.when(_differ(f, ir.POINTER, release, "null")):
            f.do(f"call void @Py_DecRef(ptr {_call(f, release)})")
    return f.finish()


def _take_variables() -> str:
    """Holds the variables' arrays, and takes those out of their cells whose locks were taken."""
    f = _function("take_variables", ["self"], "void")
    with _each(f, "variable", VARIABLE) as record:
        f.do(f"call void @Py_IncRef(ptr {records.get(f, VARIABLE, 'array', record)})")
        with f.when(_differ(f, ir.POINTER, records.get(f, VARIABLE, "acquire", record), "null")):
            f.do("call void @Py_IncRef(ptr @tahr_none)")
            f.store(ir.POINTER, "@tahr_none", records.get(f, VARIABLE, "place", record))
    return f.finish()


def _give_variables() -> str:
    """Puts back what was taken. An error that is on its way stays so."""
    f = _function("give_variables", ["self"], "void")
    error = [f.variable(ir.POINTER) for _ in range(3)]
    f.do(f"call void @PyErr_Fetch({', '.join(f'ptr {e}' for e in error)})")
    with _each(f, "variable", VARIABLE) as record:
        array = records.get(f, VARIABLE, "array", record)
        with f.when(_differ(f, ir.POINTER, records.get(f, VARIABLE, "acquire", record), "null")):
            f.store(ir.POINTER, array, records.get(f, VARIABLE, "place", record))
            f.do("call void @Py_DecRef(ptr @tahr_none)")
        f.do(f"call void @Py_DecRef(ptr {array})")
    f.do(
        f"call void @unlock_variables(ptr %self, i64 {records.get(f, EXPECTATION, 'variable_count', '%self')})"
    )
    f.do(f"call void @PyErr_Restore({', '.join(f'ptr {f.load(ir.POINTER, e)}' for e in error)})")
    return f.finish()


# ---------------------------------------------------------------- the run


def _shift() -> str:
    """Fills in the places of the table that lead to the middle of arrays."""
    f = _function("shift", ["self", "table"], "void")
    with _each(f, "shift", SHIFT) as record:
        slot, source, distance = (records.get(f, SHIFT, n, record) for n in ("slot", "source", "bytes"))
        start = f.load(ir.POINTER, f.at(ir.POINTER, "%table", source))
        f.store(ir.POINTER, f.at(ir.I8, start, distance), f.at(ir.POINTER, "%table", slot))
    return f.finish()


def _walk() -> str:
    """Walks through the steps; false where an error was raised."""
    f = _function("walk", ["self", "table"], ir.I1)
    again, ended, failed, stopped, paused = (
        f.label(n) for n in ("again", "ended", "failed", "stopped", "paused")
    )
    steps, count, pool = (records.get(f, EXPECTATION, n, "%self") for n in ("steps", "count", "pool"))
    threaded = _differ(f, ir.I64, records.get(f, EXPECTATION, "threaded", "%self"), "0")
    run = f"call i64 @tahr_run_steps(ptr {steps}, i64 {count}, ptr %table, ptr {pool})"
    result = f.variable(ir.I64)
    status = f.load(ir.POINTER, "%table")
    records.put(f, STATUS, "resume", status, 0)  # an error may have ended the run before
    f.jump(again)
    f.open(again)
    with f.either(threaded) as branches:
        thread = f.value("call ptr @PyEval_SaveThread()")
        f.store(ir.I64, f.value(run), result)
        f.do(f"call void @PyEval_RestoreThread(ptr {thread})")
        branches.otherwise()
        f.store(ir.I64, f.value(run), result)
    code = f.load(ir.I64, result)
    known = f"i64 0, label %{ended} i64 {PAUSED}, label %{paused} i64 {FULL}, label %{paused}"
    f.do(f"switch i64 {code}, label %{failed} [ {known} ]")
    f.open(paused)
    answer = _call(f, records.get(f, EXPECTATION, "paused", "%self"))
    f.do(f"call void @Py_DecRef(ptr {answer})")
    f.branch(_equal(f, ir.POINTER, answer, "null"), stopped, again)
    f.open(failed)
    f.do(f"call void @Py_DecRef(ptr {_call(f, records.get(f, EXPECTATION, 'failed', '%self'))})")
    f.jump(stopped)
    f.open(stopped)
    f.do("ret i1 false")
    f.open(ended)
    return f.finish("i1 true")


def _entry() -> str:
    """The builtin function itself."""
    arguments = [(ir.POINTER, "self"), (ir.POINTER, "arguments"), (ir.I64, "count")]
    f = ir.Function("tahr_entry", arguments, ir.POINTER)
    refuse, give_up, found = f.label("refuse"), f.label("give_up"), f.variable(ir.POINTER, "null")
    record = _field(f, "%self", objects.DATA, ir.POINTER)

    def expect(condition: str, otherwise: str) -> None:
        following = f.label("following")
        f.branch(condition, following, otherwise)
        f.open(following)

    expect(_equal(f, ir.I64, "%count", records.get(f, EXPECTATION, "input_count", record)), refuse)
    expect(_equal(f, ir.I64, records.get(f, EXPECTATION, "busy", record), "0"), refuse)
    table, inputs = (records.get(f, EXPECTATION, name, record) for name in ("table", "inputs"))
    with f.loop(0, "%count", hint="input") as i:
        argument = f.load(ir.POINTER, f.at(ir.POINTER, "%arguments", i))
        each = records.at(f, INPUT, inputs, i)
        expect(f.value(f"call i1 @take_argument(ptr {argument}, ptr {each}, ptr {table})"), refuse)
    # From here on nobody else may use the frame and the records, should other Python code run.
    records.put(f, EXPECTATION, "busy", record, 1)
    for step in ("make_results", "look_at_variables"):
        expect(f.value(f"call i1 @{step}(ptr {record}, ptr {table})"), give_up)
    expect(f.value(f"call i1 @lock_variables(ptr {record})"), give_up)
    f.do(f"call void @take_variables(ptr {record})")
    f.do(f"call void @shift(ptr {record}, ptr {table})")
    succeeded = f.value(f"call i1 @walk(ptr {record}, ptr {table})")
    f.do(f"call void @give_variables(ptr {record})")
    with f.when(succeeded):
        f.store(ir.POINTER, f.value(f"call ptr @hand_over(ptr {record})"), found)
    f.do(f"call void @drop_results(ptr {record})")
    records.put(f, EXPECTATION, "busy", record, 0)
    f.do(f"ret ptr {f.load(ir.POINTER, found)}")

    f.open(give_up)
    f.do("call void @PyErr_Clear()")
    f.do(f"call void @drop_results(ptr {record})")
    records.put(f, EXPECTATION, "busy", record, 0)
    f.jump(refuse)
    f.open(refuse)
    f.do("call void @Py_IncRef(ptr @tahr_refusal)")
    return f.finish("ptr @tahr_refusal")
