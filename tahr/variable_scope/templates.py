"""Functions that make their variables once and share them afterwards.

Source of the rules: TensorFlow 1.15, python/ops/template.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tahr import errors
from tahr.core import scopes, source
from tahr.core.scopes import GraphKeys
from tahr.variable_scope.scopes import VariableScope, open_scope, unused_name, variable_scope


class Template:
    """A function whose variables are made at its first call and shared by later ones; see `make_template`."""

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        create_scope_now: bool = False,
        unique_name: str | None = None,
        custom_getter: Any = None,
    ) -> None:
        if not name:
            raise ValueError("name cannot be None.")
        self._name = name
        self._func = func
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._scope: VariableScope | None = None
        self._was_called = False
        self._source = source.caller()
        if create_scope_now:
            scope_name = unique_name or unused_name(name)
            with open_scope(scope_name, None, scope_name, {"custom_getter": custom_getter}) as scope:
                self._scope = scope

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function in the template's variable scope.

        Raises:
            ValueError: a later call makes a trainable variable.
        """
        if self._scope is not None:
            with variable_scope(self._scope, reuse=self._was_called):
                return self._call(args, kwargs)
        with variable_scope(self._unique_name, self._name, custom_getter=self._custom_getter) as scope:
            self._scope = scope
            return self._call(args, kwargs)

    def _call(self, args: Any, kwargs: Any) -> Any:
        trainable = scopes.get_collection_ref(GraphKeys.TRAINABLE_VARIABLES)
        before = len(trainable)
        result = self._func(*args, **kwargs)
        if self._was_called and len(trainable) != before:
            raise ValueError(
                errors.describe(
                    "",
                    "Trainable variable created when calling a template after the first time, perhaps you "
                    f"used tf.Variable when you meant tf.get_variable: {trainable[before:]}",
                    [f"the template {self._name!r}: {self._source.describe()}"],
                )
            )
        self._was_called = True
        return result

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    @property
    def func(self) -> Callable[..., Any]:
        """The function."""
        return self._func

    @property
    def variable_scope(self) -> VariableScope | None:
        """Its variable scope; None before the first call."""
        return self._scope

    @property
    def var_scope(self) -> VariableScope | None:
        """Old name of `variable_scope`."""
        return self._scope

    @property
    def variable_scope_name(self) -> str | None:
        """The name of its variable scope; None before the first call."""
        if self._scope is None:
            return None
        return self._scope.name.rstrip("/")

    def _collected(self, key: str) -> list[Any]:
        return [] if self._scope is None else self._scope.get_collection(key)

    @property
    def global_variables(self) -> list[Any]:
        """The global variables it made."""
        return self._collected(GraphKeys.GLOBAL_VARIABLES)

    @property
    def local_variables(self) -> list[Any]:
        """The local variables it made."""
        return self._collected(GraphKeys.LOCAL_VARIABLES)

    @property
    def variables(self) -> list[Any]:
        """The global and local variables it made."""
        return self.global_variables + self.local_variables

    @property
    def weights(self) -> list[Any]:
        """Another name of `variables`."""
        return self.variables

    @property
    def trainable_variables(self) -> list[Any]:
        """The trainable variables it made."""
        return self._collected(GraphKeys.TRAINABLE_VARIABLES)

    @property
    def trainable_weights(self) -> list[Any]:
        """Another name of `trainable_variables`."""
        return self.trainable_variables

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The other variables it made."""
        trainable = self.trainable_variables
        return [v for v in self.variables if not any(v is t for t in trainable)]


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Any = None,
    **kwargs: Any,
) -> Template:
    """A function that makes its variables when first called and shares them when called again.

    Args:
        name_: the name of its variable scope, made unique.
        func_: the function; it makes variables by `get_variable`.
        create_scope_now_: whether the scope is made now rather than at the first call.
        unique_name_: the name of its variable scope as it is; templates with the same one share variables.
        custom_getter_: see `variable_scope`.
        kwargs: arguments of the function that are fixed.

    Returns:
        A Template, which is called like the function.
    """
    if kwargs:
        func_ = functools.partial(func_, **kwargs)
    return Template(name_, func_, create_scope_now_, unique_name_, custom_getter_)
