"""The one place where a kind of operation is described.

An `OpDef` is the op's type, signature and attributes, its shape rule, its meaning (a NumPy kernel, or an expansion
into other ops), its gradient, and what the planner must know. Calling it adds an operation to the default graph.

    MatMul = OpDef("MatMul", "a: T, b: T -> product: T", attrs={"transpose_a": False, "transpose_b": False})

    @MatMul.shape
    def _matmul_shape(a, b, *, transpose_a, transpose_b): ...

    @MatMul.kernel
    def _matmul_kernel(a, b, *, transpose_a, transpose_b): ...

    @MatMul.gradient
    def _matmul_gradient(op, dy): ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.dtypes import DType
from tahr.core.forms import HOST, Elementwise, Form
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim, Size, Unknown
from tahr.core.views import Assembly, Part, View

Array = np.ndarray[Any, Any]


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


# ---------------------------------------------------------------- effects


class Effects(NamedTuple):
    """What an op does beside computing its outputs.

    Attributes:
        reads: indices of inputs (handles or references) whose state it reads.
        writes: indices of inputs whose state it changes.
        draws: whether it advances a random stream of its own.
        io: whether it touches the outside world (prints, calls Python, uses a queue), in an order.
        may_block: whether it may wait for another operation or thread.
        raises: whether it exists to check something, as `Assert` does.
    """

    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    draws: bool = False
    io: bool = False
    may_block: bool = False
    raises: bool = False

    @property
    def any(self) -> bool:
        """Whether there is any effect, so that the op is never merged with an equal one."""
        return bool(self.reads or self.writes or self.draws or self.io or self.may_block or self.raises)

    @property
    def ordered(self) -> bool:
        """Whether control dependencies must be kept for it; draws come from streams of their own."""
        return bool(self.reads or self.writes or self.io or self.may_block or self.raises)


PURE = Effects()
DRAWS = Effects(draws=True)
IO = Effects(io=True)
CHECKS = Effects(raises=True)


# ---------------------------------------------------------------- signatures


class Arg(NamedTuple):
    """One argument or result of a signature.

    Attributes:
        name: TensorFlow's name of it.
        type: a dtype's name or a type variable.
        is_ref: whether it stands for a variable itself rather than its value (`&T`).
        number: None for one tensor; the name of the attribute that counts a list of one type (`N*T`).
        is_hetero: whether it is a list whose types the attribute `type` lists (`[Tout]`).
    """

    name: str
    type: str
    is_ref: bool = False
    number: str | None = None
    is_hetero: bool = False

    @property
    def is_list(self) -> bool:
        """Whether it takes a list of tensors."""
        return self.number is not None or self.is_hetero


_ARG = re.compile(r"^(\w+): *(&)?(?:(\w+) *\* *)?(\[)?(\w+)\]?$")


def _parse_args(text: str) -> tuple[Arg, ...]:
    args: list[Arg] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = _ARG.match(part)
        if match is None:
            raise ValueError(f"bad signature {text!r}")
        name, ref, count, hetero, type_ = match.groups()
        args.append(Arg(name, type_, bool(ref), count, bool(hetero)))
    return tuple(args)


_DTYPES = {t.name: t for t in dtypes.ALL}

OPS: dict[str, OpDef] = {}
"""Every op type that tahr knows, by name."""

# Filled by `core.apply`, which needs graphs and conversion; see `OpDef.__call__`.
_apply: Callable[..., Any] | None = None


def set_apply(function: Callable[..., Any]) -> None:
    """Fills the hook through which calling an OpDef adds an operation to the graph."""
    global _apply
    _apply = function


class OpDef:
    """One kind of operation.

    Args:
        name: TensorFlow's op type, e.g. "MatMul".
        signature: `"a: T, b: T -> product: T"`. A type is a dtype's name or a type variable; `N*T` is a list of N
            tensors of one type, `[Tin]` a list whose types the attribute Tin names, `&T` a variable's reference.
            An output's type variable is bound by an input, or is an attribute that holds the dtype.
        attrs: the attributes with their defaults; `REQUIRED` where there is none. They reach the shape rule, kernel
            and expansion as keyword arguments.
        types: the dtypes that each type variable may stand for, where not all.
        form: what kind of computation it is.
        effects: what it does beside computing outputs.
        aliases: indices of inputs of which an output may be a view.
        scratch: the index of an input whose storage the kernel may overwrite where nobody needs it any more; it is
            told by the keyword argument `may_overwrite`.
        shape_math: whether the kernel also works on object arrays of dimensions, so that the values of small integer
            tensors are known (partly) when the graph is built.
        register: whether the op belongs to the table `OPS`, whose entries the tests check one by one.
    """

    def __init__(
        self,
        name: str,
        signature: str,
        attrs: Mapping[str, Any] | None = None,
        types: Mapping[str, frozenset[DType]] | None = None,
        form: Form = HOST,
        effects: Effects = PURE,
        aliases: tuple[int, ...] = (),
        scratch: int | None = None,
        shape_math: bool = False,
        register: bool = True,
    ) -> None:
        self.name = name
        self.signature = signature
        self.attrs: Mapping[str, Any] = attrs or {}
        self.types: Mapping[str, frozenset[DType]] = types or {}
        self.form = form
        self.effects = effects
        self.aliases = aliases
        self.scratch = scratch
        self.shape_math = shape_math
        self.shape_rule: Callable[..., Any] | None = None
        self.value_rule: Callable[..., Any] | None = None
        self.items_rule: Callable[..., Any] | None = None
        self.dtype_rule: Callable[..., Any] | None = None
        self.compute: Callable[..., Any] | None = None
        self.takes_context = False
        self.expand: Callable[..., Any] | None = None
        self.view_rule: Callable[..., Any] | None = None
        self.viewed = 0
        self.parts_rule: Callable[..., Any] | None = None
        self.gradient_rule: Callable[..., Any] | None = None
        self.gradient_takes_driver = False
        self.gradient_takes_slices = False
        self.is_differentiable = True
        if isinstance(form, Elementwise):
            self.shape_rule = _broadcast_rule
            if form.ufunc is not None:
                ufunc = form.ufunc
                self.compute = lambda *arrays, **_: ufunc(*arrays)
        if register:
            if name in OPS:
                raise ValueError(f"op {name} is defined twice")
            OPS[name] = self

    # A signature is parsed when it is first asked for: a program uses a few of the four hundred ops.

    @cached_property
    def inputs(self) -> tuple[Arg, ...]:
        """The arguments of the signature."""
        return _parse_args(self.signature.partition("->")[0])

    @cached_property
    def outputs(self) -> tuple[Arg, ...]:
        """The results of the signature."""
        return _parse_args(self.signature.partition("->")[2])

    @cached_property
    def _input_types(self) -> tuple[str, ...] | None:
        """The type of each flat input where the signature has no lists, so that binding needs no search."""
        return None if any(a.is_list for a in self.inputs) else tuple(a.type for a in self.inputs)

    def __repr__(self) -> str:
        return f"<OpDef {self.name}>"

    def __call__(self, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
        """Adds an operation of this kind to the default graph.

        Args:
            inputs: one value for each argument of the signature (a list for a list argument); anything that
                converts to a tensor.
            name: the operation's name; the op type by default.
            attrs: attributes that differ from their defaults.

        Returns:
            The output tensor, a list of tensors for several outputs, or the operation if it has none.

        Raises:
            ValueError, TypeError: shapes, dtypes or attributes do not fit.
        """
        assert _apply is not None
        return _apply(self, inputs, attrs, name)

    # ------------------------------------------------------------ decorators

    def shape(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Registers the shape rule: `rule(*specs, **attrs)` gives a shape, or a list of them for several outputs.

        It works on concrete, partly known and unknown shapes, and raises ValueError or `Complaint`.
        """
        self.shape_rule = rule
        return rule

    def value(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Registers how the partly known value of the output follows: `rule(*specs, **attrs)`, an array or None."""
        self.value_rule = rule
        return rule

    def items(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Registers what is known of the items of outputs that are lists.

        `rule(*specs, **attrs)` gives Items or None for the first output, or a list of these for several.
        """
        self.items_rule = rule
        return rule

    def dtype(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Registers how output dtypes follow where the signature cannot say it: `rule(*specs, **attrs)`, a list."""
        self.dtype_rule = rule
        return rule

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Registers the NumPy meaning: `function(*arrays, **attrs)` gives an array, or a tuple for several outputs."""
        self.compute = function
        return function

    def stateful_kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Registers a kernel that needs the session's state: `function(context, *arrays, **attrs)`."""
        self.compute = function
        self.takes_context = True
        return function

    def expansion(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Registers the op's meaning in other ops: `function(*tensors, **attrs)` gives a tensor or a list."""
        self.expand = function
        return function

    def view(self, rule: Callable[..., Any] | None = None, *, of: int = 0) -> Callable[..., Any]:
        """Registers where the outputs lie in the storage of input `of`: `rule(x, *specs, outs, **attrs)`.

        x is the `View` that this input is itself, `specs` and `outs` are what is known of inputs and outputs, whose
        ranks are known. The rule gives a View (or a list of them, for several outputs), or None where the op has to
        be computed: with what is known it is no view, or its kernel would have to check something.
        """
        if rule is None:
            return partial(self.view, of=of)
        self.view_rule, self.viewed = rule, of
        return rule

    def parts(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Registers which parts the output is put together from: `rule(*specs, outs, **attrs)`.

        It gives a list of `Part`s that cover the output, an `Assembly` where there is something between them, or
        None as for `view`.
        """
        self.parts_rule = rule
        return rule

    def gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Registers the gradient: `function(op, *dys)` gives, for each input, a tensor, IndexedSlices or None."""
        self.gradient_rule = function
        return function

    def gradient_of_region(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Registers the gradient of a higher-order op, which also receives the gradient driver: `(op, dys, driver)`."""
        self.gradient_takes_driver = True
        return self.gradient(function)

    def not_differentiable(self) -> OpDef:
        """Declares that no gradient flows through the op."""
        self.is_differentiable = False
        return self

    # ------------------------------------------------------------ inference

    @property
    def broadcasts(self) -> bool:
        """Whether all that its shape rule asks for is that the inputs' shapes broadcast."""
        return self.shape_rule is _broadcast_rule

    def flat_inputs(self, count: int, attrs: Mapping[str, Any]) -> list[Arg]:
        """The argument that each of `count` flat input tensors belongs to."""
        return list(self._flatten(self.inputs, count, attrs))

    def _flatten(self, args: Sequence[Arg], count: int, attrs: Mapping[str, Any]) -> Iterator[Arg]:
        lists = [a for a in args if a.is_list]
        for arg in args:
            if not arg.is_list:
                yield arg
                continue
            if len(lists) == 1:
                length = count - (len(args) - 1)
            elif arg.number is not None:
                length = attrs[arg.number]
            else:
                length = len(attrs[arg.type])
            for _ in range(length):
                yield arg

    def output_args(self, attrs: Mapping[str, Any]) -> list[Arg]:
        """The result that each flat output tensor belongs to."""
        flat: list[Arg] = []
        for arg in self.outputs:
            if arg.number is not None:
                flat += [arg] * attrs[arg.number]
            elif arg.is_hetero:
                flat += [arg] * len(attrs[arg.type])
            else:
                flat.append(arg)
        return flat

    def output_dtypes(self, specs: Sequence[Spec], attrs: Mapping[str, Any]) -> list[DType | None]:
        """The base dtype of each flat output; None where it follows from a placeholder without dtype."""
        if self.dtype_rule is not None:
            return self.dtype_rule(*specs, **attrs)
        result: list[DType | None] = []
        bound: dict[str, DType | None] | None = None
        position = 0
        for arg in self.output_args(attrs):
            fixed = _DTYPES.get(arg.type)
            if fixed is not None:
                result.append(fixed)
            elif arg.is_hetero:
                result.append(attrs[arg.type][position])
                position += 1
            elif arg.type in attrs:
                result.append(attrs[arg.type])
            else:
                if bound is None:
                    bound = self.bind_types(specs, attrs)
                result.append(bound[arg.type])
        return result

    def bind_types(self, specs: Sequence[Spec], attrs: Mapping[str, Any]) -> dict[str, DType | None]:
        """The dtype that each type variable of the inputs stands for."""
        if self._input_types is not None and len(specs) == len(self._input_types):
            types = self._input_types
        else:
            types = [None if arg.is_hetero else arg.type for arg in self.flat_inputs(len(specs), attrs)]
        bound: dict[str, DType | None] = {}
        for name, spec in zip(types, specs):
            # One placeholder without dtype leaves the dtype of all open: promotion will decide.
            if name is not None and bound.setdefault(name, spec.dtype) is not None:
                bound[name] = spec.dtype
        return bound

    def infer(self, specs: Sequence[Spec], attrs: Mapping[str, Any]) -> tuple[Spec, ...]:
        """What is known of the outputs, given what is known of the inputs.

        Raises:
            ValueError: the inputs do not fit together.
        """
        types = self.output_dtypes(specs, attrs)
        if not types:
            if self.shape_rule is not None:
                self.shape_rule(*specs, **attrs)
            return ()
        if self.shape_rule is None:
            return tuple(Spec(t, None) for t in types)
        found = self.shape_rule(*specs, **attrs)
        if len(types) == 1:
            shape: Shape = found[0] if isinstance(found, list) else found
            (items,) = self._infer_items(specs, attrs, types)
            return (Spec(types[0], shape, self._infer_value(specs, attrs, types[0]), items),)
        values = self._infer_values(specs, attrs, types)
        return tuple(map(Spec, types, found, values, self._infer_items(specs, attrs, types)))

    def views(
        self, specs: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], x: View | None = None
    ) -> tuple[View, ...] | None:
        """Where each output lies in the storage of input `viewed`; None where it is not known to be a view.

        Args:
            specs: what is known of the inputs.
            outs: what is known of the outputs.
            attrs: all attributes.
            x: where the viewed input itself lies in that storage; by default it is the whole of it.
        """
        if self.view_rule is None or any(spec.shape is None for spec in (*specs, *outs)):
            return None
        source = View.dense(specs[self.viewed].shape or ()) if x is None else x
        found = self.view_rule(source, *specs, outs=outs, **attrs)
        if found is None:
            return None
        views: tuple[View, ...] = (found,) if isinstance(found, View) else tuple(found)
        return views if all(view.is_known for view in views) else None

    def assembly(
        self, specs: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any]
    ) -> Assembly | None:
        """How the output is put together from parts; None where that is not known. Arguments as in `views`."""
        if self.parts_rule is None or any(spec.shape is None for spec in (*specs, *outs)):
            return None
        found: Assembly | list[Part] | None = self.parts_rule(*specs, outs=outs, **attrs)
        if found is None:
            return None
        assembly = found if isinstance(found, Assembly) else Assembly(tuple(found))
        return assembly if all(part.is_known for part in assembly.parts) else None

    def _infer_items(
        self, specs: Sequence[Spec], attrs: Mapping[str, Any], types: Sequence[DType | None]
    ) -> Sequence[shapes.Items | None]:
        if self.items_rule is None or types[0] is not dtypes.variant:
            return [None] * len(types)
        found: shapes.Items | list[shapes.Items | None] | None = self.items_rule(*specs, **attrs)
        return found if isinstance(found, list) else [found, *[None] * (len(types) - 1)]

    def _infer_values(
        self, specs: Sequence[Spec], attrs: Mapping[str, Any], types: Sequence[DType | None]
    ) -> Sequence[Array | None]:
        """The (partly known) values of several outputs, such as the dimensions that a shape is unstacked into."""
        if not self.shape_math or any(s.value is None for s in specs):
            return [None] * len(types)
        assert self.compute is not None
        parts = self.compute(*(s.value for s in specs), **attrs)
        return [_worth_knowing(np.asarray(part, dtype=object)) for part in parts]

    def _infer_value(
        self, specs: Sequence[Spec], attrs: Mapping[str, Any], dtype: DType | None
    ) -> Array | None:
        if dtype is not dtypes.int32 and dtype is not dtypes.int64:
            return None
        if self.value_rule is not None:
            value = self.value_rule(*specs, **attrs)
        elif self.shape_math and all(s.value is not None for s in specs):
            assert self.compute is not None
            value = np.asarray(self.compute(*(s.value for s in specs), **attrs), dtype=object)
        else:
            return None
        return None if value is None else _worth_knowing(value)


def _worth_knowing(value: Array) -> Array | None:
    """A value, unless it is large or nothing of it is known."""
    if value.size > shapes.MAX_VALUE_SIZE:
        return None
    return value if any(not isinstance(d, Unknown) for d in value.flat) or value.size == 0 else None


def _broadcast_rule(*specs: Spec, **_: Any) -> Shape:
    return shapes.broadcast(*(s.shape for s in specs))


def known_value(spec: Spec) -> list[Any] | None:
    """The elements of a tensor's value (integers and sizes) where every one of them is known, else None."""
    if spec.value is None or any(isinstance(d, Unknown) for d in spec.value.flat):
        return None
    return spec.value.ravel().tolist()


def known_int(spec: Spec) -> int | None:
    """The value of an integer scalar (or one-element vector) where it is known as an integer, else None."""
    values = known_value(spec)
    return values[0] if values is not None and len(values) == 1 and isinstance(values[0], int) else None


def known_dim(spec: Spec) -> Dim:
    """The value of an integer scalar (or one-element vector) as far as it is known: an integer, a size, or UNKNOWN."""
    values = known_value(spec)
    return values[0] if values is not None and len(values) == 1 else UNKNOWN


def known_ints(spec: Spec) -> list[int] | None:
    """The value of an integer vector where every element is known as an integer, else None."""
    values = known_value(spec)
    if values is None or any(isinstance(d, Size) for d in values):
        return None
    return values
