"""Rewriting rules as data: a pattern of operations, and a function that builds what replaces it.

    @rule(p.Transpose(p.Transpose("x", perm="a"), perm="b"))
    def transpose_of_transpose(x: Value, a: tuple[int, ...], b: tuple[int, ...]) -> Value:
        \"\"\"x.T(a).T(b) -> x.T(a∘b). Elements only move: valid for every dtype and value.\"\"\"
        return build.Transpose(x, perm=[a[i] for i in b])

`p.<Op>(...)` matches an operation. Its positional arguments match the inputs:

* a string binds the input's value to a name; a name used twice must be the same value twice;
* another pattern matches the operation behind the input;
* a number matches a constant (or Fill) all of whose elements are that number, with the sign of its zero;
* `...`, alone, matches any inputs.

Keyword arguments match attributes, and inputs whose value is known, as TensorFlow's `perm` and
`reduction_indices` are: a string binds what the attribute or input is (an integer, a tuple of integers),
anything else must be equal to it. Attributes that are not mentioned may have any value. Commutative
operations match in both orders.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, Union

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import Const
from tahr.core.graph import Operation
from tahr.core.opdef import OPS, Arg, OpDef, known_ints
from tahr.ops import (  # rules name ops: importing these modules defines them
    activations as activations,
    elementwise as elementwise,
    fills,
    indexing as indexing,
    joining as joining,
    linalg as linalg,
    logic as logic,
    reductions as reductions,
    slicing as slicing,
    softmax as softmax,
    special as special,
    structural as structural,
)
from tahr.program.node import Builder, Node, Value

COMMUTATIVE = frozenset({"Add", "AddV2", "Mul", "Maximum", "Minimum", "LogicalAnd", "LogicalOr"})

# A constant larger than this is data: it is not searched for being all ones or zeros.
MAX_SEARCHED = 1024

Argument = Union["Pattern", str, int, float, EllipsisType]


# ---------------------------------------------------------------- patterns


@dataclass(frozen=True)
class Pattern:
    """An operation to be matched.

    Attributes:
        opdef: its kind.
        inputs: what each input must be, or None where anything goes.
        known: what inputs (by index) must be known to be, as plain integers.
        attrs: what attributes must be.
        name: the name that its output is bound to, or "".
    """

    opdef: OpDef
    inputs: tuple[Argument, ...] | None
    known: tuple[tuple[int, Any], ...] = ()
    attrs: tuple[tuple[str, Any], ...] = ()
    name: str = ""

    def named(self, name: str) -> Pattern:
        """The same pattern, whose output is bound to a name."""
        return replace(self, name=name)

    @property
    def names(self) -> frozenset[str]:
        """The names that it binds."""
        found = {self.name} if self.name else set[str]()
        for argument in (*(self.inputs or ()), *(v for _, v in self.known), *(v for _, v in self.attrs)):
            if isinstance(argument, str):
                found.add(argument)
            elif isinstance(argument, Pattern):
                found |= argument.names
        return frozenset(found)

    def orders(self) -> Iterator[Pattern]:
        """The pattern with the inputs of commutative operations in every order."""
        if self.inputs is None:
            yield self
            return
        choices = [list(a.orders()) if isinstance(a, Pattern) else [a] for a in self.inputs]
        for inputs in itertools.product(*choices):
            yield replace(self, inputs=inputs)
            if self.opdef.name in COMMUTATIVE and inputs[0] != inputs[1]:
                yield replace(self, inputs=inputs[::-1])

    def matches(self, node: Node, bound: dict[str, Any]) -> bool:
        """Whether a node fits; what the names stand for is added to `bound`."""
        if node.opdef is not self.opdef:
            return False
        for attr, wanted in self.attrs:
            if not _binds(wanted, node.attrs[attr], bound):
                return False
        if self.inputs is not None:
            for argument, value in zip(self.inputs, node.inputs):
                if argument is not Ellipsis and not _fits(argument, value, bound):
                    return False
        for index, wanted in self.known:
            value = known_integers(node.inputs[index])
            if value is None or not _binds(wanted, value, bound):
                return False
        return True


def _fits(argument: Argument, value: Value, bound: dict[str, Any]) -> bool:
    if isinstance(argument, str):
        return bound.setdefault(argument, value) is value
    if isinstance(argument, Pattern):
        if argument.name and argument.name in bound:
            return bound[argument.name] is value
        if value.index != 0 or not argument.matches(value.node, bound):
            return False
        if argument.name:
            bound[argument.name] = value
        return True
    return is_filled(value, argument)


def _binds(wanted: Any, found: Any, bound: dict[str, Any]) -> bool:
    if isinstance(wanted, str):
        return bound.setdefault(wanted, found) == found
    return bool(wanted == found)


def known_integers(value: Value) -> int | tuple[int, ...] | None:
    """An integer scalar or vector whose elements are all known, else None."""
    if value.shape is None or len(value.shape) > 1:
        return None
    constant = value.constant
    if constant is not None:
        if constant.dtype.kind not in "iu" or constant.size > MAX_SEARCHED:
            return None
        found: list[int] = constant.ravel().tolist()
    else:
        known = known_ints(value.spec)
        if known is None:
            return None
        found = known
    return tuple(found) if value.shape else found[0]


def is_filled(value: Value, number: Any) -> bool:
    """Whether a value is a constant (or Fill) of nothing but `number`; 0.0 and -0.0 are told apart."""
    if value.node.opdef is fills.Fill:
        value = value.node.inputs[1]
    constant = value.constant
    if constant is None or constant.dtype.kind not in "iufcV" or not 0 < constant.size <= MAX_SEARCHED:
        return False
    first = constant.flat[0]
    if first != number or (constant.size > 1 and not (constant == first).all()):
        return False
    if number != 0 or constant.dtype.kind in "iu":
        return True
    return constant.dtype.kind != "c" and bool(
        (np.signbit(constant.astype(np.float64)) == (math.copysign(1.0, number) < 0)).all()
    )


class _Patterns:
    """`p`: its attributes make patterns, one for each op."""

    def __getattr__(self, name: str) -> Callable[..., Pattern]:
        opdef = OPS[name]

        def make(*arguments: Argument, **keywords: Any) -> Pattern:
            return _pattern(opdef, arguments, keywords)

        return make


p = _Patterns()


def _pattern(opdef: OpDef, arguments: tuple[Argument, ...], keywords: dict[str, Any]) -> Pattern:
    places = {arg.name: i for i, arg in enumerate(opdef.inputs)}
    attrs = tuple((k, v) for k, v in keywords.items() if k in opdef.attrs)
    known = tuple((places[k], v) for k, v in keywords.items() if k not in opdef.attrs)
    if arguments == (...,):
        return Pattern(opdef, None, known, attrs)
    if any(arg.is_list for arg in opdef.inputs):
        raise ValueError(f"{opdef.name} has any number of inputs: match them with `...`")
    if len(arguments) + len(known) != len(opdef.inputs):
        raise ValueError(f"{opdef.name} has {len(opdef.inputs)} inputs, not {len(arguments) + len(known)}")
    rest = iter(arguments)
    taken = dict(known)
    return Pattern(
        opdef, tuple(... if i in taken else next(rest) for i in range(len(opdef.inputs))), known, attrs
    )


# ---------------------------------------------------------------- rules


@dataclass(frozen=True, eq=False)
class Rule:
    """Some patterns and what replaces them.

    Attributes:
        name: the function's name.
        patterns: the patterns, commutative operations in every order.
        function: builds the replacement from what the patterns' names stand for (and `node`, the whole
            operation), or gives None where it does not apply after all.
        doc: `left -> right`, and why that is valid.
        takes: the names that the function takes.
        same_shape: whether what it builds has the right shape whatever that is.
    """

    name: str
    patterns: tuple[Pattern, ...]
    function: Callable[..., Any]
    doc: str
    takes: tuple[str, ...]
    same_shape: bool

    def apply(self, node: Node) -> Sequence[Value] | None:
        """The values that replace a node's outputs, or None where the rule does not apply.

        They must surely have the shapes of what they replace: a rule need not repeat that `x * 1` is no `x`
        where the 1 is broadcast to a wider shape.
        """
        for pattern in self.patterns:
            bound: dict[str, Any] = {}
            if not pattern.matches(node, bound):
                continue
            bound["node"] = node
            try:
                found = self.function(**{name: bound[name] for name in self.takes})
            except ValueError:
                # What was fed does not fit. The kernel says so if the node runs: a branch may never be taken.
                continue
            if found is None:
                continue
            values: Sequence[Value] = [found] if isinstance(found, Value) else found
            if self._fits(node, values):
                return values
        return None

    def _fits(self, node: Node, values: Sequence[Value]) -> bool:
        for old, new in zip(node.outputs, values, strict=True):
            if old.dtype is not new.dtype:
                raise TypeError(f"rule {self.name} turns {_name(old)} into {_name(new)}")
            if not self.same_shape and not shapes.surely_equal(old.shape, new.shape):
                return False
        return True

    def __repr__(self) -> str:
        return f"<Rule {self.name}: {self.doc.splitlines()[0]}>"


def _name(value: Value) -> str:
    return value.dtype.name if value.dtype else "?"


def rule(*patterns: Pattern, same_shape: bool = False) -> Callable[[Callable[..., Any]], Rule]:
    """Makes a function into a Rule.

    Args:
        patterns: what it applies to, any of them.
        same_shape: whether what the function builds has the shape of what it replaces even where that is not
            known.

    Raises:
        ValueError: the docstring does not begin with `left -> right` and say why that is valid.
    """

    def decorate(function: Callable[..., Any]) -> Rule:
        doc = inspect.getdoc(function) or ""
        if "->" not in doc.split("\n")[0] or len(re.split(r"\.\s", doc, maxsplit=1)) < 2:
            raise ValueError(
                f"the docstring of rule {function.__name__} must be `left -> right. Why it is valid.`"
            )
        takes = tuple(inspect.signature(function).parameters)
        for pattern in patterns:
            missing = set(takes) - pattern.names - {"node"}
            if missing:
                raise ValueError(f"rule {function.__name__} takes {missing}, which {pattern} does not bind")
        # By their text, in which 0.0 and -0.0 differ.
        orders = {repr(order): order for pattern in patterns for order in pattern.orders()}
        return Rule(function.__name__, tuple(orders.values()), function, doc, takes, same_shape)

    return decorate


class Rules:
    """Rules in order, found by the op that they begin with.

    Called with a node, they give what replaces it, or None.
    """

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self._by_op: dict[OpDef, list[Rule]] = {}
        for each in rules:
            for opdef in {pattern.opdef for pattern in each.patterns}:
                self._by_op.setdefault(opdef, []).append(each)

    def __call__(self, node: Node) -> Sequence[Value] | None:
        """What the first rule that applies makes of a node."""
        for each in self._by_op.get(node.opdef, ()):
            values = each.apply(node)
            if values is not None:
                return values
        return None


# ---------------------------------------------------------------- building


class _Current(threading.local):
    """The Builder of the Program that this thread rewrites, and the operation that new nodes stand for."""

    builder: Builder | None = None
    op: Operation | None = None


_current = _Current()


@contextmanager
def building(builder: Builder) -> Generator[None]:
    """Within it, `build` makes nodes of this builder."""
    previous = _current.builder, _current.op
    _current.builder, _current.op = builder, None
    try:
        yield
    finally:
        _current.builder, _current.op = previous


def stand_for(op: Operation | None) -> None:
    """The nodes built from now on stand for `op`: errors name it and show its line."""
    _current.op = op


class _Build:
    """`build`: its attributes make nodes.

    `build.Sum(x, reduction_indices=[0], keep_dims=True)`: inputs may be numbers and lists of integers,
    which become constants: beside a value of the same type variable of its dtype, else int32. The result is
    the output, or the list of outputs where there are several.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        opdef = OPS[name]

        def make(*inputs: Any, **keywords: Any) -> Any:
            return _make(opdef, inputs, keywords)

        return make

    def constant(self, array: np.ndarray[Any, Any]) -> Value:
        """A constant."""
        array = array.view()
        array.setflags(write=False)
        attrs = {"value": array, "dtype": dtypes.of_numpy(array.dtype)}
        return _builder().node(Const, (), attrs, _current.op).outputs[0]

    def filled(self, number: Any, like: Value) -> Value:
        """A scalar constant of another value's dtype."""
        assert like.dtype is not None
        return self.constant(np.asarray(number, like.dtype.numpy))


build = _Build()


def _builder() -> Builder:
    assert _current.builder is not None, "`build` works only while a Program is rewritten"
    return _current.builder


def _make(opdef: OpDef, inputs: Sequence[Any], keywords: dict[str, Any]) -> Any:
    attrs = {**opdef.attrs, **{k: v for k, v in keywords.items() if k in opdef.attrs}}
    named = {k: v for k, v in keywords.items() if k not in opdef.attrs}
    args = opdef.flat_inputs(len(inputs) + len(named), attrs)
    rest = iter(inputs)
    given = [named[arg.name] if arg.name in named else next(rest) for arg in args]
    types = {arg.type: value.dtype for arg, value in zip(args, given) if isinstance(value, Value)}
    values = [_as_value(value, arg, types) for arg, value in zip(args, given)]
    outputs = _builder().node(opdef, values, attrs, _current.op).outputs
    return outputs[0] if len(outputs) == 1 else list(outputs)


def _as_value(value: Any, arg: Arg, types: dict[str, Any]) -> Value:
    if isinstance(value, Value):
        return value
    dtype = types.get(arg.type, dtypes.int32)
    return build.constant(np.asarray(value, dtype.numpy))
