"""Gradients that users register by name, beside those that op definitions carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tahr.core.opdef import OPS

GradientFunction = Callable[..., Any]

_registered: dict[str, GradientFunction | None] = {}


class RegisterGradient:
    """A decorator that registers the gradient of an op type, or a name for `gradient_override_map`.

    For a class with a `compute` method the function works on arrays: `op.inputs` and `op.output` are the values, the
    second argument is the incoming gradient, and it runs on the host. For everything else it is symbolic.

    Args:
        op_type: the op type, the class's name, or a new name.

    Raises:
        TypeError: `op_type` is no string.  KeyError: it has a registered gradient already.
    """

    def __init__(self, op_type: str) -> None:
        if not isinstance(op_type, str):
            raise TypeError("op_type must be a string")
        self._op_type = op_type

    def __call__(self, function: GradientFunction) -> GradientFunction:
        """Registers `function` and returns it."""
        _register(self._op_type, function)
        return function


def NotDifferentiable(op_type: str) -> None:  # TensorFlow's name
    """Declares that no gradient flows through an op type.

    Raises:
        TypeError: `op_type` is no string.  KeyError: it has a registered gradient already.
    """
    if not isinstance(op_type, str):
        raise TypeError("op_type must be a string")
    _register(op_type, None)


NoGradient = NotDifferentiable


def _register(op_type: str, function: GradientFunction | None) -> None:
    known = OPS.get(op_type)
    built_in = known is not None and (known.gradient_rule is not None or not known.is_differentiable)
    if op_type in _registered or built_in:
        raise KeyError(f"Registering two gradient with name '{op_type}'! It is registered already.")
    _registered[op_type] = function


def unregister(op_type: str) -> None:
    """Forgets a registered gradient; for tests and interactive work."""
    _registered.pop(op_type, None)


def lookup(op_type: str) -> tuple[bool, GradientFunction | None]:
    """(whether something is registered under the name, the function or None)."""
    return op_type in _registered, _registered.get(op_type)
