"""Functions applied along the first axis (map_fn, scan, foldl, foldr), and branching among several functions.

The former are loops over TensorArrays; the latter are nested conds.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tahr.core import convert, dtypes, nest, scopes, shapes
from tahr.core.graph import Tensor
from tahr.core.shapes import Shape
from tahr.core.sizes import Dim
from tahr.ops import control_flow, elementwise, joining, logic, reductions, structural
from tahr.ops.assertions import assert_
from tahr.ops.tensor_array import TensorArray

# ---------------------------------------------------------------- elements along the first axis


class _Rows:
    """Nested tensors, read row by row.

    Attributes:
        count: the number of rows: an integer if it is known, else a tensor.
        static_count: the number of rows as a dimension.
        dtypes: the tensors' dtypes.
    """

    def __init__(self, elems: Any) -> None:
        tensors = [convert.convert_to_tensor(e, name="elem") for e in nest.flatten(elems)]
        if not tensors:
            raise ValueError("elems must contain at least one tensor")
        if any(t.spec.shape == () for t in tensors):
            if len(tensors) == 1:
                raise ValueError("elems must be a 1+ dimensional Tensor, not a scalar")
            raise ValueError("elements in elems must be 1+ dimensional Tensors, not scalars")
        self._structure = elems
        self.dtypes = [t.dtype.base_dtype for t in tensors]
        first: Shape = None
        for tensor in tensors:
            first = shapes.merge(first, None if tensor.spec.shape is None else tensor.spec.shape[:1])
        self.static_count: Dim = shapes.dims(first, 1)[0]
        is_known = isinstance(self.static_count, int)
        self.count: Any = self.static_count if is_known else structural.shape(tensors[0])[0]
        self._arrays = [TensorArray(t.dtype.base_dtype, self.count).unstack(t) for t in tensors]

    def read(self, index: Any) -> Any:
        """One row of each tensor, in the structure of the tensors."""
        return nest.pack_sequence_as(self._structure, [a.read(index) for a in self._arrays])

    def outputs(self, types: Sequence[Any], infer_shape: bool = True) -> list[TensorArray]:
        """Empty arrays of as many elements."""
        return [TensorArray(t, self.count, infer_shape=infer_shape) for t in types]

    def stacked(self, arrays: Sequence[TensorArray]) -> list[Tensor]:
        """The arrays' elements as rows, as many as these."""
        results = [a.stack() for a in arrays]
        for result in results:
            if result.spec.shape is not None:
                result.set_shape((self.static_count, *result.spec.shape[1:]))
        return results


def _check_callable(fn: Any) -> None:
    if not callable(fn):
        raise TypeError("fn must be callable.")


def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """Applies a function to each row and stacks the results.

    Args:
        fn: takes one row (in the structure of `elems`) and returns a tensor or nested structure.
        elems: a tensor or nested structure of tensors, all [n, ...].
        dtype: the dtypes of what `fn` returns, in its structure; those of `elems` by default.
        parallel_iterations: accepted.
        back_prop: whether gradients flow through.
        swap_memory: accepted.
        infer_shape: whether all results must have one shape.
        name: the name scope.

    Returns:
        The structure that `fn` returns, with tensors [n, ...].

    Raises:
        TypeError: `fn` is not callable, or returns other dtypes than `dtype`.
        ValueError: `elems` are scalars, or `fn` returns another structure than `dtype` or `elems`.
    """
    _check_callable(fn)
    with scopes.name_scope(name, "map", nest.flatten(elems)):
        rows = _Rows(elems)
        structure = elems if dtype is None else dtype
        types = rows.dtypes if dtype is None else [dtypes.as_dtype(t) for t in nest.flatten(dtype)]

        def body(i: Tensor, arrays: list[TensorArray]) -> Any:
            result = fn(rows.read(i))
            nest.assert_same_structure(structure, result)
            return i + 1, [a.write(i, v) for a, v in zip(arrays, nest.flatten(result))]

        _, arrays = control_flow.while_loop(
            lambda i, _: logic.less(i, rows.count),
            body,
            (convert.constant(0), rows.outputs(types, infer_shape)),
            parallel_iterations=parallel_iterations or 10,
            back_prop=back_prop,
            swap_memory=swap_memory,
        )
        return nest.pack_sequence_as(structure, rows.stacked(arrays))


def scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """Combines the rows one after another and stacks what has been accumulated after each.

    Args:
        fn: takes what was accumulated and one row, and returns what is accumulated then.
        elems: a tensor or nested structure of tensors, all [n, ...].
        initializer: what is accumulated at the start; by default the first row, which is then the first result.
        parallel_iterations: accepted.
        back_prop: whether gradients flow through.
        swap_memory: accepted.
        infer_shape: whether what is accumulated must keep its shape.
        reverse: whether the last row comes first; result i then covers the rows from i on.
        name: the name scope.

    Returns:
        The structure of `initializer` (or `elems`), with tensors [n, ...].

    Raises:
        TypeError: `fn` is not callable.  ValueError: `elems` are scalars, or `fn` returns another structure.
    """
    _check_callable(fn)
    with scopes.name_scope(name, "scan", nest.flatten(elems)):
        rows = _Rows(elems)
        start = rows.count - 1 if reverse else 0
        step = -1 if reverse else 1
        total = _initial(rows, initializer, start)
        arrays = rows.outputs([t.dtype.base_dtype for t in nest.flatten(total)], infer_shape)
        i = convert.convert_to_tensor(start, dtype=dtypes.int32)
        if initializer is None:
            arrays = [a.write(i, v) for a, v in zip(arrays, nest.flatten(total))]
            i = i + step

        def body(i: Tensor, total: Any, arrays: list[TensorArray]) -> Any:
            new = fn(total, rows.read(i))
            nest.assert_same_structure(total, new)
            return i + step, new, [a.write(i, v) for a, v in zip(arrays, nest.flatten(new))]

        _, _, arrays = control_flow.while_loop(
            lambda i, *_: logic.greater_equal(i, 0) if reverse else logic.less(i, rows.count),
            body,
            (i, total, arrays),
            parallel_iterations=parallel_iterations,
            back_prop=back_prop,
            swap_memory=swap_memory,
        )
        return nest.pack_sequence_as(total, rows.stacked(arrays))


def _initial(rows: _Rows, initializer: Any, first: Any) -> Any:
    """What is accumulated before the first step: given, or the first row."""
    if initializer is None:
        return rows.read(first)
    return nest.map_structure(lambda t: convert.convert_to_tensor(t), initializer)


def foldl(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """Combines the rows one after another, the first one first, and returns what has been accumulated at the end.

    Args:
        fn: takes what was accumulated and one row, and returns what is accumulated then.
        elems: a tensor or nested structure of tensors, all [n, ...].
        initializer: what is accumulated at the start; the first row by default.
        parallel_iterations: accepted.
        back_prop: whether gradients flow through.
        swap_memory: accepted.
        name: the name scope.

    Returns:
        The structure of `initializer` (or `elems`).

    Raises:
        TypeError: `fn` is not callable.  ValueError: `elems` are scalars, or `fn` returns another structure.
    """
    return _fold("foldl", False, fn, elems, initializer, parallel_iterations, back_prop, swap_memory, name)


def foldr(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """As `foldl`, the last row first."""
    return _fold("foldr", True, fn, elems, initializer, parallel_iterations, back_prop, swap_memory, name)


def _fold(
    scope: str,
    reverse: bool,
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any,
    parallel_iterations: int,
    back_prop: bool,
    swap_memory: bool,
    name: str | None,
) -> Any:
    _check_callable(fn)
    with scopes.name_scope(name, scope, nest.flatten(elems)):
        rows = _Rows(elems)
        start = rows.count - 1 if reverse else 0
        step = -1 if reverse else 1
        total = _initial(rows, initializer, start)
        i = convert.convert_to_tensor(start, dtype=dtypes.int32)
        _, total = control_flow.while_loop(
            lambda i, _: logic.greater_equal(i, 0) if reverse else logic.less(i, rows.count),
            lambda i, total: (i + step, fn(total, rows.read(i))),
            (i + step if initializer is None else i, total),
            parallel_iterations=parallel_iterations,
            back_prop=back_prop,
            swap_memory=swap_memory,
        )
        return total


# ---------------------------------------------------------------- one of several functions


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """Runs the function of the first predicate that is true.

    Args:
        pred_fn_pairs: pairs of a bool scalar tensor and a function, or a dictionary of such (with `exclusive`).
        default: what to run if none is true. Without it one of them must be.
        exclusive: whether more than one being true is an error when run.
        strict: whether a list of one tensor is returned as a list.
        name: the name scope.

    Returns:
        What the functions return, as `cond` does.

    Raises:
        TypeError: a pair is none, a predicate no tensor, or a function not callable.  ValueError: there are no pairs.
        InvalidArgumentError: when run: none of the predicates is true, or several, where that is an error.
    """
    pairs = _checked_pairs(pred_fn_pairs, default)
    predicates = [pred for pred, _ in pairs]
    with scopes.name_scope(name, "case", predicates):
        checks: list[Any] = []
        if exclusive:
            checks.append(_at_most_one(predicates))
        if default is None:
            names = ", ".join(p.name for p in predicates)
            text = f"None of conditions evaluated as True. Conditions: ({names}), Values:"
            together = joining.stack(predicates)
            checks.append(assert_(reductions.reduce_any(together), [text, together]))
        result = default or pairs.pop()[1]
        for pred, function in reversed(pairs):
            result = _nested(pred, function, result, strict)
        with scopes.control_dependencies(checks):
            return result() if pairs else _single(predicates[0], result, strict)


def _single(pred: Tensor, function: Callable[[], Any], strict: bool) -> Any:
    """The only function there is, in a branch, so that it runs after the checks."""
    return control_flow.cond(pred, function, function, strict=strict, name="cond")


def _nested(pred: Tensor, function: Callable[[], Any], otherwise: Callable[[], Any], strict: bool) -> Any:
    return lambda: control_flow.cond(pred, function, otherwise, strict=strict, name="cond")


def _checked_pairs(pred_fn_pairs: Any, default: Any) -> list[tuple[Tensor, Callable[[], Any]]]:
    if isinstance(pred_fn_pairs, Mapping):
        entries: list[Any] = list(pred_fn_pairs.items())
    elif isinstance(pred_fn_pairs, (list, tuple)):
        entries = list(pred_fn_pairs)
    else:
        raise TypeError("pred_fn_pairs must be a list, tuple, or dict")
    if not entries:
        raise ValueError("pred_fn_pairs must hold at least one pair")
    for entry in entries:
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            raise TypeError("Each entry in pred_fn_pairs must be a 2-tuple")
        pred, function = entry
        if not isinstance(pred, Tensor) and convert.dtype_of(pred) is None:
            raise TypeError(f"pred must be a Tensor, got: {pred}")
        if not callable(function):
            raise TypeError(f"fn for pred {getattr(pred, 'name', pred)} must be callable.")
    if default is not None and not callable(default):
        raise TypeError("default must be callable.")
    return [(convert.convert_to_tensor(pred, dtype=dtypes.bool_), function) for pred, function in entries]


def _at_most_one(predicates: Sequence[Tensor]) -> Any:
    together = joining.stack(predicates, name="preds_c")
    count = structural.reduce_sum(elementwise.cast(together, dtypes.int32), name="num_true_conds")
    names = ", ".join(p.name for p in predicates)
    text = f"More than one condition evaluated as True but exclusive=True.  Conditions: ({names}), Values:"
    return assert_(logic.less(count, 2, name="at_most_one_true_cond"), [text, together], len(predicates))


def switch_case(
    branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: str = "switch_case"
) -> Any:
    """Runs one of several functions, chosen by a number.

    Args:
        branch_index: an int32 scalar tensor.
        branch_fns: a list of functions, or pairs of a number and a function, or a dictionary; the numbers are 0 to n-1
            in any order.
        default: what to run if the number is not among them; the last function by default.
        name: the name scope.

    Returns:
        What the functions return, as `cond` does.

    Raises:
        TypeError: `branch_index` is no integer tensor, or the functions are no functions.
        ValueError: there are no functions, or their numbers are not 0 to n-1.
    """
    functions = _checked_branches(branch_index, branch_fns)
    with scopes.name_scope(name, "switch_case", [branch_index]):
        result = default or functions[-1]
        for number, function in reversed(list(enumerate(functions))):
            result = _nested(logic.equal(branch_index, number), function, result, strict=True)
        return result()


def _checked_branches(branch_index: Any, branch_fns: Any) -> list[Callable[[], Any]]:
    if not isinstance(branch_index, Tensor):
        raise TypeError(f"branch_index must be a Tensor, got {type(branch_index)}")
    if not branch_index.dtype.is_integer:
        raise TypeError(f"branch_index must an integer Tensor, got {branch_index.dtype}")
    if not branch_fns:
        raise ValueError("Must provide at least one item in branch_fns")
    if isinstance(branch_fns, Mapping):
        entries: list[Any] = sorted(branch_fns.items(), key=lambda entry: str(entry[0]))
    elif isinstance(branch_fns, (list, tuple)):
        entries = list(enumerate(branch_fns)) if all(map(callable, branch_fns)) else list(branch_fns)
    else:
        raise TypeError("branch_fns must be a list, tuple, or dict")
    found: dict[Any, Callable[[], Any]] = {}
    for entry in entries:
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            raise TypeError("Each entry in branch_fns must be a 2-tuple")
        key, function = entry
        if not isinstance(key, numbers.Integral):
            raise TypeError(f"key must be a Python `int`, got {type(key)}")
        if not callable(function):
            raise TypeError(f"fn for key {key} must be callable.")
        found[int(key)] = function
    if sorted(found) != list(range(len(entries))):
        raise ValueError(
            f"branch indices (keys) must form contiguous range of [0 to {len(entries)}) but found "
            f"{{{', '.join(map(str, sorted(found)))}}}"
        )
    return [found[i] for i in range(len(found))]
