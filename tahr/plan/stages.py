"""The chain of stages that a function's runs go through, planned once for each class of input shapes.

A fed dimension is classed 0, 1 or symbolic (broadcasting depends on that), and equal sizes share a symbol. A new batch
size is the same class, hence the same Program and Plan. Dimensions that the graph knows are integers, and so are fed
sizes that it demands: where a symbol must be equal to an integer, it is better known as that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tahr.core import dtypes, sizes
from tahr.core.convert import Const
from tahr.core.graph import Operation, Tensor
from tahr.core.shapes import Items, Spec
from tahr.core.sizes import Dim, Size
from tahr.ops.list_values import StoredList
from tahr.plan.plan import Plan, make_plan
from tahr.program.effects import Key, StateRead, value_spec
from tahr.program.extract import Stage, extract, result_key
from tahr.program.function import Function
from tahr.program.node import Program

# How many exact input shapes a function remembers the plan of; past that the memory starts afresh.
MAX_EXACT = 4096
# How many classes of input shapes a function keeps plans for.
MAX_PLANS = 256

Optimize = Callable[[Program], Program]
ClassKey = tuple[Any, ...]


@dataclass
class PlannedStage:
    """One stage of a function, planned.

    Attributes:
        stage: what was extracted.
        plan: how it runs.
        results: for each of the function's results, where it is found: the index among `stage.outputs`, or None.
        following: the stages that come next, by what is still blocked and by the class of their inputs.
        exact: the same by what is exactly known of these.
    """

    stage: Stage
    plan: Plan
    results: tuple[int | None, ...]
    following: dict[ClassKey, PlannedStage] = field(default_factory=dict[ClassKey, "PlannedStage"])
    exact: dict[ClassKey, PlannedStage] = field(default_factory=dict[ClassKey, "PlannedStage"])

    @property
    def is_whole(self) -> bool:
        """Whether this one stage is all there is to do."""
        return self.stage.is_last


def first_stage(function: Function, values: Sequence[Any], optimize: Optimize) -> PlannedStage:
    """The first stage for given input values; planned if their class is new."""
    exact: Any = tuple([v.shape for v in values])
    if function.constants:
        exact = exact, tuple([values[i].tobytes() for i in function.constants])
    found = function.exact.get(exact)
    if found is not None and found[1] == [v.dtype for v in values]:
        return found[0]
    with function.lock:
        planned = _planned_class(function, dict(zip(function.keys, values)), optimize)
        if len(function.exact) >= MAX_EXACT:
            function.exact.clear()
        function.exact[exact] = (planned, [v.dtype for v in values])
    return planned


def first_program(function: Function, values: Sequence[Any]) -> Program:
    """The program of the first stage for given input values, as it is before all passes."""
    available = dict(zip(function.keys, values))
    while True:
        with sizes.demands() as demanded:
            specs, _ = classify(available, function.demanded)
            program = extract(function, specs, frozenset(), frozenset()).program
        if demanded <= function.demanded:
            return program
        function.demanded |= demanded


def _planned_class(function: Function, available: Mapping[Key, Any], optimize: Optimize) -> PlannedStage:
    """The first stage for a class of input shapes; planned if the class is new."""
    specs, key = classify(available, function.demanded)
    planned = function.plans.get(key)
    if planned is not None:
        return planned
    if len(function.plans) >= MAX_PLANS:
        function.plans.clear()
    with sizes.demands() as demanded:
        planned = function.plans[key] = _plan(function, specs, frozenset(), frozenset(), optimize)
    if demanded <= function.demanded:
        return planned
    function.demanded |= demanded
    return _planned_class(function, available, optimize)


def next_stage(
    function: Function,
    previous: PlannedStage,
    available: Mapping[Key, Any],
    done: frozenset[Operation],
    begun: frozenset[Operation],
    optimize: Optimize,
) -> PlannedStage:
    """The stage that follows, once the values in `available` are there.

    Args:
        function: what is computed.
        previous: the stage before.
        available: the values that later stages may take.
        done: the operations that have been run.
        begun: operations that have been started and still block.
        optimize: the passes.
    """
    resolved = done - previous.stage.done
    exact = resolved, begun, *available, *map(_exact, available.values())
    found = previous.exact.get(exact)
    if found is not None:
        return found
    specs, key = classify(available, function.demanded, with_items=True)
    key = (resolved, begun, key)
    with function.lock:
        planned = previous.following.get(key)
        if planned is None:
            if len(previous.following) >= MAX_PLANS:
                previous.following.clear()
            planned = previous.following[key] = _plan(function, specs, done, begun, optimize)
        if len(previous.exact) >= MAX_EXACT:
            previous.exact.clear()
        previous.exact[exact] = planned
    return planned


def _exact(value: Any) -> Any:
    """All of a value on which its class depends; whether a constant was fed, the first stage's class says."""
    return (value.item_shape, value.known) if isinstance(value, StoredList) else (value.shape, value.dtype)


def _plan(
    function: Function,
    specs: Mapping[Key, Spec],
    done: frozenset[Operation],
    begun: frozenset[Operation],
    optimize: Optimize,
) -> PlannedStage:
    stage = extract(function, specs, done, begun)
    stage.program = optimize(stage.program)
    found = {key: i for i, key in enumerate(stage.outputs)}
    results = tuple(found.get(result_key(function, i)) for i in range(len(function.outputs)))
    return PlannedStage(stage, make_plan(stage.program), results)


def classify(
    values: Mapping[Key, Any], demanded: Collection[int] = (), with_items: bool = False
) -> tuple[dict[Key, Spec], ClassKey]:
    """What is known of values whose class alone counts, and that class as a key.

    Args:
        values: the values.
        demanded: sizes that are classes of their own.
        with_items: whether the items of lists that native code made count, too.
    """

    def classes(exact: Sequence[int], known: Any) -> tuple[Dim, ...]:
        sizes_ = zip(exact, _padded(known, exact))
        return tuple(size if size in demanded else _class(size, k, symbols) for size, k in sizes_)

    symbols: dict[int, Size] = {}
    specs: dict[Key, Spec] = {}
    parts: list[Any] = []
    for key, value in values.items():
        dtype, static = _static(key)
        if dtype is None:
            dtype = dtypes.of_numpy(value.dtype)
        shape = classes(value.shape, static)
        items: Items | None = None
        if with_items and isinstance(value, StoredList):
            items = value.known.of_shape(classes(value.item_shape, value.known.innermost.shape))
        specs[key] = Spec(dtype, shape, _constant_value(key, value), items)
        parts.append((key, dtype, shape, items, specs[key].value is not None))
    return specs, tuple(parts)


def _static(key: Key) -> tuple[dtypes.DType | None, Any]:
    if isinstance(key, StateRead):
        return key.variable.attrs["dtype"], key.variable.attrs["shape"]
    spec = value_spec(key)
    return spec.dtype, spec.shape


def _padded(static: Any, shape: Sequence[int]) -> Sequence[Any]:
    return static if static is not None and len(static) == len(shape) else (None,) * len(shape)


def _class(size: int, known: Any, symbols: dict[int, Size]) -> Dim:
    if isinstance(known, int) or size < 2:
        return size
    if size not in symbols:
        symbols[size] = sizes.symbol(f"s{len(symbols)}")
    return symbols[size]


def _constant_value(key: Key, value: Any) -> np.ndarray[Any, Any] | None:
    """The value of a constant that a region captures or that crosses into a later stage, unless it was fed."""
    if isinstance(key, Tensor) and key.op.opdef is Const and key.spec.value is not None:
        return key.spec.value if np.array_equal(value, key.op.attrs["value"]) else None
    return None
