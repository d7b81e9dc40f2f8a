"""The user's line: which one an operation remembers."""

from __future__ import annotations

import linecache
from typing import Any

from tahr.core import source
from tahr.core.convert import constant
from tahr.core.graph import Graph
from tahr.ops.control_flow import cond, while_loop
from tahr.ops.elementwise import add
from tahr.ops.functional import map_fn
from tahr.ops.losses import mean_squared_error
from tahr.variables import Variable


def _text(op):
    assert op.source.filename == __file__
    return op.source.line


def test_a_call():
    x = constant(1.0)  # here
    assert _text(x.op) == "x = constant(1.0)  # here"
    assert x.op.source.describe() == f"test_source.py:{x.op.source.lineno}   {x.op.source.line}"
    assert repr(x.op.source) == f"<Source test_source.py:{x.op.source.lineno}>"


def test_operators_and_indices():
    x = constant([1.0, 2.0])
    y = x * 2.0  # operator
    z = y[::-1]  # index
    assert [_text(t.op) for t in (y, z)] == ["y = x * 2.0  # operator", "z = y[::-1]  # index"]
    assert _text(y.op.inputs[1].op) == "y = x * 2.0  # operator"


def test_every_operation_of_a_library_function_has_the_users_line():
    with Graph().as_default() as graph:
        mean_squared_error(constant([1.0]), constant([2.0]))  # loss
        Variable([1.0, 2.0], name="v")  # variable
    lines = {op.source.line for op in graph.get_operations()}
    assert lines == {
        "mean_squared_error(constant([1.0]), constant([2.0]))  # loss",
        'Variable([1.0, 2.0], name="v")  # variable',
    }


def test_the_users_own_helper_is_the_line():
    def helper(x):
        return add(x, x)  # inside

    assert _text(helper(constant(1.0)).op) == "return add(x, x)  # inside"


def test_functions_that_the_library_calls():
    with Graph().as_default() as graph:
        while_loop(lambda i: i < 3, lambda i: i + 5, [constant(0)])
        cond(
            constant(True),
            lambda: add(1.0, 2.0, name="yes"),
            lambda: add(3.0, 4.0, name="no"),
        )
        map_fn(
            lambda x: add(x, x, name="mapped"),
            constant([1.0]),
        )
    found = {op.name.rpartition("/")[2]: op.source.line for op in graph.get_operations()}
    assert found["yes"] == 'lambda: add(1.0, 2.0, name="yes"),'
    assert found["no"] == 'lambda: add(3.0, 4.0, name="no"),'
    assert found["mapped"] == 'lambda x: add(x, x, name="mapped"),'


def test_traceback():
    x = constant(1.0)
    ((filename, lineno, function, text),) = x.op.traceback
    assert (filename, function, text) == (__file__, "test_traceback", "x = constant(1.0)")
    assert linecache.getline(filename, lineno).strip() == text


def test_code_without_a_file():
    space: dict[str, Any] = {"constant": constant}
    exec(compile("x = constant(1.0)\n", "<typed>", "exec"), space)
    where = space["x"].op.source
    assert (where.place, where.line, where.describe()) == ("<typed>:1", "", "<typed>:1")


def test_a_long_line_is_cut():
    x = constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0])
    assert x.op.source.describe().endswith("...") and len(x.op.source.describe()) < 120


def test_whose_code_it_is():
    assert source.is_ours(source.__file__) and not source.is_ours(__file__)
