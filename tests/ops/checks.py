"""What must hold for every op: the checks that `test_registry.py` runs on the table of ops and samples.

They take the OpDef as an argument rather than look it up, so that `testing_the_tests.py` can hand them a
broken copy. Each raises AssertionError, or whatever the op itself raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tahr import errors
from tahr.autodiff.gradients import gradients
from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.opdef import Arg, Array, OpDef
from tahr.core.scopes import get_default_graph
from tahr.core.shapes import Spec
from tahr.core.sizes import UNKNOWN, Size, Unknown
from tests.evaluate import compute, compute_expansion, compute_kernel, evaluate, fed
from tests.gradient_check import check_gradients, random_cotangent
from tests.ops.samples import Bad, Sample

# Units in the last place by which a kernel may differ from its oracle, unless the sample says otherwise.
ULPS = {"float16": 4, "bfloat16": 4, "float32": 16, "float64": 16, "complex64": 16, "complex128": 16}

_BY_NAME = {t.name: t for t in dtypes.ALL}

# What is left of what could be known of an input.
Hide = Callable[[Spec], Spec]


# ---------------------------------------------------------------- from samples to arrays


@dataclass(frozen=True)
class Case:
    """A sample with one dtype.

    Attributes:
        opdef: the op under test.
        sample: the sample.
        grouped: the inputs as arrays of their final dtypes; a list of arrays for a list argument.
        attrs: all attributes.
    """

    opdef: OpDef
    sample: Sample
    grouped: tuple[Any, ...]
    attrs: dict[str, Any]

    @property
    def arrays(self) -> list[Array]:
        """The flat inputs."""
        return list(chain.from_iterable(g if isinstance(g, list) else [g] for g in self.grouped))

    @property
    def args(self) -> list[Arg]:
        """The argument of the signature that each flat input belongs to."""
        return self.opdef.flat_inputs(len(self.arrays), self.attrs)

    @property
    def specs(self) -> list[Spec]:
        """All that can be known of the flat inputs before they are computed."""
        return [
            _full_spec(array, _BY_NAME.get(arg.type))
            for array, arg in zip(self.arrays, self.args, strict=True)
        ]


def make_case(opdef: OpDef, sample: Sample, dtype: str | None) -> Case:
    """Casts a sample's inputs to a dtype (None: to those that are written)."""
    assert len(sample.inputs) == len(opdef.inputs), f"{sample} needs {len(opdef.inputs)} inputs"
    wanted = None if dtype is None else _BY_NAME[dtype]
    variable = variable_under_test(opdef, sample)
    attrs = {**opdef.attrs, **sample.attrs}
    if wanted is not None and variable in attrs:
        attrs[variable] = wanted

    def cast(arg: Arg, value: Any) -> Array:
        if arg.type in _BY_NAME:
            return _as_array(value, _BY_NAME[arg.type])
        return _as_array(value, wanted if arg.type == variable else None)

    grouped = tuple(
        [cast(arg, v) for v in value] if arg.is_list else cast(arg, value)
        for arg, value in zip(opdef.inputs, sample.inputs, strict=True)
    )
    return Case(opdef, sample, grouped, attrs)


def variable_under_test(opdef: OpDef, sample: Sample) -> str | None:
    """The type variable that a sample's dtypes run through."""
    if sample.var is not None:
        return sample.var
    variables = [arg.type for arg in (*opdef.inputs, *opdef.outputs) if arg.type not in _BY_NAME]
    return "T" if "T" in variables else variables[0] if variables else None


def _as_array(value: Any, dtype: DType | None) -> Array:
    if dtype is None or dtype is dtypes.string:
        return convert.as_array(value, dtype)
    with np.errstate(all="ignore"):
        return np.array(value).astype(dtype.numpy)


def _full_spec(array: Array, dtype: DType | None) -> Spec:
    dtype = dtype or dtypes.of_numpy(array.dtype)  # strings and variants are both arrays of objects
    is_shape_like = dtype in dtypes.INDICES and array.ndim <= 2 and array.size <= shapes.MAX_VALUE_SIZE
    return Spec(dtype, array.shape, array.astype(object) if is_shape_like else None)


# ---------------------------------------------------------------- values


def check_kernel(case: Case) -> None:
    """The kernel gives what the oracle gives, in the declared dtypes, and leaves its inputs alone."""
    arrays = [array.copy() for array in case.arrays]
    outputs = compute_kernel(case.opdef, arrays, case.attrs)
    compare(case, outputs)
    for i, (array, original) in enumerate(zip(arrays, case.arrays, strict=True)):
        assert _same(array, original), f"the kernel modifies input {i}"
    for i, array in enumerate(arrays):
        if i not in case.opdef.aliases:
            shared = [k for k, out in enumerate(outputs) if np.shares_memory(out, array)]
            assert not shared, f"outputs {shared} are views of input {i}, which `aliases` does not name"


def check_strides(case: Case) -> None:
    """The kernel does not care how its inputs lie in memory, nor that they cannot be written to."""
    for lie in (_backwards, _by_columns):
        arrays = [lie(array) for array in case.arrays]
        compare(case, compute_kernel(case.opdef, arrays, case.attrs))


def _backwards(array: Array) -> Array:
    """An equal array that lies in memory in the opposite order."""
    step = (slice(None, None, -1),) * array.ndim
    view = np.ascontiguousarray(array[step])[step] if array.ndim else array.copy()
    view.setflags(write=False)
    return view


def _by_columns(array: Array) -> Array:
    """An equal array whose first index runs fastest, as that of a transposition."""
    view = array.copy(order="F")
    view.setflags(write=False)
    return view


def check_expansion(case: Case, hide: Hide = lambda spec: spec) -> None:
    """The expansion gives what the oracle gives, where `hide` leaves that much known of the inputs."""
    specs = [hide(spec) for spec in case.specs]
    compare(case, compute_expansion(case.opdef, case.arrays, case.attrs, specs))


def hide_sizes(spec: Spec) -> Spec:
    """A spec of the same rank and unknown sizes; shape-like inputs stay known: usually they are constants."""
    return spec if spec.value is not None else hide_all_but_rank(spec)


def hide_all_but_rank(spec: Spec) -> Spec:
    """A spec of the same rank, with unknown sizes and values, as of something computed."""
    return Spec(spec.dtype, (UNKNOWN,) * len(spec.shape or ()))


def compare(case: Case, outputs: Sequence[Any]) -> None:
    """Compares outputs with the oracle, and their dtypes with the signature."""
    types = case.opdef.output_dtypes(case.specs, case.attrs)
    assert len(outputs) == len(types), f"{len(outputs)} outputs instead of {len(types)}"
    expected = _expected(case, len(types))
    for i, (output, wanted, dtype) in enumerate(zip(outputs, expected, types, strict=True)):
        assert isinstance(output, (np.ndarray, np.generic)), f"output {i} is a {type(output).__name__}"
        assert dtype is not None
        assert output.dtype == dtype.numpy, f"output {i} is {output.dtype} instead of {dtype.name}"
        _compare_values(f"output {i}", np.asarray(output), _as_array(wanted, dtype), case)


def _expected(case: Case, count: int) -> tuple[Any, ...]:
    expected: Any = case.sample.expected
    if callable(expected):
        with np.errstate(all="ignore"):
            expected = expected(*map(_widened, case.grouped), **case.attrs)
    if count == 1 and not case.opdef.outputs[0].is_list:
        return (expected,)
    return tuple(expected)


def _widened(value: Any) -> Any:
    """Floating inputs in double precision, for the oracle."""
    if isinstance(value, list):
        return [_widened(v) for v in value]
    dtype = dtypes.of_numpy(value.dtype)
    wide = np.float64 if dtype.is_floating else np.complex128 if dtype.is_complex else value.dtype
    return value.astype(wide)


def _compare_values(what: str, found: Array, expected: Array, case: Case) -> None:
    assert found.shape == expected.shape, f"{what} has shape {found.shape} instead of {expected.shape}"
    dtype = dtypes.of_numpy(found.dtype)
    if dtype.name not in ULPS:
        assert _same(found, expected), f"{what} is\n{found}\ninstead of\n{expected}"
        return
    coarsest = max((_unit(a.dtype) for a in (found, *case.arrays)), default=0.0)
    rtol = coarsest if case.sample.rtol is None else case.sample.rtol
    atol = coarsest if case.sample.atol is None else case.sample.atol
    np.testing.assert_allclose(_widened(found), _widened(expected), rtol, atol, err_msg=what)


def _unit(dtype: np.dtype[Any]) -> float:
    """The default tolerance where values of a dtype are computed with; 0 for exact types."""
    name = dtypes.of_numpy(dtype).name
    return ULPS[name] * float(ml_dtypes.finfo(dtype).eps) if name in ULPS else 0.0


def _same(a: Array, b: Array) -> bool:
    if a.dtype == object:
        return a.shape == b.shape and all(x is y or x == y for x, y in zip(a.flat, b.flat, strict=True))
    return np.array_equal(a, b, equal_nan=dtypes.of_numpy(a.dtype).is_differentiable)


# ---------------------------------------------------------------- shapes


def check_shape_rule(case: Case) -> None:
    """The shape rule says of the outputs nothing but the truth, and all of it where all is known."""
    with Graph().as_default():
        op = _operation(case, case.specs)
        actual = [np.asarray(a) for a in compute(op, case.arrays)]
    full = case.opdef.infer(case.specs, case.attrs)
    _check_specs(full, actual, {}, "full shapes", exact=not case.sample.data_dependent)
    for what, specs in _partial_specs(case.specs):
        _check_specs(case.opdef.infer(specs, case.attrs), actual, {}, what)
    for what, specs, symbols, exact in _symbolic_specs(case.specs):
        exact = exact and not case.sample.data_dependent
        _check_specs(case.opdef.infer(specs, case.attrs), actual, symbols, what, exact)


def _check_specs(
    specs: Sequence[Spec], actual: Sequence[Array], symbols: dict[str, int], what: str, exact: bool = False
) -> None:
    assert len(specs) == len(actual), f"{what}: {len(specs)} shapes for {len(actual)} outputs"
    for i, (spec, array) in enumerate(zip(specs, actual, strict=True)):
        inferred = None if spec.shape is None else [_evaluated(d, symbols) for d in spec.shape]
        text = f"{what}: output {i} has the shape {array.shape}, inferred was {shapes.show(spec.shape)}"
        if exact:
            assert inferred is not None and tuple(inferred) == array.shape, text
        assert shapes.compatible(None if inferred is None else tuple(inferred), array.shape), text
        if spec.value is not None:
            text = f"{what}: output {i} has the value {array}, inferred was {spec.value}"
            assert spec.value.shape == array.shape, text
            for dim, element in zip(spec.value.flat, array.flat, strict=True):
                assert isinstance(dim, Unknown) or _evaluated(dim, symbols) == element, text


def _evaluated(dim: Any, symbols: dict[str, int]) -> Any:
    assert isinstance(dim, (int, Size, Unknown)), f"{dim!r} of {type(dim)} is no dimension"
    return dim if isinstance(dim, Unknown) else sizes.evaluate(dim, symbols)


def _partial_specs(specs: Sequence[Spec]) -> Iterator[tuple[str, list[Spec]]]:
    """The same inputs with less known of them, in every way."""
    yield "no values", [s._replace(value=None) for s in specs]
    yield "only ranks", [hide_all_but_rank(s) for s in specs]
    yield "only ranks and values", [hide_sizes(s) for s in specs]
    yield "nothing known", [Spec(s.dtype, None) for s in specs]
    for i, spec in enumerate(specs):

        def changed(other: Spec, i: int = i) -> list[Spec]:
            return [*specs[:i], other, *specs[i + 1 :]]

        yield f"rank of input {i} unknown", changed(Spec(spec.dtype, None))
        for axis in range(len(spec.shape or ())):
            shape = tuple(UNKNOWN if a == axis else d for a, d in enumerate(spec.shape or ()))
            yield f"dimension {axis} of input {i} unknown", changed(Spec(spec.dtype, shape))
        if spec.value is not None:
            yield f"value of input {i} unknown", changed(spec._replace(value=None))
            for element in np.ndindex(spec.value.shape):
                value = spec.value.copy()
                value[element] = UNKNOWN
                yield f"element {list(element)} of input {i} unknown", changed(spec._replace(value=value))


def _symbolic_specs(specs: Sequence[Spec]) -> Iterator[tuple[str, list[Spec], dict[str, int], bool]]:
    """The same inputs with symbols for their sizes of at least 2, and whether all of the answer must follow.

    Equal sizes get the same symbol: first each by itself, then all of them, then in values also. A number in
    a value may be a size or an axis; only in the former case is a symbol there of any use to the rule.
    """
    present = sorted({d for s in specs for d in s.shape or () if isinstance(d, int) and d > 1})
    for chosen in [[d] for d in present] + [present]:
        symbols = {f"s{d}": d for d in chosen}
        names: dict[Any, Any] = {d: sizes.symbol(f"s{d}") for d in chosen}
        # A vector whose value is known has a known length too.
        symbolic = [
            s if s.value is not None else s._replace(shape=tuple(names.get(d, d) for d in s.shape or ()))
            for s in specs
        ]
        yield f"symbolic sizes {chosen}", symbolic, symbols, True
        if any(s.value is not None for s in specs):
            everywhere = [_symbolic_value(s, names) for s in symbolic]
            yield f"symbolic sizes and values {chosen}", everywhere, symbols, False


def _symbolic_value(spec: Spec, names: dict[Any, Any]) -> Spec:
    if spec.value is None:
        return spec
    value = shapes.as_value(names.get(element, element) for element in spec.value.flat)
    return spec._replace(value=value.reshape(spec.value.shape))


# ---------------------------------------------------------------- gradients


def gradient_dtypes(sample: Sample) -> list[str | None]:
    """The dtypes in which a sample's gradients are checked: the widest real and the widest complex one."""
    if not sample.dtypes:
        return [None]
    kinds = {_BY_NAME[name] for name in sample.dtypes}
    found: list[str | None] = []
    if kinds & dtypes.FLOATS:
        found.append("float64")
    if kinds & dtypes.COMPLEX:
        found.append("complex128")
    return found


def has_gradient(opdef: OpDef, sample: Sample) -> bool:
    """Whether a sample asks for its gradient to be checked, or leaves it open and there is one."""
    if sample.gradient is None:
        return opdef.is_differentiable and bool(opdef.gradient_rule or opdef.expand)
    return sample.gradient is not False


def differentiated(case: Case) -> list[int]:
    """The flat indices of the inputs whose gradients are checked."""
    opdef, chosen = case.opdef, case.sample.gradient
    assert opdef.is_differentiable, f"{opdef.name} is declared not differentiable"
    assert opdef.gradient_rule or opdef.expand, f"{opdef.name} has no gradient"
    precise = [i for i, array in enumerate(case.arrays) if array.dtype in (np.float64, np.complex128)]
    if isinstance(chosen, tuple):
        assert set(chosen) <= set(precise), f"inputs {chosen} must be floating: only {precise} are"
        return list(chosen)
    assert precise or not chosen, "no input is floating"
    return precise


def check_gradient(case: Case, hide: Hide = lambda spec: spec, second: bool = False) -> None:
    """The gradient (or the gradient's gradient) agrees with finite differences.

    Args:
        case: in float64 or complex128.
        hide: how much the gradient knows of the inputs' shapes.
        second: whether the gradient's gradient is checked.
    """
    with Graph().as_default():
        op = _operation(case, [hide(spec) for spec in case.specs])
        values = compute(op, case.arrays)
        ys: list[Any] = [t for t in op.outputs if t.spec.dtype in (dtypes.float64, dtypes.complex128)]
        xs = [op.inputs[i] for i in differentiated(case)]
        feeds = dict(zip(op.inputs, case.arrays, strict=True))
        cotangents = _cotangents(ys, [values[y.value_index] for y in ys], feeds)
        found = gradients(ys, xs, cotangents)
        if second:
            # Now the gradients are the function, of the inputs and of the cotangents.
            ys, xs = [g for g in found if g is not None], xs + cotangents
            if not ys:
                return
            cotangents = _cotangents(ys, evaluate(ys, feeds), feeds)
            found = gradients(ys, xs, cotangents)
        check_gradients(ys, xs, cotangents, found, feeds, case.sample.gradient_rtol or 1e-5)


def _cotangents(ys: Sequence[Any], values: Sequence[Array], feeds: dict[Tensor, Array]) -> list[Tensor]:
    """A fed cotangent for each y, a Tensor or IndexedSlices."""
    found: list[Tensor] = []
    for y, value in zip(ys, values, strict=True):
        tensor = fed(Spec(dtypes.of_numpy(value.dtype), y.get_shape().raw))
        feeds[tensor] = random_cotangent(value.shape, value.dtype, seed=len(feeds))
        found.append(tensor)
    return found


def gradient_case(opdef: OpDef, sample: Sample, dtype: str | None) -> Case:
    """A case whose floating inputs are in double precision, also where the sample names no dtypes."""
    case = make_case(opdef, sample, dtype)
    if dtype is not None:
        return case
    grouped = tuple(
        value if arg.type in _BY_NAME else _widened(value)
        for arg, value in zip(opdef.inputs, case.grouped, strict=True)
    )
    return replace(case, grouped=grouped)


# ---------------------------------------------------------------- calls


def _operation(case: Case, specs: Sequence[Spec]) -> Operation:
    """The op in the default graph, given what is known of its inputs."""
    remaining = (fed(spec) for spec in specs)
    grouped = [[next(remaining) for _ in g] if isinstance(g, list) else next(remaining) for g in case.grouped]
    case.opdef(*grouped, **case.attrs)
    return get_default_graph().get_operations()[-1]


def check_wrong_dtypes(case: Case) -> None:
    """An input of a dtype that is not allowed, or that differs from its partner's, is a TypeError."""
    args = case.args
    for i, arg in enumerate(args):
        if arg.is_hetero:
            continue
        partners = [k for k, other in enumerate(args) if other.type == arg.type and k != i]
        fixed = _BY_NAME.get(arg.type)
        allowed = case.opdef.types.get(arg.type, dtypes.ALL) if fixed is None else (fixed,)
        own = case.specs[i].dtype
        wrong = [t for t in dtypes.ALL if t is not own and (t not in allowed or partners)]
        if wrong:
            with Graph().as_default():
                specs = [Spec(wrong[-1] if k == i else s.dtype, s.shape) for k, s in enumerate(case.specs)]
                with pytest.raises(TypeError, match=case.opdef.name):
                    _operation(case, specs)


def check_bad(opdef: OpDef, bad: Bad) -> None:
    """A bad call fails with the right class and key phrase.

    An `OpError` comes when the op runs, if its inputs' shapes and values are not known before.
    """

    def build() -> None:
        opdef(*bad.inputs, **bad.attrs)

    def run() -> None:
        case = make_case(opdef, Sample(opdef.name, "bad", bad.inputs, bad.attrs), None)
        op = _operation(case, [Spec(spec.dtype, None) for spec in case.specs])
        compute(op, case.arrays)

    call = run if issubclass(bad.exception, errors.OpError) else build
    with Graph().as_default(), pytest.raises(bad.exception, match=re.escape(bad.phrase)):
        call()
