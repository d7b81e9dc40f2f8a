"""Placeholders, which are fed."""

from __future__ import annotations

from typing import Any

from tahr.core import dtypes, shapes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.core.tensor_shapes import TensorShape
from tahr.errors import Complaint
from tahr.ops.identities import same_place

Placeholder = OpDef("Placeholder", "-> output: dtype", attrs={"dtype": REQUIRED, "shape": TensorShape(None)})
Placeholder.not_differentiable()

# What TensorFlow's messages call dtypes, where it is not their name.
_MESSAGE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


@Placeholder.shape
def _placeholder_shape(*, dtype: DType | None, shape: TensorShape) -> Shape:
    return shape.raw


@Placeholder.kernel
def _placeholder_kernel(*, dtype: DType | None, shape: TensorShape) -> Array:
    kind = "" if dtype is None else f" with dtype {_MESSAGE_NAMES.get(dtype.name, dtype.name)}"
    what = "" if shape.raw is None else f"{' and' if kind else ' with'} shape {shapes.show(shape.raw)}"
    # Otherwise `Session.run` has found it before anything runs.
    raise Complaint(
        f"You must feed a value for placeholder tensor{kind}{what}, which is inside a loop or branch",
        "make the placeholder outside of it: what is inside cannot be fed",
    )


def placeholder(dtype: Any = None, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value is given to each run through `feed_dict`.

    Args:
        dtype: the type of its elements. Unlike in TensorFlow it may be left out: what is fed then decides.
        shape: the possibly partial shape that fed values must have; any shape by default.
        name: the operation's name.
    """
    base = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
    return Placeholder(dtype=base, shape=TensorShape(shape), name=name)


PlaceholderWithDefault = OpDef(
    "PlaceholderWithDefault",
    "input: dtype -> output: dtype",
    attrs={"shape": REQUIRED},
    form=MOVEMENT,
    aliases=(0,),
)


@PlaceholderWithDefault.shape
def _placeholder_with_default_shape(x: Spec, *, shape: TensorShape) -> Shape:
    shapes.merge(x.shape, shape.raw)  # the default must fit, but what is fed may have any shape that does
    return shape.raw


@PlaceholderWithDefault.kernel
def _placeholder_with_default_kernel(x: Array, *, shape: TensorShape) -> Array:
    return x


PlaceholderWithDefault.view(same_place)


@PlaceholderWithDefault.gradient
def _placeholder_with_default_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that may be fed, and is `input` in runs that do not feed it.

    Args:
        input: the default value.
        shape: the possibly partial shape that fed values must have.
        name: the operation's name.

    Raises:
        ValueError: the default value does not have this shape.
    """
    return PlaceholderWithDefault(input, shape=TensorShape(shape), name=name)
