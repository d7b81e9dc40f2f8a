"""`import tahr` is quick: what not every program needs is loaded when it is first used, and nobody notices."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tahr as tf
from tahr.core import boundary

SOURCE = Path(tf.__file__)


def table() -> dict[str, str]:
    """Where each late name is, as `tahr/__init__.py` tells the machine."""
    calls = [n for n in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    (call,) = [c for c in calls if ast.unparse(c.func) == "_late.add_names"]
    places: dict[str, str] = ast.literal_eval(call.args[1])
    return {name: place for place, names in places.items() for name in names.split()}


LATE = table()


def in_a_new_process(program: str) -> str:
    """What a program prints; it must print no warning."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=SOURCE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


# ---------------------------------------------------------------- what is not loaded

WAITING = """
    tahr.api tahr.backends tahr.layers tahr.plan tahr.program tahr.session.session tahr.training
    argparse bz2 dataclasses difflib hashlib hmac llvmlite lzma numpy.typing pprint random secrets shutil tempfile
    unittest
"""


def loaded_by(program: str) -> set[str]:
    """Those of WAITING that NumPy does not load, and a program does."""
    found = in_a_new_process(
        "import sys, numpy, ml_dtypes\n"
        "before = set(sys.modules)\n"
        f"{program}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    return {*found.split()} & {*WAITING.split()}


def test_what_waits_until_it_is_used() -> None:
    assert loaded_by("import tahr") == set()


def test_what_only_builds_a_graph_loads_nothing_that_runs_it() -> None:
    program = """
import tahr as tf
x = tf.placeholder(tf.float32, [None, 3])
loss = tf.reduce_mean(tf.square(tf.nn.relu(x @ tf.get_variable("w", [3, 2]))))
step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
assert tf.get_default_session() is None
try:
    loss.eval()
except ValueError as error:
    assert "No default session is registered" in str(error)
"""
    running = {"tahr.backends", "tahr.plan", "tahr.program", "tahr.session.session", "unittest"}
    assert not loaded_by(program) & running


def test_running_a_graph_loads_no_tests() -> None:
    program = "import tahr as tf\nassert tf.Session().run(tf.constant(3) + 4) == 7"
    assert "tahr.plan" in loaded_by(program)
    assert not loaded_by(program) & {"unittest", "tempfile", "tahr.training"}


# ---------------------------------------------------------------- the names


def test_type_checkers_see_the_same_names() -> None:
    body = ast.parse(SOURCE.read_text(encoding="utf-8")).body
    (block,) = [n for n in body if isinstance(n, ast.If) and ast.unparse(n.test) == "_typing.TYPE_CHECKING"]
    imported = {
        alias.asname: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
        if alias.name == alias.asname
    }
    assert imported == LATE


@pytest.mark.parametrize("name", sorted(LATE))
def test_a_late_name(name: str) -> None:
    value = getattr(tf, name)
    assert value is getattr(importlib.import_module(LATE[name]), name)
    assert vars(tf)[name] is value  # from now on it is an ordinary name


def test_the_names_are_known_before_they_are_loaded() -> None:
    names = in_a_new_process("import tahr\nprint(*(name for name in dir(tahr) if not name.startswith('_')))")
    assert LATE.keys() <= {*names.split()}
    names = in_a_new_process("import builtins\nfrom tahr import *\nbuiltins.print(*dir())")
    assert LATE.keys() | {"matmul", "errors"} <= {*names.split()}


def test_importing_late_names_and_submodules() -> None:
    program = """
from tahr import Session, errors, nn, session, train, variable_scope
import tahr, tahr.api.math, tahr.layers.base
assert Session is tahr.Session is session.session.Session
assert nn is tahr.nn is tahr.api.nn and tahr.api.math is tahr.math
assert callable(train.AdamOptimizer) and callable(variable_scope) and callable(tahr.variable_scope)
"""
    assert in_a_new_process(program) == ""


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(boundary.FULL_TRACEBACK, "0")
    names: Any = tf
    with pytest.raises(AttributeError, match=r"^module 'tahr' has no attribute 'Sesssion'") as caught:
        _ = names.Sesssion
    assert caught.value.name == "Sesssion"
    own = [entry for entry in caught.traceback if Path(entry.path).is_relative_to(SOURCE.parent)]
    assert len(own) <= (sys.version_info < (3, 11))  # the traceback ends at the user's line
    with pytest.raises(ImportError, match="cannot import name 'Sesssion'"):
        exec("from tahr import Sesssion")


def test_pickles_of_late_names() -> None:
    for value in (tf.nn.relu, tf.Session, tf.disable_v2_behavior, tf.train.AdamOptimizer):
        pickled = pickle.dumps(value)
        program = f"import pickle\nprint(pickle.loads({pickled!r}).__name__)"
        assert in_a_new_process(program).strip() == value.__name__


def test_threads_that_load_one_part_at_once() -> None:
    program = """
import threading, tahr as tf
barrier, found = threading.Barrier(8), []
def load():
    barrier.wait()
    found.append((tf.nn, tf.nn.relu, tf.Session, tf.Session.run))
threads = [threading.Thread(target=load) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert len(found) == 8 and len(set(found)) == 1
"""
    assert in_a_new_process(program) == ""


# ---------------------------------------------------------------- ops


def test_every_op_is_known_from_the_start() -> None:
    program = """
import importlib, pkgutil, tahr
from tahr.core.opdef import OPS
before = set(OPS)
for module in pkgutil.walk_packages(tahr.__path__, "tahr."):
    if module.name.startswith(("tahr.ops.", "tahr.layers.", "tahr.training.", "tahr.session.")):
        importlib.import_module(module.name)
print(*set(OPS) - before)
"""
    assert in_a_new_process(program).split() == []


def test_ops_by_name_before_their_part_is_loaded() -> None:
    program = """
import sys, tahr as tf
image, filters = tf.zeros([1, 5, 5, 1]), tf.zeros([3, 3, 1, 2])
attrs = {"strides": [1, 1, 1, 1], "padding": "VALID"}
out = tf.get_default_graph().create_op("Conv2D", [image, filters], attrs=attrs).outputs[0]
assert out.shape == [1, 3, 3, 2] and "tahr.api.nn" not in sys.modules
assert tf.gradients(out, filters)[0].shape == [3, 3, 1, 2]
try:
    tf.RegisterGradient("Conv2D")(lambda op, dy: dy)
except KeyError:
    print("it has one")
"""
    assert in_a_new_process(program) == "it has one\n"
