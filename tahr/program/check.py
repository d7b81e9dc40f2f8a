"""The grammar of Programs, executable: what holds before and after every pass.

It is off in ordinary runs. Tests switch it on (`with check.on():`, or TAHR_CHECK_PROGRAMS=1 in the
environment), and then a pass that breaks something fails at that pass, by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from tahr.core import shapes
from tahr.core.convert import Const
from tahr.core.opdef import OpDef
from tahr.core.shapes import Spec
from tahr.ops import control_flow, state
from tahr.program.function import Function
from tahr.program.node import Input, Node, Program, Value, attrs_key

Forbids = Callable[[OpDef], bool]

_REGIONS = (control_flow.While, control_flow.If)


class BrokenProgram(AssertionError):
    """A pass made something that is no Program."""


class _Switch:
    def __init__(self) -> None:
        self.depth = 1 if os.environ.get("TAHR_CHECK_PROGRAMS", "") not in ("", "0") else 0


_switch = _Switch()


def is_on() -> bool:
    """Whether Programs are checked after every pass."""
    return _switch.depth > 0


@contextmanager
def on() -> Generator[None]:
    """Within it, in all threads, Programs are checked after every pass."""
    _switch.depth += 1
    try:
        yield
    finally:
        _switch.depth -= 1


def nothing(opdef: OpDef) -> bool:
    """Forbids nothing."""
    return False


# ---------------------------------------------------------------- one program


def program(program: Program, stage: str, forbidden: Sequence[Forbids] = ()) -> None:
    """Checks a Program.

    Args:
        program: the Program.
        stage: the pass that made it, for the message.
        forbidden: which ops must not be in it.

    Raises:
        BrokenProgram: it is none; the text names the pass and the node.
    """
    nodes = program.nodes()
    _check_ends(program, stage)
    seen: set[Node] = set()
    numbers: set[int] = set()
    keys: dict[Any, Node] = {}
    for node in nodes:
        _check_order(node, seen, numbers, stage)
        _check_effects(node, stage)
        _check_attrs(node, stage)
        _check_specs(node, stage)
        _check_interned(node, keys, stage)
        if any(forbids(node.opdef) for forbids in forbidden):
            _fail(stage, node, f"{node.opdef.name} must not be there any more")


def _fail(stage: str, node: Node | None, problem: str) -> NoReturn:
    where = "" if node is None else f"\n  in {node}" + (f"\n  for {node.op.describe()}" if node.op else "")
    raise BrokenProgram(f"after {stage}: {problem}{where}")


def _check_ends(program: Program, stage: str) -> None:
    for place, value in enumerate(program.inputs):
        if value.node.opdef is not Input or value.node.attrs["place"] != place:
            _fail(stage, value.node, f"input {place} of the program is no input")
    if len(set(program.roots)) != len(program.roots):
        _fail(stage, None, "a root is there twice")
    for root in program.roots:
        if not root.has_effects:
            _fail(stage, root, "a root without effects")
    given = {v.node for v in program.inputs}
    for node in program.nodes():
        if node.opdef is Input and node not in given:
            _fail(stage, node, "an input that is none of the program's")


def _check_order(node: Node, seen: set[Node], numbers: set[int], stage: str) -> None:
    """Each node once, after what it needs; numbers say the same."""
    before = [*(v.node for v in node.inputs), *node.tokens]
    for other in before:
        if other not in seen:
            _fail(stage, node, f"it comes before {other}, which it needs")
        if other.number >= node.number:
            _fail(stage, node, f"its number is not above that of {other}, which it needs")
    for value in node.inputs:
        if value.index >= len(value.node.outputs) or value.node.outputs[value.index] is not value:
            _fail(stage, node, f"its input {value} is no output of the node that it names")
    if node.number in numbers:
        _fail(stage, node, "another node has its number")
    seen.add(node)
    numbers.add(node.number)


def _check_effects(node: Node, stage: str) -> None:
    for i, value in enumerate(node.outputs):
        if value.node is not node or value.index != i:
            _fail(stage, node, f"its output {i} belongs to another node")
    if node.tokens and not (node.has_effects or node.opdef is state.ReadCell):
        _fail(stage, node, "a pure node with tokens")
    for token in node.tokens:
        if not (token.has_effects or token.opdef is state.ReadCell):
            _fail(stage, node, f"its token {token} has no effects")
    if node.has_effects and node.op is None:
        _fail(stage, node, "effects without the operation that they belong to")


def _check_attrs(node: Node, stage: str) -> None:
    if node.opdef is Const:
        value, spec = node.attrs["value"], node.outputs[0].spec
        if spec.dtype is None or value.dtype != spec.dtype.numpy or value.shape != spec.shape:
            _fail(stage, node, f"its value is {value.dtype} {value.shape}")
        return
    missing = set(node.opdef.attrs) - set(node.attrs)
    if missing and node.opdef not in _REGIONS:
        _fail(stage, node, f"attributes {sorted(missing)} are missing")
    if node.opdef not in _REGIONS:
        return
    for name, attr in node.attrs.items():
        is_region = isinstance(attr, tuple) and len(attr) == 2 and isinstance(attr[0], Function)
        if not is_region:
            _fail(stage, node, f"its attribute {name} is no region: (Function, places of captures)")
        function, places = attr
        if any(not 0 <= place < len(node.inputs) for place in places):
            _fail(stage, node, f"a capture of {name} is none of its inputs")
        if len(places) != len(function.captures) + len(function.outline.states):
            _fail(stage, node, f"{name} has {len(function.captures)} captures, but {len(places)} places")


def _check_specs(node: Node, stage: str) -> None:
    """What is said of the outputs is what the op's own rules say."""
    # Only the last node of a stage may leave it open: an operation written by subclassing, say.
    for value in node.inputs:
        if value.dtype is None:
            _fail(stage, node, f"it takes {value}, whose dtype is not known")
    if node.opdef in (Input, state.ReadCell) or node.opdef in _REGIONS:
        return
    try:
        inferred = node.opdef.infer([v.spec for v in node.inputs], node.attrs)
    except Exception:
        return  # what was fed does not fit, and the kernel says so if the node runs: a branch may never be taken
    if len(inferred) != len(node.outputs):
        _fail(stage, node, f"it has {len(inferred)} outputs")
    for value, spec in zip(node.outputs, inferred):
        problem = _contradiction(value.spec, spec)
        if problem:
            _fail(stage, node, f"{value} is said to have {problem}")


def _contradiction(said: Spec, inferred: Spec) -> str:
    if said.dtype is not inferred.dtype:
        return f"dtype {said.dtype}, but has {inferred.dtype}"
    if not shapes.compatible(said.shape, inferred.shape):
        return f"shape {shapes.show(said.shape)}, but has {shapes.show(inferred.shape)}"
    if said.value is None or inferred.value is None:
        return ""
    for a, b in zip(said.value.flat, inferred.value.flat):
        if isinstance(a, int) and isinstance(b, int) and a != b:
            return f"value {said.value.tolist()}, but has {inferred.value.tolist()}"
    return ""


def _check_interned(node: Node, keys: dict[Any, Node], stage: str) -> None:
    """Equal pure computations are one node."""
    if node.opdef in (Input, state.ReadCell) or node.opdef in _REGIONS or node.has_effects or node.tokens:
        return
    key = (node.opdef.name, tuple(map(id, node.inputs)), attrs_key(node.attrs))
    other = keys.setdefault(key, node)
    if other is not node:
        _fail(stage, node, f"{other} computes the same")


# ---------------------------------------------------------------- before and after


def same_effects(before: Program, after: Program, stage: str) -> None:
    """Checks that a pass kept a program's inputs, its outputs' types, its effects and their order.

    Raises:
        BrokenProgram: it did not.
    """
    if [v.node for v in before.inputs] != [v.node for v in after.inputs]:
        _fail(stage, None, "the program has other inputs than before")
    if len(before.outputs) != len(after.outputs):
        _fail(stage, None, f"the program has {len(after.outputs)} outputs, before {len(before.outputs)}")
    for old, new in zip(before.outputs, after.outputs):
        if old.dtype is not new.dtype or not shapes.compatible(old.shape, new.shape):
            _fail(stage, new.node, f"output {new} was {_show(old)} before and is {_show(new)}")
    for old, new in zip(before.roots, after.roots):
        if old.op is not new.op or old.opdef is not new.opdef:
            _fail(stage, new, f"the effect of {old} is in its place in the order no more")
    if len(before.roots) != len(after.roots):
        lost = {n.op for n in before.roots} - {n.op for n in after.roots}
        _fail(stage, None, f"effects were lost or added: {sorted(op.name for op in lost if op)}")
    for old, new in zip(before.roots, after.roots):
        if _order(old) != _order(new):
            _fail(stage, new, "it does not run after the same effects as before")


def _order(node: Node) -> list[Any]:
    """What must run before a node, as operations: these outlive every rewriting."""
    return [(token.op, token.opdef) for token in node.tokens]


def _show(value: Value) -> str:
    return f"{value.dtype.name if value.dtype else '?'}{shapes.show(value.shape)}"
