"""What the native backend can do with a node: which form of computation it is, and which inputs it reads as data.

Backends know forms, not ops. An input that only says a shape, a permutation or some axes is read when the plan is made,
and what computed it is then not needed at run time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from tahr.backends.native import singles, windows
from tahr.backends.native.single import is_plain
from tahr.backends.native.tracing import traced, update_traced
from tahr.core import scalar, shapes
from tahr.core.convert import Const
from tahr.core.forms import (
    Check,
    Contraction,
    Draw,
    Elementwise,
    Extent,
    Finite,
    Iota,
    PositionWrite,
    Reduction,
    RowUpdate,
    Scatter,
    Update,
    Window,
)
from tahr.core.opdef import known_ints, known_value
from tahr.core.shapes import Spec
from tahr.core.sizes import Dim
from tahr.core.views import Assembly
from tahr.ops import state
from tahr.program.node import Input, Node, Value


class Role(enum.Enum):
    """A form of computation, as the native backend sees it."""

    INPUT = "given from outside"
    CONSTANT = "a constant"
    VARIABLE = "a variable itself"
    READ = "a variable's array"
    VIEW = "other places of the same storage"
    KNOWN = "integers that follow from sizes"
    EXTENT = "a number of elements"
    UNIFORM = "one number everywhere"
    HOLDS = "a check of what is known to hold"
    IOTA = "counting numbers"
    ELEMENTWISE = "element by element"
    REDUCE = "a reduction"
    UPDATE = "variables changed element by element"
    PARTS = "put together from parts"
    PRODUCT = "a matrix product"
    WINDOW = "windows that slide over the input"
    SINGLE = "a kernel of its own"
    LIST = "a list, or one of its items"
    LOOP = "a loop"
    BRANCHING = "a conditional"
    HOST = "NumPy"


NEST_ROLES = frozenset({Role.ELEMENTWISE, Role.REDUCE, Role.UPDATE, Role.IOTA})
"""What loop nests are made of."""

REGION_ROLES = frozenset({Role.LIST, Role.LOOP, Role.BRANCHING})
"""What is native only where everything around it is: see `regions`."""

COMPUTED = NEST_ROLES | {Role.PARTS, Role.PRODUCT, Role.WINDOW, Role.SINGLE}
"""What takes a kernel."""

_VARIABLES = (state.VariableV2, state.VarHandleOp)


def is_variable(node: Node) -> bool:
    """Whether a node stands for a variable itself."""
    return node.opdef in _VARIABLES


def role(node: Node) -> Role:
    """The role of a node."""
    found = _verdict(node)
    return found if isinstance(found, Role) else Role.HOST


def reason(node: Node) -> str:
    """Why a node is the host's; empty where it is not."""
    found = _verdict(node)
    return "" if isinstance(found, Role) else found


def _verdict(node: Node) -> Role | str:
    """The role of a node that is compiled, or why it is the host's."""
    opdef = node.opdef
    if opdef in (Const, Input):
        return Role.CONSTANT if opdef is Const else Role.INPUT
    if opdef in _VARIABLES:
        return Role.VARIABLE
    if opdef is state.ReadCell:
        return obstacle(node.outputs) or Role.READ
    if isinstance(opdef.form, Update):
        return _complaint_about_update(node) or Role.UPDATE
    if isinstance(opdef.form, (PositionWrite, RowUpdate, Scatter)):
        are_variables = all(node.inputs[i].node.opdef in _VARIABLES for i in opdef.effects.writes)
        is_native = are_variables and singles.single(node) is not None
        return Role.SINGLE if is_native else "no kernel for such a part of a variable"
    if isinstance(opdef.form, Check):
        return _verdict_on_check(node)
    if not node.outputs or (node.has_effects and not isinstance(opdef.form, (Draw, Finite))):
        return _effects(node)
    complaint = obstacle(node.outputs)
    if complaint:
        return complaint
    if all(_is_known(v) for v in node.outputs) and not isinstance(opdef.form, Iota):
        return Role.KNOWN
    return _role_of_form(node)


def _verdict_on_check(node: Node) -> Role | str:
    if _holds(node.inputs[0]):
        return Role.HOLDS
    return Role.SINGLE if singles.single(node) is not None else "what it would show has no native form"


def _role_of_form(node: Node) -> Role | str:
    opdef, form = node.opdef, node.opdef.form
    if isinstance(form, Extent):
        return Role.EXTENT
    if opdef.view_rule is not None and _views(node) is not None:
        return Role.VIEW
    if singles.single(node) is not None:
        return Role.SINGLE
    complaint = obstacle([node.inputs[i] for i in data_inputs(node, None)])
    if complaint:
        return complaint
    if isinstance(form, Elementwise) and form.scalar is not None:
        found = traced(node)
        if found is not None and found[0].op == "constant":
            return Role.UNIFORM
        return Role.ELEMENTWISE if found is not None else f"no scalar function of {_dtypes(node)}"
    if isinstance(form, Reduction):
        return Role.REDUCE if known_ints(node.inputs[1].spec) is not None else "its axes are data"
    if isinstance(form, Iota):
        return Role.IOTA
    if isinstance(form, Contraction):
        if any(len(v.shape or ()) < 2 for v in node.inputs):
            return "a vector is no matrix"
        return Role.PRODUCT if node.outputs[0].dtype in _PRODUCTS else f"no product of {_dtypes(node)}"
    if isinstance(form, Window):
        return Role.WINDOW if windows.fits(node) else "no kernel for such windows"
    if opdef.parts_rule is not None and assembly(node) is not None:
        return Role.PARTS
    has_rule = isinstance(form, tuple(singles.SINGLES)) or opdef.view_rule or opdef.parts_rule
    return "its dtypes, layout or arguments have no kernel" if has_rule else "no native form"


_PRODUCTS = frozenset(d for d in scalar.SUPPORTED if d.is_floating)


def data_inputs(node: Node, found: Role | None) -> Sequence[int]:
    """The inputs that a node reads as data.

    Args:
        node: the node.
        found: its role; None where that is just being found out.
    """
    form = node.opdef.form
    if found is Role.HOST:
        return range(len(node.inputs))
    if found in (Role.KNOWN, Role.EXTENT, Role.UNIFORM, Role.HOLDS):
        return ()
    if found is Role.VIEW:
        return (node.opdef.viewed,)
    if found is Role.SINGLE:
        found_single = singles.single(node)
        assert found_single is not None
        return found_single.data(node)
    if isinstance(form, Reduction):
        return (0,)
    if isinstance(form, Iota):
        return (0, len(node.inputs) - 1)
    if found is Role.PARTS:
        parts = assembly(node)
        assert parts is not None
        return sorted(
            {p.input for p in parts.parts} | ({parts.fill_input} if parts.fill_input is not None else set())
        )
    if isinstance(form, Window) and form.sizes is not None:
        return tuple(i for i in range(len(node.inputs)) if i != form.sizes)
    return range(len(node.inputs))


def _is_known(value: Value) -> bool:
    return known_value(value.spec) is not None


def _holds(condition: Value) -> bool:
    return condition.constant is not None and bool(condition.constant.all())


def _views(node: Node) -> Any:
    viewed = node.inputs[node.opdef.viewed].spec
    if not is_plain(viewed):
        return None
    return node.opdef.views([v.spec for v in node.inputs], [v.spec for v in node.outputs], node.attrs)


def assembly(node: Node) -> Assembly | None:
    """How a node's output is put together, or None."""
    return node.opdef.assembly([v.spec for v in node.inputs], [v.spec for v in node.outputs], node.attrs)


# ---------------------------------------------------------------- why not


def obstacle(values: Iterable[Value]) -> str:
    """What keeps values from being computed natively; empty where nothing does."""
    return _complaint_about(v.spec for v in values)


def _complaint_about(specs: Iterable[Spec]) -> str:
    for spec in specs:
        if not is_plain(spec):
            if spec.dtype not in scalar.SUPPORTED:
                return f"dtype {'unknown' if spec.dtype is None else spec.dtype.name}"
            return f"its shape follows from data: {shapes.show(spec.shape)}"
    return ""


def _effects(node: Node) -> str:
    """What a node does beside computing, for which there is no native code."""
    effects = node.opdef.effects
    if not effects.any:
        return "runs a region with effects" if node.has_effects else "computes nothing"
    if effects.may_block:
        return "may block"
    if effects.io:
        return "touches the world outside"
    return "draws random numbers" if effects.draws else "uses a variable in a way of its own"


def _dtypes(node: Node) -> str:
    return ", ".join(
        dict.fromkeys("?" if v.dtype is None else v.dtype.name for v in (*node.inputs, *node.outputs))
    )


# ---------------------------------------------------------------- updates


def _complaint_about_update(node: Node) -> str:
    """Why a node that changes variables element by element is the host's; empty where it is not."""
    written = node.opdef.effects.writes
    if any(node.inputs[i].node.opdef not in _VARIABLES for i in written):
        return "which variable it changes is data"
    specs = [Spec(node.inputs[i].node.attrs["dtype"], node.inputs[i].node.attrs["shape"]) for i in written]
    others = [v.spec for i, v in enumerate(node.inputs) if i not in written]
    complaint = _complaint_about(specs + others)
    if complaint:
        return complaint
    shape = specs[0].shape
    same = all(s.shape == shape for s in specs) and all(s.shape in (shape, ()) for s in others)
    is_assignment = not node.attrs.get("validate_shape", True)
    if is_assignment or not same or (len(others) == 1 and others[0].shape != shape):
        return "an assignment may change the shape, or has to complain"
    return "" if update_traced(node) is not None else f"no scalar function of {_dtypes(node)}"


def extent(node: Node) -> Dim:
    """The number that an Extent is."""
    form = node.opdef.form
    assert isinstance(form, Extent)
    return form.rule(*(v.spec for v in node.inputs), **node.attrs)
