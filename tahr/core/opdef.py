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
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import Dim, Size, Unknown
from tahr.core.views import Assembly, Part, Selection, View

Array = np.ndarray[Any, Any]


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


# ---------------------------------------------------------------- forms: what backends know instead of ops

FormType = TypeVar("FormType", bound="Form")


class Form:
    """What kind of computation an op is. Forms of one kind are equal where their attributes are; nobody changes those.

    They are no dataclasses, whose generated methods would take half a millisecond of `import tahr` for each of them.
    """

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

    def replaced(self: FormType, **changes: Any) -> FormType:
        """The same form but for some attributes."""
        return type(self)(**{**vars(self), **changes})


class Elementwise(Form):
    """Each output element depends on the broadcast inputs' elements at the same place.

    Attributes:
        ufunc: the NumPy ufunc with exactly this meaning, where there is one: it is the kernel, and can
            write into the storage of an input that is no longer needed.
        scalar: the function of one element in the scalar language, `scalar(*inputs, **attrs)`; None where it has
            none. It raises `scalar.Unsupported` for dtypes and attributes that it does not cover.
    """

    def __init__(self, ufunc: np.ufunc | None = None, scalar: Callable[..., Scalar] | None = None) -> None:
        self.ufunc = ufunc
        self.scalar = scalar


class Update(Form):
    """A write that changes the inputs in `effects.writes` element by element; other inputs of rank 0 broadcast.

    Attributes:
        scalar: `scalar(*inputs, **attrs)` gives the new elements of the inputs that it writes, in the order of
            `effects.writes`. It raises `scalar.Unsupported` for dtypes and attributes that it does not cover.
    """

    def __init__(self, scalar: Callable[..., tuple[Scalar, ...]]) -> None:
        self.scalar = scalar


class Reduction(Form):
    """Elements along some axes are combined into one.

    Attributes:
        combine: "add", "multiply", "maximum", "minimum", "and" or "or".
        identity: what an empty reduction gives.
    """

    def __init__(self, combine: str, identity: Any) -> None:
        self.combine = combine
        self.identity = identity


class Movement(Form):
    """Every output element is a copy of some input element, or a constant: no arithmetic."""


class Position(Movement):
    """Those elements of a tensor that lie at positions of axes; the positions may be data.

    Attributes:
        source, positions: the inputs that hold the tensor, and the positions.
        rule: `rule(*specs, **attrs)` gives the Selection of those elements; None where what is known does not say which
            they are.
        is_adjoint: whether the source holds those elements, and the output is zero elsewhere.
    """

    def __init__(
        self,
        source: int,
        positions: int,
        rule: Callable[..., Selection | None],
        is_adjoint: bool = False,
    ) -> None:
        self.source = source
        self.positions = positions
        self.rule = rule
        self.is_adjoint = is_adjoint


class Iota(Form):
    """Element i of the vector is start + i * delta: the first and the last input."""


class Contraction(Form):
    """Sums of products: matrix products and their kin."""


class Window(Form):
    """A function of windows that slide over images: convolution and pooling, and their adjoints.

    Attributes:
        kind: "convolution", "depthwise", "maximum" or "mean"; empty for anything else.
        adjoint: empty for the function itself; "images" and "filter" for its adjoint by these. "ties" is the adjoint of
            maxima by the images where each of equal maxima counts; else it is the first.
        sizes: the index of an input that only says the shape of the output, or None.
    """

    def __init__(self, kind: str = "", adjoint: str = "", sizes: int | None = None) -> None:
        self.kind = kind
        self.adjoint = adjoint
        self.sizes = sizes


class Extent(Form):
    """A scalar that is a number of elements.

    Attributes:
        rule: `rule(*specs, **attrs)` gives it as a dimension.
    """

    def __init__(self, rule: Callable[..., Dim]) -> None:
        self.rule = rule


class Band(Form):
    """Matrices with zeros outside of a band: inputs 1 and 2 say how many diagonals are kept below and above the main.

    Negative numbers mean all of them.
    """


class WithDiagonal(Form):
    """The matrices of input 0 with input 1 as their main diagonals."""


class Reversal(Form):
    """Sequences of different lengths (input 1), each reversed up to its length.

    Attributes:
        batch, steps: the attributes that say which dimension counts the sequences, and which runs along them.
    """

    def __init__(self, batch: str, steps: str) -> None:
        self.batch = batch
        self.steps = steps


class Largest(Form):
    """The largest elements along the last axis and their places, as many as input 1 says.

    They descend; of equal ones the first come first, and NaN is larger than anything.
    """


class SortedPlace(Form):
    """The place of each element of input 1 in the same row of input 0, which ascends; NaN is larger than anything.

    Attributes:
        before_equals: whether that is before elements that are equal, or behind them.
    """

    def __init__(self, before_equals: bool) -> None:
        self.before_equals = before_equals


class AmongLargest(Form):
    """Whether the class that input 1 says is among those with the largest elements of each row of input 0.

    Ties count in. A row that holds anything infinite or NaN, or whose class does not exist, gives False.

    Attributes:
        count: `count(*specs, **attrs)` is how many count as largest; None where it is not known.
    """

    def __init__(self, count: Callable[..., int | None]) -> None:
        self.count = count


class Lookup(Form):
    """Slices of the first input, at the places that the second holds.

    Attributes:
        axes: `axes(*specs, **attrs)` gives the dimension, from 0, that the second input's elements are indices along,
            and how many leading dimensions both inputs have in common; None where they are not known. Without it the
            second input's rows are tuples of indices along the first dimensions.
        count: which input says how much of the second counts, along its first dimension; where nothing does, slices
            are zero. None where all of it counts.
    """

    def __init__(
        self, axes: Callable[..., tuple[int, int] | None] | None = None, count: int | None = None
    ) -> None:
        self.axes = axes
        self.count = count


class Accumulation(Form):
    """Slices combined at places of the output; with sums the adjoint of a `Lookup` along the first dimensions.

    What no slice goes to is 0, the product of nothing 1, the maximum and minimum of nothing the furthest finite number.

    Attributes:
        rows: which input holds the slices.
        indices: which input holds their places.
        tuples: whether those are tuples of indices along the first dimensions.
        drops_negative: whether a negative place means nowhere, instead of an error.
        combine: "add", "multiply", "maximum" or "minimum".
        count: which input says how many of the places count, from the first on; None where all do.
    """

    def __init__(
        self,
        rows: int,
        indices: int,
        tuples: bool = False,
        drops_negative: bool = False,
        combine: str = "add",
        count: int | None = None,
    ) -> None:
        self.rows = rows
        self.indices = indices
        self.tuples = tuples
        self.drops_negative = drops_negative
        self.combine = combine
        self.count = count


class Scatter(Form):
    """A write that changes rows of the variable that input 0 stands for: input 1 says which, input 2 holds operands.

    Attributes:
        combine: "assign", "add", "subtract", "multiply", "divide", "minimum" or "maximum"; of rows that are named
            repeatedly, each operand is combined in order.
        tuples: whether rows are named by tuples of indices along the first dimensions.
        count: which input says how many of the rows count, from the first on; None where all do.
    """

    def __init__(self, combine: str, tuples: bool = False, count: int | None = None) -> None:
        self.combine = combine
        self.tuples = tuples
        self.count = count


class RowUpdate(Form):
    """A write that changes rows of the variables in `effects.writes`, element by element and one after the other.

    Attributes:
        scalar: the new elements of the variables, as in `Update`, given all inputs but `indices` and `count`.
        rows: which input holds a row for each that changes; the others are scalars.
        indices: which input says which rows of the variables change.
        count: as in `Scatter`.
    """

    def __init__(
        self, scalar: Callable[..., tuple[Scalar, ...]], rows: int, indices: int, count: int | None = None
    ) -> None:
        self.scalar = scalar
        self.rows = rows
        self.indices = indices
        self.count = count


class Distinct(Form):
    """The different elements of a vector in the order of their first occurrence, for each element its place among them.

    The first output is as long as the vector. How many of its elements count says the third; the others repeat the
    first.
    """


class Places(Form):
    """The places, tuples of indices, of the elements of input 0 that are not zero, in row-major order.

    The first output has as many rows as there are elements. How many of them count says the second; the others are
    zero.
    """


class Scattered(Form):
    """A copy of input 0 with rows changed; everything else as in `Scatter`."""

    def __init__(self, combine: str, tuples: bool = True, count: int | None = None) -> None:
        self.combine = combine
        self.tuples = tuples
        self.count = count


class Draw(Form):
    """Numbers from the random stream of the operation, which has the attributes `seed` and `seed2`.

    Attributes:
        distribution: "uniform", "normal", "truncated_normal"; or "integers", where the second and the third input are
            the bounds.
    """

    def __init__(self, distribution: str) -> None:
        self.distribution = distribution


class Classes(Draw):
    """Class numbers: for each row of input 0 as many as input 1 says, drawn with the probabilities softmax(row).

    An infinite or NaN element has none; a row of nothing else gives the number of classes.
    """

    def __init__(self) -> None:
        super().__init__("classes")


class Permutation(Draw):
    """The rows of input 0 in random order."""

    def __init__(self) -> None:
        super().__init__("permutation")


class Candidates(Draw):
    """Classes for a sampled loss, and how often those of input 0 and the drawn ones are expected among them.

    The attributes `num_sampled`, `unique` and `range_max` say how many, whether they all differ, and of how many.

    Attributes:
        sampler: "uniform", or "log_uniform" for Zipf's law.
    """

    def __init__(self, sampler: str) -> None:
        super().__init__("candidates")
        self.sampler = sampler


class Finite(Form):
    """The elements of input 0; an error where one is infinite or NaN."""


class InRange(Form):
    """The integers of input 0; an error where one is below 0, or not below the last dimension of input 1."""


class NotZero(Form):
    """The integers of input 1; an error where one is 0."""


class Check(Form):
    """An error where input 0, a truth, does not hold; nothing where it does."""


class Scan(Form):
    """Each element is combined with those before it along the axis that input 1 says.

    The attribute `exclusive` says whether its own value is left out, `reverse` whether this starts from the end.

    Attributes:
        combine: "add" or "multiply".
    """

    def __init__(self, combine: str) -> None:
        self.combine = combine


class ArgExtreme(Form):
    """The first place of an extreme along the axis that input 1 says. NaN is no extreme; all NaN gives 0.

    Attributes:
        largest: whether it is the largest element, or the smallest.
    """

    def __init__(self, largest: bool) -> None:
        self.largest = largest


class Host(Form):
    """Anything else; computed by the NumPy kernel, whatever the backend."""


ELEMENTWISE = Elementwise()
MOVEMENT = Movement()
IOTA = Iota()
HOST = Host()


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
            return (Spec(types[0], shape, self._infer_value(specs, attrs, types[0], shape), items),)
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
        self, specs: Sequence[Spec], attrs: Mapping[str, Any], dtype: DType | None, shape: Shape
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


def known_ints(spec: Spec) -> list[int] | None:
    """The value of an integer vector where every element is known as an integer, else None."""
    values = known_value(spec)
    if values is None or any(isinstance(d, Size) for d in values):
        return None
    return values
