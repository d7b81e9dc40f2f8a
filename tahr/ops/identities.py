"""Operations that give their input, but that gradients stop at it, or its shape is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.core import convert, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import Unknown
from tahr.core.tensor_shapes import TensorShape
from tahr.core.views import View
from tahr.errors import Complaint
from tahr.ops.shaping import same_shape


def same_place(x: View, *specs: Spec, **_: Any) -> View:
    """The view rule of ops whose output is their input."""
    return x


Identity = OpDef("Identity", "input: T -> output: T", form=MOVEMENT, aliases=(0,), shape_math=True)
Identity.shape(same_shape)
Identity.items(lambda x: x.items)


@Identity.kernel
def _identity_kernel(x: Array) -> Array:
    return x


Identity.view(same_place)


@Identity.gradient
def _identity_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy


# So that the gradient of rows gathered from a variable stays sparse on its way through the variable's read.
Identity.gradient_takes_slices = True


def identity(input: Any, name: str | None = None) -> Tensor:
    """A tensor with the same values, of the same shape."""
    return Identity(input, name=name)


IdentityN = OpDef("IdentityN", "input: [T] -> output: [T]", attrs={"T": REQUIRED}, form=MOVEMENT)


@IdentityN.shape
def _identity_n_shape(*inputs: Spec, T: list[DType]) -> list[Shape]:
    return [x.shape for x in inputs]


@IdentityN.kernel
def _identity_n_kernel(*inputs: Array, T: list[DType]) -> tuple[Array, ...]:
    return tuple(x.copy() for x in inputs)


@IdentityN.expansion
def _identity_n_expansion(*inputs: Tensor, T: list[DType]) -> list[Tensor]:
    return [identity(x) for x in inputs]


@IdentityN.gradient
def _identity_n_gradient(op: Operation, *dys: Tensor) -> Sequence[Tensor]:
    return dys


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """Tensors with the same values, all of one operation."""
    tensors = [convert.convert_to_tensor(x) for x in input]
    return IdentityN(tensors, T=[x.spec.dtype for x in tensors], name=name)


StopGradient = OpDef("StopGradient", "input: T -> output: T", form=MOVEMENT, aliases=(0,), shape_math=True)
StopGradient.shape(same_shape)
StopGradient.kernel(_identity_kernel)
StopGradient.view(same_place)
StopGradient.not_differentiable()


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The same values, taken for constants when gradients are computed."""
    return StopGradient(input, name=name)


PreventGradient = OpDef(
    "PreventGradient", "input: T -> output: T", attrs={"message": ""}, form=MOVEMENT, aliases=(0,)
)
PreventGradient.shape(same_shape)
PreventGradient.view(same_place)


@PreventGradient.kernel
def _prevent_gradient_kernel(x: Array, *, message: str) -> Array:
    return x


@PreventGradient.gradient
def _prevent_gradient_gradient(op: Operation, dy: Tensor) -> None:
    raise LookupError(f"Gradient explicitly disabled. Reason: {op.attrs['message']}.")


def prevent_gradient(input: Any, message: str = "", name: str | None = None) -> Tensor:
    """The same values; computing a gradient through them raises LookupError with `message`."""
    return PreventGradient(input, message=message, name=name)


GuaranteeConst = OpDef("GuaranteeConst", "input: T -> output: T", form=MOVEMENT, aliases=(0,))
GuaranteeConst.shape(same_shape)
GuaranteeConst.kernel(_identity_kernel)
GuaranteeConst.view(same_place)
GuaranteeConst.not_differentiable()


def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """The same values, which the caller promises never change."""
    return GuaranteeConst(input, name=name)


EnsureShape = OpDef(
    "EnsureShape", "input: T -> output: T", attrs={"shape": REQUIRED}, form=MOVEMENT, aliases=(0,)
)


@EnsureShape.shape
def _ensure_shape_shape(x: Spec, *, shape: TensorShape) -> Shape:
    return shapes.merge(x.shape, shape.raw)


@EnsureShape.kernel
def _ensure_shape_kernel(x: Array, *, shape: TensorShape) -> Array:
    if not shapes.compatible(x.shape, shape.raw):
        raise Complaint(
            f"Shape of tensor {shapes.show(x.shape)} is not compatible with expected shape "
            f"{shapes.show(shape.raw)}."
        )
    return x


@EnsureShape.view
def _ensure_shape_view(x: View, *specs: Spec, outs: Sequence[Spec], shape: TensorShape) -> View | None:
    wanted = shapes.dims(shape.raw, len(x.shape))
    fits = all(isinstance(w, Unknown) or sizes.surely_equal(d, w) for d, w in zip(x.shape, wanted))
    return x if fits else None


@EnsureShape.gradient
def _ensure_shape_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same values; a run raises InvalidArgumentError unless they have a shape that `shape` describes.

    Args:
        x: the tensor.
        shape: a possibly partial shape, which the result is known to have.

    Raises:
        ValueError: the static shape contradicts `shape`.
    """
    return EnsureShape(x, shape=TensorShape(shape), name=name)
