"""What the native backend can do with a node: which form of computation it is, and which inputs it reads as data.

Backends know forms, not ops. An input that only says a shape, a permutation or some axes is read when the plan is made,
and what computed it is then not needed at run time.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tahr.backends.native import singles, windows
from tahr.backends.native.single import is_plain
from tahr.core import scalar
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.core.opdef import (
    Contraction,
    Draw,
    Elementwise,
    Extent,
    Iota,
    OpDef,
    Reduction,
    Update,
    Window,
    known_ints,
    known_value,
)
from tahr.core.scalar import Scalar
from tahr.core.shapes import Spec
from tahr.core.sizes import Dim
from tahr.core.views import Assembly
from tahr.ops import state
from tahr.program.node import Input, Node, Value, attrs_key


class Role(enum.Enum):
    """A form of computation, as the native backend sees it."""

    INPUT = "given from outside"
    CONSTANT = "a constant"
    VARIABLE = "a variable itself"
    READ = "a variable's array"
    VIEW = "other places of the same storage"
    KNOWN = "integers that follow from sizes"
    EXTENT = "a number of elements"
    IOTA = "counting numbers"
    ELEMENTWISE = "element by element"
    REDUCE = "a reduction"
    UPDATE = "variables changed element by element"
    PARTS = "put together from parts"
    PRODUCT = "a matrix product"
    WINDOW = "windows that slide over the input"
    SINGLE = "a kernel of its own"
    HOST = "NumPy"


NEST_ROLES = frozenset({Role.ELEMENTWISE, Role.REDUCE, Role.UPDATE, Role.IOTA})
"""What loop nests are made of."""

COMPUTED = NEST_ROLES | {Role.PARTS, Role.PRODUCT, Role.WINDOW, Role.SINGLE}
"""What takes a kernel."""

_NAMED: dict[str, Role] = {Const.name: Role.CONSTANT, Input.name: Role.INPUT}
_VARIABLES = (state.VariableV2, state.VarHandleOp)


def is_variable(node: Node) -> bool:
    """Whether a node stands for a variable itself."""
    return node.opdef in _VARIABLES


def role(node: Node) -> Role:
    """The role of a node."""
    opdef = node.opdef
    if opdef in (Const, Input):
        return Role.CONSTANT if opdef is Const else Role.INPUT
    if opdef in _VARIABLES:
        return Role.VARIABLE
    if opdef is state.ReadCell:
        return Role.HOST if node.attrs["lenient"] or not is_plain(node.outputs[0].spec) else Role.READ
    if not node.outputs and not isinstance(opdef.form, Update):
        return Role.HOST
    if isinstance(opdef.form, Update):
        return Role.UPDATE if _can_update(node) else Role.HOST
    if (node.has_effects and not isinstance(opdef.form, Draw)) or not all(is_plain(v.spec) for v in node.outputs):
        return Role.HOST
    if all(_is_known(v) for v in node.outputs) and not isinstance(opdef.form, Iota):
        return Role.KNOWN
    return _role_of_form(node)


def _role_of_form(node: Node) -> Role:
    opdef, form = node.opdef, node.opdef.form
    if isinstance(form, Extent):
        return Role.EXTENT
    if opdef.view_rule is not None and _views(node) is not None:
        return Role.VIEW
    if singles.single(node) is not None:
        return Role.SINGLE
    plain = all(is_plain(node.inputs[i].spec) for i in data_inputs(node, None))
    if not plain:
        return Role.HOST
    if isinstance(form, Elementwise) and form.scalar is not None:
        return Role.ELEMENTWISE if traced(node) is not None else Role.HOST
    if isinstance(form, Reduction):
        return Role.REDUCE if known_ints(node.inputs[1].spec) is not None else Role.HOST
    if isinstance(form, Iota):
        return Role.IOTA
    if isinstance(form, Contraction):
        return Role.PRODUCT if node.outputs[0].dtype in _PRODUCTS else Role.HOST
    if isinstance(form, Window):
        return Role.WINDOW if windows.fits(node) else Role.HOST
    if opdef.parts_rule is not None and assembly(node) is not None:
        return Role.PARTS
    return Role.HOST


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
    if found in (Role.KNOWN, Role.EXTENT):
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


def _views(node: Node) -> Any:
    viewed = node.inputs[node.opdef.viewed].spec
    if not is_plain(viewed):
        return None
    return node.opdef.views([v.spec for v in node.inputs], [v.spec for v in node.outputs], node.attrs)


def assembly(node: Node) -> Assembly | None:
    """How a node's output is put together, or None."""
    return node.opdef.assembly([v.spec for v in node.inputs], [v.spec for v in node.outputs], node.attrs)


# ---------------------------------------------------------------- element-wise functions


def traced(node: Node) -> tuple[Scalar, ...] | None:
    """The function of a node's elements, in leaves that are its inputs; None where the scalar language has none."""
    return _traced(node.opdef, tuple(v.dtype for v in node.inputs), _Attrs(node.attrs))  # pyright: ignore[reportArgumentType]


class _Attrs:
    """Attributes that can be hashed."""

    def __init__(self, attrs: Any) -> None:
        self.attrs = attrs
        self.key = attrs_key(attrs)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Attrs) and other.key == self.key


@lru_cache(4096)
def _traced(opdef: OpDef, types: tuple[DType, ...], attrs: _Attrs) -> tuple[Scalar, ...] | None:
    form = opdef.form
    assert isinstance(form, (Elementwise, Update)) and form.scalar is not None
    try:
        found = form.scalar(*(scalar.leaf(i, t) for i, t in enumerate(types)), **attrs.attrs)
    except scalar.Unsupported:
        return None
    return found if isinstance(found, tuple) else (found,)


def variable_types(node: Node) -> tuple[DType, ...]:
    """The dtypes of an updating node's inputs, where those that stand for variables have the variables' dtypes."""
    written = set(node.opdef.effects.writes)
    return tuple(
        v.node.attrs["dtype"] if i in written else v.dtype
        for i, v in enumerate(node.inputs)  # pyright: ignore[reportReturnType]
    )


def update_traced(node: Node) -> tuple[Scalar, ...] | None:
    """The new elements of the variables that a node updates, in leaves that are its inputs."""
    return _traced(node.opdef, variable_types(node), _Attrs(node.attrs))


def _can_update(node: Node) -> bool:
    written = node.opdef.effects.writes
    if any(node.inputs[i].node.opdef not in _VARIABLES for i in written):
        return False
    specs = [Spec(node.inputs[i].node.attrs["dtype"], node.inputs[i].node.attrs["shape"]) for i in written]
    others = [v.spec for i, v in enumerate(node.inputs) if i not in written]
    if not all(map(is_plain, specs + others)):
        return False
    shape = specs[0].shape
    same = all(s.shape == shape for s in specs) and all(s.shape in (shape, ()) for s in others)
    if not node.attrs.get("validate_shape", True) or (len(others) == 1 and others[0].shape != shape):
        return False  # an assignment may change the shape, or has to complain
    return same and update_traced(node) is not None


def extent(node: Node) -> Dim:
    """The number that an Extent is."""
    form = node.opdef.form
    assert isinstance(form, Extent)
    return form.rule(*(v.spec for v in node.inputs), **node.attrs)
