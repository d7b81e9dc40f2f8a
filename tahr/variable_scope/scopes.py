"""Variable scopes, which name variables and say whether they are shared, and `get_variable`.

Source of the rules: TensorFlow 1.15, python/ops/variable_scope.py.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tahr.core import convert, dtypes, scopes
from tahr.core.dtypes import DType
from tahr.core.scopes import GraphKeys
from tahr.variable_scope.store import Reuse, VariableStore, accepts
from tahr.variables import VariableAggregation, VariableSynchronization


class VariableScope:
    """A prefix of variables' names and the defaults of `get_variable` under it; made by `variable_scope`.

    Args:
        reuse: True: variables must exist; AUTO_REUSE: they may; False or None: they must not.
        name: the prefix, without a slash at its end.
        initializer: used where `get_variable` gets none.
        regularizer: likewise.
        caching_device: likewise.
        partitioner: likewise.
        custom_getter: likewise.
        name_scope: the name scope in which the scope was first opened.
        dtype: likewise.
        use_resource: likewise.
        constraint: likewise.
    """

    def __init__(
        self,
        reuse: Reuse,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
        use_resource: bool | None = None,
        constraint: Any = None,
    ) -> None:
        self._reuse = reuse
        self._name = name
        self._name_scope = name_scope
        self._initializer = initializer
        self._regularizer = regularizer
        self._caching_device = caching_device
        self._partitioner = partitioner
        self._custom_getter = custom_getter
        self._dtype = dtypes.as_dtype(dtype)
        self._use_resource = use_resource
        self._constraint = constraint

    def derive(self, reuse: Reuse, name: str, name_scope: str, overrides: dict[str, Any]) -> VariableScope:
        """A scope with this one's defaults, but for `overrides` that are not None."""
        given = {key: value for key, value in overrides.items() if value is not None}
        if "custom_getter" in given:
            given["custom_getter"] = _nested_getter(given["custom_getter"], self._custom_getter)
        inherited: dict[str, Any] = {
            "initializer": self._initializer,
            "regularizer": self._regularizer,
            "caching_device": self._caching_device,
            "partitioner": self._partitioner,
            "custom_getter": self._custom_getter,
            "dtype": self._dtype,
            "use_resource": self._use_resource,
            "constraint": self._constraint,
        }
        return VariableScope(reuse, name, name_scope=name_scope, **{**inherited, **given})

    @property
    def name(self) -> str:
        """The prefix of variables' names."""
        return self._name

    @property
    def original_name_scope(self) -> str:
        """The name scope in which the scope was first opened, with a slash at its end."""
        return self._name_scope

    @property
    def reuse(self) -> Reuse:
        """Whether variables are shared."""
        return self._reuse

    @property
    def initializer(self) -> Any:
        """The default initializer."""
        return self._initializer

    @property
    def regularizer(self) -> Any:
        """The default regularizer."""
        return self._regularizer

    @property
    def caching_device(self) -> Any:
        """The default caching device."""
        return self._caching_device

    @property
    def partitioner(self) -> Any:
        """The default partitioner."""
        return self._partitioner

    @property
    def custom_getter(self) -> Any:
        """The default custom getter."""
        return self._custom_getter

    @property
    def dtype(self) -> DType:
        """The default dtype."""
        return self._dtype

    @property
    def use_resource(self) -> bool | None:
        """Whether resource variables are made by default."""
        return self._use_resource

    @property
    def constraint(self) -> Any:
        """The default constraint."""
        return self._constraint

    def reuse_variables(self) -> None:
        """Shares variables from now on."""
        self._reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Sets the default initializer."""
        self._initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        """Sets the default regularizer."""
        self._regularizer = regularizer

    def set_caching_device(self, caching_device: Any) -> None:
        """Sets the default caching device."""
        self._caching_device = caching_device

    def set_partitioner(self, partitioner: Any) -> None:
        """Sets the default partitioner."""
        self._partitioner = partitioner

    def set_custom_getter(self, custom_getter: Any) -> None:
        """Sets the default custom getter."""
        self._custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        """Sets the default dtype."""
        self._dtype = dtypes.as_dtype(dtype)

    def set_use_resource(self, use_resource: bool) -> None:
        """Sets whether resource variables are made by default."""
        self._use_resource = use_resource

    def get_collection(self, name: Any) -> list[Any]:
        """The part of a collection whose names begin with this scope's."""
        return scopes.get_collection(name, self._name + "/" if self._name else None)

    def trainable_variables(self) -> list[Any]:
        """The trainable variables under this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Any]:
        """The global variables under this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        """The local variables under this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def get_variable(
        self,
        name: str,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        reuse: Reuse = None,
        trainable: bool | None = None,
        collections: Sequence[Any] | None = None,
        caching_device: Any = None,
        partitioner: Any = None,
        validate_shape: bool = True,
        use_resource: bool | None = None,
        custom_getter: Any = None,
        constraint: Any = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
    ) -> Any:
        """Finds or makes a variable under this scope; see the function `get_variable`."""
        if not isinstance(name, str):
            raise TypeError(f"get_variable: name must be a string, got {name!r}")
        initializer = self._initializer if initializer is None else initializer
        arguments: dict[str, Any] = {
            "name": f"{self._name}/{name}" if self._name else name,
            "shape": shape,
            "dtype": self._dtype_for(dtype, initializer),
            "initializer": initializer,
            "regularizer": self._regularizer if regularizer is None else regularizer,
            "reuse": self._reuse if reuse is None else reuse,
            "trainable": _trainable(trainable, synchronization),
            "collections": collections,
            "caching_device": self._caching_device if caching_device is None else caching_device,
            "partitioner": self._partitioner if partitioner is None else partitioner,
            "validate_shape": validate_shape,
            "use_resource": self._use_resource if use_resource is None else use_resource,
            "constraint": self._constraint if constraint is None else constraint,
            "synchronization": synchronization,
            "aggregation": aggregation,
        }
        getter = self._custom_getter if custom_getter is None else custom_getter
        store = _store()
        with scopes.name_scope(None):
            if getter is None:
                return store.get_variable(**arguments)
            if not callable(getter):
                raise ValueError(f"Passed a custom_getter which is not callable: {getter}")
            if not accepts(getter, "constraint"):
                del arguments["constraint"]
            return getter(getter=functools.partial(_plain_getter, store), **arguments)

    def _dtype_for(self, dtype: Any, initializer: Any) -> DType:
        """The dtype of a new variable: the given one, that of a given value, or the scope's.

        Raises:
            ValueError: the value's dtype is another than the one given.
        """
        found = None
        if initializer is not None and not callable(initializer):
            found = convert.dtype_of(initializer) or dtypes.of_numpy(
                convert.as_array(initializer, None).dtype
            )
        if dtype is None:
            return self._dtype if found is None else found
        dtype = dtypes.as_dtype(dtype).base_dtype
        if found is not None and found is not dtype:
            raise ValueError(f"Initializer type '{found!r}' and explicit dtype '{dtype!r}' don't match.")
        return dtype


def _trainable(trainable: bool | None, synchronization: Any) -> bool:
    if synchronization != VariableSynchronization.ON_READ:
        return True if trainable is None else trainable
    if trainable:
        raise ValueError(
            "Synchronization value can be set to VariableSynchronization.ON_READ only for non-trainable "
            "variables. You have specified trainable=True and "
            "synchronization=VariableSynchronization.ON_READ."
        )
    return False


def _plain_getter(
    store: VariableStore,
    name: str,
    shape: Any = None,
    dtype: Any = dtypes.float32,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Reuse = None,
    trainable: bool | None = None,
    collections: Sequence[Any] | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    constraint: Any = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """The getter that a custom getter receives: it need not be given all arguments."""
    return store.get_variable(
        name,
        shape,
        dtypes.as_dtype(dtype),
        initializer,
        regularizer,
        reuse,
        partitioner,
        trainable=trainable,
        collections=collections,
        caching_device=caching_device,
        validate_shape=validate_shape,
        use_resource=use_resource,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
    )


def _nested_getter(inner: Callable[..., Any], outer: Callable[..., Any] | None) -> Callable[..., Any]:
    """A custom getter whose `getter` is the enclosing scope's custom getter."""
    if outer is None:
        return inner

    def nested(getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return inner(functools.partial(outer, getter), *args, **kwargs)

    return nested


class _Position(threading.local):
    """The scope in which a thread stands, and how often scopes of each name were opened in it."""

    def __init__(self) -> None:
        self.scope = VariableScope(False)
        self.counts: dict[str, int] = {}

    def open(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def close_subscopes(self, name: str) -> None:
        """Forgets the scopes opened inside one that is left, so that default names start anew in the next."""
        for key in self.counts:
            if key.startswith(name + "/"):
                self.counts[key] = 0


def _store() -> VariableStore:
    """The default graph's store of variables."""
    found = scopes.get_collection_ref("__variable_store")
    if not found:
        found.append(VariableStore())
    return found[0]


def _position() -> _Position:
    """Where the current thread stands among the default graph's variable scopes."""
    found = scopes.get_collection_ref("__variable_scope_position")
    if not found:
        found.append(_Position())
    return found[0]


def get_variable_scope() -> VariableScope:
    """The current variable scope."""
    return _position().scope


def unused_name(prefix: str) -> str:
    """The first of `prefix`, `prefix_1`, ... that names no scope opened before inside the current one."""
    position = _position()
    parent = position.scope.name + "/" if position.scope.name else ""
    name, count = prefix, 0
    while position.counts.get(parent + name, 0):
        count += 1
        name = f"{prefix}_{count}"
    return name


@contextmanager
def open_scope(
    name_or_scope: str | VariableScope, reuse: Reuse, name_scope: str, overrides: dict[str, Any]
) -> Generator[VariableScope]:
    """Enters a variable scope without touching the name scope."""
    position = _position()
    previous = position.scope
    counts: dict[str, int] | None = None
    if isinstance(name_or_scope, VariableScope):
        # A jump to a scope that exists: the present one is not inherited from.
        name = name_or_scope.name
        scope = name_or_scope.derive(
            reuse or name_or_scope.reuse, name, name_or_scope.original_name_scope, overrides
        )
        position.open(name)
        counts = dict(position.counts)
    else:
        name = f"{previous.name}/{name_or_scope}" if previous.name else name_or_scope
        scope = previous.derive(reuse or previous.reuse, name, name_scope, overrides)
        position.open(name)
    position.scope = scope
    try:
        yield scope
        if position.scope is not scope:
            raise RuntimeError("Improper nesting of variable_scope.")
    finally:
        if counts is None:
            position.close_subscopes(name)
        else:
            position.counts = counts
        position.scope = previous


class variable_scope:
    """A context manager: `get_variable` inside it puts the scope's name before variables' names.

    It opens a name scope of the same name, too.

    Args:
        name_or_scope: a name inside the current scope, or a scope that exists, which is entered again
            wherever it is. None: `default_name`, made unique.
        default_name: the name where `name_or_scope` is None; ignored otherwise.
        values: tensors whose graph is entered.
        initializer: the default initializer of variables inside.
        regularizer: the default regularizer.
        caching_device: the default caching device.
        partitioner: the default partitioner.
        custom_getter: called in place of making a variable, with the real getter first and `get_variable`'s
            arguments; nested ones call each other, the innermost first.
        reuse: True: variables inside must exist; AUTO_REUSE: those that exist are shared; None or False: the
            outer scope decides.
        dtype: the default dtype.
        use_resource: whether resource variables are made.
        constraint: the default constraint.
        auxiliary_name_scope: whether a name scope is opened too.

    Yields:
        The `VariableScope`.

    Raises:
        TypeError: neither name is given, or of a wrong type.
        ValueError: `reuse` without `name_or_scope`.
    """

    def __init__(
        self,
        name_or_scope: str | VariableScope | None,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Reuse = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        if name_or_scope is None and default_name is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if name_or_scope is not None and not isinstance(name_or_scope, (str, VariableScope)):
            raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
        if not isinstance(auxiliary_name_scope, bool):
            raise TypeError(
                f"The auxiliary_name_scope must be `True` or `False`, while get {auxiliary_name_scope}"
            )
        self._name_or_scope = name_or_scope
        self._default_name = default_name or ""
        self._values = values or ()
        self._reuse: Reuse = reuse
        self._auxiliary_name_scope = auxiliary_name_scope
        self._overrides = {
            "initializer": initializer,
            "regularizer": regularizer,
            "caching_device": caching_device,
            "partitioner": partitioner,
            "custom_getter": custom_getter,
            "dtype": dtype,
            "use_resource": use_resource,
            "constraint": constraint,
        }

    def __enter__(self) -> VariableScope:
        with ExitStack() as entered:  # left at once if something below fails
            scope = self._enter(entered)
            self._entered = entered.pop_all()
        return scope

    def _enter(self, entered: ExitStack) -> VariableScope:
        target = self._name_or_scope
        if target is None and self._reuse:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        graph = scopes.graph_of(self._values)
        if graph is not scopes.get_default_graph():
            entered.enter_context(graph.as_default())
        name_scope = self._enter_name_scope(entered)
        if target is None:
            target = unused_name(self._default_name)
        return entered.enter_context(open_scope(target, self._reuse, name_scope, self._overrides))

    def _enter_name_scope(self, entered: ExitStack) -> str:
        """Opens the name scope of the same name; gives its full name."""
        if not self._auxiliary_name_scope:
            current = scopes.get_default_graph().get_name_scope()
            return current + "/" if current else ""
        target = self._name_or_scope
        if target is None:
            name = self._default_name
        else:
            name = target if isinstance(target, str) else target.name.rpartition("/")[2]
        # The root scope has no name, and leaves the name scope as it is.
        return entered.enter_context(scopes.name_scope(name)) if name else ""

    def __exit__(self, *exc: Any) -> None:
        self._entered.__exit__(*exc)


@contextmanager
def variable_op_scope(
    values: Any,
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Reuse = None,
    dtype: Any = None,
    use_resource: bool | None = None,
    constraint: Any = None,
) -> Generator[VariableScope]:
    """`variable_scope` with its old order of arguments."""
    with variable_scope(
        name_or_scope,
        default_name,
        values,
        initializer,
        regularizer,
        caching_device,
        partitioner,
        custom_getter,
        reuse,
        dtype,
        use_resource,
        constraint,
    ) as scope:
        yield scope


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Sequence[Any] | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """Finds or makes the variable of that name in the current variable scope.

    Args:
        name: its name within the scope.
        shape: its shape; not given where `initializer` is a value.
        dtype: its dtype; the scope's (float32) by default, or that of the value.
        initializer: a function of shape and dtype, a class of such, a function of no arguments (without
            `shape`), or a tensor or value. By default the scope's, else `GlorotUniform`
            for floats and zeros otherwise.
        regularizer: a function of the variable; what it gives is added to REGULARIZATION_LOSSES.
        trainable: whether optimizers change it; they do by default.
        collections: the collections it is added to; [GLOBAL_VARIABLES] by default.
        caching_device: accepted.
        partitioner: a function of shape and dtype that gives the number of parts along each axis.
        validate_shape: whether the initial value's shape must be known.
        use_resource: whether it is a resource variable.
        custom_getter: see `variable_scope`.
        constraint: a function that optimizers apply to new values.
        synchronization: accepted.
        aggregation: accepted.

    Returns:
        A Variable, a PartitionedVariable with a partitioner, or what the custom getter gives.

    Raises:
        ValueError: the variable exists (without reuse) or does not (with it), has another shape or dtype than
            the one to be shared, or its shape is not known.
    """
    return get_variable_scope().get_variable(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        None,
        trainable,
        collections,
        caching_device,
        partitioner,
        validate_shape,
        use_resource,
        custom_getter,
        constraint,
        synchronization,
        aggregation,
    )


def get_local_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = False,
    collections: Sequence[Any] | None = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """`get_variable` for a variable that is not trained nor saved: it is added to LOCAL_VARIABLES.

    The arguments are `get_variable`'s; `trainable` is ignored.
    """
    return get_variable(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        False,
        [*(collections or ()), GraphKeys.LOCAL_VARIABLES],
        caching_device,
        partitioner,
        validate_shape,
        use_resource,
        custom_getter,
        constraint,
        synchronization,
        aggregation,
    )
