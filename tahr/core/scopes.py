"""The default graph, and the module-level forms of a graph's scopes."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from tahr.core import graph as graph_module
from tahr.core.graph import Graph, Operation, Tensor


class _Defaults(threading.local):
    """The default graphs of one thread, innermost last."""

    def __init__(self) -> None:
        self.stack: list[Graph] = []


_defaults = _Defaults()
# The graph below every thread's stack.
_base = Graph()

# Tutorial behaviour (the default) and strict behaviour differ in two things: whether a bare `Graph().as_default()`
# replaces the base graph, and whether a Variable made from an array must be initialized before it is read.
_strict = False


def set_strict(strict: bool) -> None:
    """Chooses strict (TensorFlow's) rather than tutorial behaviour, for the whole process."""
    global _strict
    _strict = strict


def is_strict() -> bool:
    """Whether strict (TensorFlow's) behaviour is on."""
    return _strict


def get_default_graph() -> Graph:
    """The innermost graph made default in this thread, or the process's base graph."""
    return _defaults.stack[-1] if _defaults.stack else _base


def reset_default_graph() -> None:
    """Replaces the base graph by an empty one.

    Raises:
        AssertionError: inside `with graph.as_default():`.
    """
    global _base
    if _defaults.stack:
        raise AssertionError("Do not use tf.reset_default_graph() to clear nested graphs.")
    _base = Graph()


class _AsDefault:
    """What `Graph.as_default()` returns.

    In tutorial behaviour the call itself makes the graph the base graph, so that a bare `Graph().as_default()` works
    as printed there; as a context manager it undoes that first and pushes the graph, as in TensorFlow.
    """

    def __init__(self, graph: Graph) -> None:
        global _base
        self._graph = graph
        self._replaced: Graph | None = None
        if not _strict and not _defaults.stack:
            self._replaced, _base = _base, graph

    def __enter__(self) -> Graph:
        global _base
        if self._replaced is not None:
            _base, self._replaced = self._replaced, None
        _defaults.stack.append(self._graph)
        return self._graph

    def __exit__(self, *exc: object) -> None:
        if not _defaults.stack or _defaults.stack[-1] is not self._graph:
            raise AssertionError(
                "Nesting violated for default stack of <class 'tahr.core.graph.Graph'> objects"
            )
        _defaults.stack.pop()


graph_module.set_enter_default(_AsDefault)


@contextmanager
def inside(graph: Graph) -> Generator[Graph]:
    """A context manager that makes a graph the default one; unlike `Graph.as_default` never for the whole process."""
    _defaults.stack.append(graph)
    try:
        yield graph
    finally:
        _defaults.stack.pop()


def graph_of(values: Sequence[Any]) -> Graph:
    """The graph of the first tensor or operation in `values`, or the default graph."""
    for value in values:
        graph = getattr(value, "graph", None)
        if isinstance(graph, Graph):
            return graph
    return get_default_graph()


class name_scope:  # TensorFlow's name
    """A context manager that prefixes the names of operations made in it.

    Args:
        name: the prefix; made unique. One that ends with "/" is entered again as it is.
        default_name: used where `name` is None.
        values: tensors whose graph is entered.

    Yields:
        The full prefix, ending with "/".

    Raises:
        ValueError: neither a name nor a default name is given, although values are.
    """

    def __init__(self, name: str | None, default_name: str | None = None, values: Any = None) -> None:
        self._name = default_name if name is None else name
        self._values = values
        if self._name is None and values is not None:
            raise ValueError("At least one of name (None) and default_name (None) must be provided.")

    @property
    def name(self) -> str | None:
        """The name that was asked for."""
        return self._name

    def __enter__(self) -> str:
        graph = graph_of(self._values or ())
        self._scope = graph.name_scope(self._name)
        prefix = self._scope.__enter__()
        self._entered = None if graph is get_default_graph() else inside(graph)
        if self._entered is not None:
            self._entered.__enter__()
        return prefix

    def __exit__(self, *exc: object) -> None:
        self._scope.__exit__(*exc)
        if self._entered is not None:
            self._entered.__exit__(None, None, None)


def control_dependencies(control_inputs: Sequence[Any] | None) -> Any:
    """A context manager of the default graph: operations made in it run after `control_inputs`."""
    return get_default_graph().control_dependencies(control_inputs)


def device(device_name_or_function: Any) -> Any:
    """A context manager of the default graph that notes a device on operations made in it."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """A context manager of the default graph that notes the device of `op`."""
    return get_default_graph().colocate_with(op, ignore_existing)


@contextmanager
def init_scope() -> Generator[None]:
    """A context manager that leaves every loop, branch and control block: initializers are made in it."""
    graph = get_default_graph()
    scope = graph.get_name_scope()
    with graph.top_level(), graph.name_scope(scope + "/" if scope else None):
        yield


def container(container_name: str) -> Any:
    """A context manager for TensorFlow's resource containers; tahr keeps one container per session."""
    return get_default_graph().name_scope(get_default_graph().get_name_scope() + "/")


def add_to_collection(name: Any, value: Any) -> None:
    """Adds a value to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Adds a value to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """A copy of a collection of the default graph, filtered by a regular expression on names."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """A collection of the default graph itself."""
    return get_default_graph().get_collection_ref(key)


def set_random_seed(seed: int | None) -> None:
    """Sets the default graph's seed, from which operations without a seed derive theirs."""
    get_default_graph().seed = seed


class GraphKeys:
    """The names of the collections that the library itself uses."""

    GLOBAL_VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    SUMMARIES = "summaries"
    QUEUE_RUNNERS = "queue_runners"
    TABLE_INITIALIZERS = "table_initializer"
    ASSET_FILEPATHS = "asset_filepaths"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    CONCATENATED_VARIABLES = "concatenated_variables"
    SAVERS = "savers"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    LOSSES = "losses"
    SAVEABLE_OBJECTS = "saveable_objects"
    RESOURCES = "resources"
    LOCAL_RESOURCES = "local_resources"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
    SUMMARY_OP = "summary_op"
    GLOBAL_STEP = "global_step"
    EVAL_STEP = "eval_step"
    TRAIN_OP = "train_op"
    COND_CONTEXT = "cond_context"
    WHILE_CONTEXT = "while_context"
    VARIABLES = GLOBAL_VARIABLES


__all__ = ["Graph", "GraphKeys", "Operation", "Tensor"]
