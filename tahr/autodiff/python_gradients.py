"""Gradients of operations written by subclassing `Operation`: functions of arrays, run on the host.

For a class with a `compute` method the function registered with `RegisterGradient` takes arrays: `op.inputs` and
`op.output` are the values of the run, the second argument is the incoming gradient, and it returns one array, or a list
with one for each input. Calling it is an operation like any other; it has itself no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tahr.core import dtypes
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import host

ArrayGradient = Callable[..., Any]


class ArrayOperation:
    """An operation as its gradient sees it: with the values of a run; all else as the operation itself.

    Attributes:
        inputs: the arrays that `compute` was given.
        output: the array that it returned.
    """

    def __init__(self, op: Operation, inputs: list[Array], output: Array) -> None:
        self._op = op
        self.inputs = inputs
        self.output = output
        self.outputs = [output]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._op, name)


# Inputs: those of the operation, its output, and the gradient of the output.
PythonGradient = OpDef(
    "PythonGradient",
    "input: [Tin] -> output: [Tout]",
    attrs={"op": REQUIRED, "function": REQUIRED, "Tout": REQUIRED},
    register=False,
)


@PythonGradient.shape
def _python_gradient_shape(*specs: Spec, **_: Any) -> list[Shape]:
    return [s.shape for s in specs[:-2]]


@PythonGradient.dtype
def _python_gradient_dtype(*specs: Spec, **_: Any) -> list[dtypes.DType | None]:
    return [s.dtype for s in specs[:-2]]


@PythonGradient.kernel
def _python_gradient_kernel(
    *values: Array, op: Operation, function: ArrayGradient, **_: Any
) -> tuple[Array, ...]:
    *inputs, output, dy = (v.copy() for v in values)
    found = host.call_python(function, ArrayOperation(op, inputs, output), dy)
    gradients: Sequence[Any] = found if isinstance(found, (list, tuple)) else [found]
    if len(gradients) != len(inputs):
        raise Complaint(
            f"the gradient of {op.type} returned {len(gradients)} arrays for {len(inputs)} inputs",
            "return a list with one array for each input of compute",
        )
    return tuple(_checked(op, i, g, x) for i, (g, x) in enumerate(zip(gradients, inputs)))


def _checked(op: Operation, index: int, gradient: Any, x: Array) -> Array:
    array = host.as_result(gradient, f"gradient {index} of {op.type}")
    if array.shape != x.shape:
        raise Complaint(
            f"the gradient of {op.type} with respect to input {index} must have the input's shape "
            f"{list(x.shape)}, but has {list(array.shape)}",
            "sum the gradient over the axes along which compute broadcast the input",
        )
    return array.astype(x.dtype)


def symbolic(function: ArrayGradient) -> Callable[..., Any]:
    """A gradient rule, as the driver calls it, from a function of arrays."""

    def rule(op: Operation, dy: Tensor) -> list[Tensor]:
        inputs = list(op.inputs)
        attrs = {"op": op, "function": function, "Tout": [t.spec.dtype for t in inputs]}
        return op.graph.add_operation(
            PythonGradient, [*inputs, op.output, dy], attrs, f"{op.type}Grad"
        ).outputs

    return rule
