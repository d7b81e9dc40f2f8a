"""Random numbers: the operations that draw from a Philox stream, and TensorFlow's functions on top of them.

Each operation has a stream of its own in each session, which starts from the operation's two seeds and goes
on from run to run. Equal seeds give TensorFlow's values; `streams` says how, and to which bit.

Source of the values: TensorFlow 1.15, python/ops/random_ops.py and core/kernels/random_op.cc.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes
from tahr.core.dtypes import FLOATS, INDICES, REALS, DType
from tahr.core.forms import ELEMENTWISE, Classes, Draw, Permutation
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import DRAWS, REQUIRED, Array, OpDef, known_ints, known_value
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import special_functions
from tahr.ops.cropping import slice_
from tahr.ops.elementwise import add, floormod, maximum, multiply, subtract, truediv
from tahr.ops.seeds import SEEDS, drawing, seeds
from tahr.ops.shaping import shape as shape_of
from tahr.ops.structural import broadcast_dynamic_shape, broadcast_to, reduce_sum


def _shape_tensor(shape: Any) -> Tensor:
    """A shape as a tensor; an empty list means a scalar."""
    empty = isinstance(shape, (list, tuple)) and not shape
    return convert.convert_to_tensor(shape, dtype=dtypes.int32 if empty else None, name="shape")


def _check_float(dtype: DType) -> None:
    if dtype not in FLOATS:
        allowed = ", ".join(t.name for t in dtypes.ALL if t in FLOATS)
        raise TypeError(
            f"Value passed to parameter 'dtype' has DataType {dtype.name} not in list of allowed values: "
            f"{allowed}"
        )


def _described_shape(shape: Spec) -> Shape:
    """The shape that a shape tensor's value describes."""
    return shapes.from_value(shape.value, shapes.dims(shape.shape, 1)[0])


def _per_element(shape: Spec, parameter: Spec) -> Shape:
    """The shape of `shape` samples for each element of a parameter."""
    samples = _described_shape(shape)
    return None if samples is None or parameter.shape is None else samples + parameter.shape


# ---------------------------------------------------------------- uniform

RandomUniform = OpDef(
    "RandomUniform",
    "shape: T -> output: dtype",
    attrs={**SEEDS, "dtype": REQUIRED},
    types={"T": INDICES, "dtype": FLOATS},
    form=Draw("uniform"),
    effects=DRAWS,
)
RandomUniform.not_differentiable()


@RandomUniform.shape
def _drawn_shape(shape: Spec, **_: Any) -> Shape:
    return _described_shape(shape)


@RandomUniform.stateful_kernel
def _random_uniform_kernel(context: Any, shape: Array, *, seed: int, seed2: int, dtype: DType) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.uniform(shape.tolist(), dtype.numpy)


RandomUniformInt = OpDef(
    "RandomUniformInt",
    "shape: T, minval: Tout, maxval: Tout -> output: Tout",
    attrs=SEEDS,
    types={"T": INDICES, "Tout": INDICES},
    form=Draw("integers"),
    effects=DRAWS,
)
RandomUniformInt.not_differentiable()


@RandomUniformInt.shape
def _random_uniform_int_shape(shape: Spec, minval: Spec, maxval: Spec, **_: Any) -> Shape:
    for bound in (minval, maxval):
        shapes.dims(bound.shape, 0)
    return _described_shape(shape)


@RandomUniformInt.stateful_kernel
def _random_uniform_int_kernel(
    context: Any, shape: Array, minval: Array, maxval: Array, *, seed: int, seed2: int
) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.uniform_int(shape.tolist(), int(minval), int(maxval), minval.dtype)


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Numbers that are equally likely everywhere in [minval, maxval).

    Args:
        shape: the result's shape, an int32 or int64 vector.
        minval: the lower bound, a scalar (broadcast against the result, for floats).
        maxval: the upper bound, which is never reached; 1 by default for floats, required for integers.
        dtype: float16, bfloat16, float32, float64, int32 or int64.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        Numbers of shape `shape`. Integers are slightly biased unless maxval - minval is a power of two.

    Raises:
        ValueError: another dtype, or integers without `maxval`.
    """
    dtype = dtypes.as_dtype(dtype)
    if dtype not in FLOATS and dtype not in INDICES:
        raise ValueError(
            f"Invalid dtype {dtype!r}: "
            "random_uniform draws float16, bfloat16, float32, float64, int32 and int64."
        )
    if maxval is None:
        if dtype.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {dtype!r}")
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        shape = _shape_tensor(shape)
        minval = convert.convert_to_tensor(minval, dtype=dtype, name="min")
        maxval = convert.convert_to_tensor(maxval, dtype=dtype, name="max")
        if dtype.is_integer:
            return RandomUniformInt(shape, minval, maxval, **seeds(seed), name=scope)
        drawn = RandomUniform(shape, dtype=dtype, **seeds(seed))
        scaled = multiply(drawn, subtract(maxval, minval, name="sub"), name="mul")
        return add(scaled, minval, name=scope)


# ---------------------------------------------------------------- normal

RandomStandardNormal = OpDef(
    "RandomStandardNormal",
    "shape: T -> output: dtype",
    attrs={**SEEDS, "dtype": REQUIRED},
    types={"T": INDICES, "dtype": FLOATS},
    form=Draw("normal"),
    effects=DRAWS,
)
RandomStandardNormal.not_differentiable()
RandomStandardNormal.shape(_drawn_shape)


@RandomStandardNormal.stateful_kernel
def _random_standard_normal_kernel(
    context: Any, shape: Array, *, seed: int, seed2: int, dtype: DType
) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.standard_normal(shape.tolist(), dtype.numpy)


TruncatedNormal = OpDef(
    "TruncatedNormal",
    "shape: T -> output: dtype",
    attrs={**SEEDS, "dtype": REQUIRED},
    types={"T": INDICES, "dtype": FLOATS},
    form=Draw("truncated_normal"),
    effects=DRAWS,
)
TruncatedNormal.not_differentiable()
TruncatedNormal.shape(_drawn_shape)


@TruncatedNormal.stateful_kernel
def _truncated_normal_kernel(context: Any, shape: Array, *, seed: int, seed2: int, dtype: DType) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.truncated_normal(shape.tolist(), dtype.numpy)


def _scaled_normal(
    draw: OpDef,
    default_name: str,
    shape: Any,
    mean: Any,
    stddev: Any,
    dtype: Any,
    seed: int | None,
    name: str | None,
) -> Tensor:
    dtype = dtypes.as_dtype(dtype)
    _check_float(dtype)
    with name_scope(name, default_name, [shape, mean, stddev]) as scope:
        shape = _shape_tensor(shape)
        mean = convert.convert_to_tensor(mean, dtype=dtype, name="mean")
        stddev = convert.convert_to_tensor(stddev, dtype=dtype, name="stddev")
        drawn = draw(shape, dtype=dtype, **seeds(seed))
        return add(multiply(drawn, stddev, name="mul"), mean, name=scope)


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normally distributed numbers.

    Args:
        shape: the result's shape, an int32 or int64 vector.
        mean: the mean, broadcast against the result.
        stddev: the standard deviation, likewise.
        dtype: a floating-point type.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        Numbers of shape `shape`.

    Raises:
        TypeError: `dtype` is not a floating-point type.
    """
    return _scaled_normal(RandomStandardNormal, "random_normal", shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normally distributed numbers, those further than two standard deviations from the mean drawn again.

    Args:
        shape: the result's shape, an int32 or int64 vector.
        mean: the mean before truncation, broadcast against the result.
        stddev: the standard deviation before truncation, likewise.
        dtype: a floating-point type.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        Numbers of shape `shape`.

    Raises:
        TypeError: `dtype` is not a floating-point type.
    """
    return _scaled_normal(TruncatedNormal, "truncated_normal", shape, mean, stddev, dtype, seed, name)


# ---------------------------------------------------------------- gamma

RandomGamma = OpDef(
    "RandomGamma",
    "shape: S, alpha: T -> output: T",
    attrs=SEEDS,
    types={"S": INDICES, "T": frozenset({dtypes.float16, dtypes.float32, dtypes.float64})},
    effects=DRAWS,
)


@RandomGamma.shape
def _random_gamma_shape(shape: Spec, alpha: Spec, **_: Any) -> Shape:
    return _per_element(shape, alpha)


@RandomGamma.stateful_kernel
def _random_gamma_kernel(context: Any, shape: Array, alpha: Array, *, seed: int, seed2: int) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.gamma(shape.tolist(), alpha)


@RandomGamma.gradient
def _random_gamma_gradient(op: Operation, dy: Tensor) -> tuple[None, Tensor]:
    shape, alpha = op.inputs
    samples = _described_shape(shape.spec)
    if samples is None:
        raise NotImplementedError("RandomGamma: its gradient needs a `shape` of known length")
    slope = multiply(dy, RandomGammaGrad(alpha, op.outputs[0]))
    return None, reduce_sum(slope, axis=list(range(len(samples))))


RandomGammaGrad = OpDef(
    "RandomGammaGrad",
    "alpha: T, sample: T -> output: T",
    types={"T": frozenset({dtypes.float32, dtypes.float64})},
    form=ELEMENTWISE,
)

# Below this fraction of alpha + 1 a sample's distribution function is its leading term.
_TINY_SAMPLE = 1e-14


@RandomGammaGrad.kernel
def _random_gamma_grad_kernel(alpha: Array, sample: Array) -> Array:
    """How a sample of Gamma(alpha, 1) moves with alpha while its quantile stays: -(dP/dalpha) / (dP/dsample).

    Source: Figurnov, Mohamed, Mnih, "Implicit reparameterization gradients", 2018, equation 5.
    """
    a, x = np.broadcast_arrays(alpha.astype(np.float64), sample.astype(np.float64))
    log_density = (a - 1) * np.log(x) - x - special_functions.lgamma(a)
    slope = -special_functions.igamma_grad_a(a, x) * np.exp(-log_density)
    # P(a, x) is nearly x^a / gamma(a + 1) there; the quotient above would be 0 / 0.
    leading = -x * (np.log(x) - special_functions.digamma(a + 1)) / a
    slope = np.where(x < _TINY_SAMPLE * (a + 1), np.where(x == 0, 0.0, leading), slope)
    return slope.astype(alpha.dtype)


def random_gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Samples of gamma distributions: `shape` of them for each alpha and beta.

    Args:
        shape: how many samples of each distribution, an int32 vector.
        alpha: the shape parameters of the distributions, positive.
        beta: their rates (inverse scales), broadcast against alpha; 1 by default.
        dtype: float16, float32 or float64: that of alpha and beta.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        `[*shape, *(alpha + beta).shape]`, at least the smallest normal number.
        Differentiable in alpha and beta.
    """
    dtype = dtypes.as_dtype(dtype)
    with name_scope(name, "random_gamma", [shape, alpha, beta]):
        shape = convert.convert_to_tensor(shape, dtype=dtypes.int32, name="shape")
        alpha = convert.convert_to_tensor(alpha, dtype=dtype, name="alpha")
        beta = convert.convert_to_tensor(1 if beta is None else beta, dtype=dtype, name="beta")
        alpha = broadcast_to(alpha, broadcast_dynamic_shape(shape_of(alpha), shape_of(beta)))
        drawn = truediv(RandomGamma(shape, alpha, **seeds(seed)), beta)
        return maximum(np.finfo(dtype.numpy).tiny, drawn)


# ---------------------------------------------------------------- Poisson

RandomPoissonV2 = OpDef(
    "RandomPoissonV2",
    "shape: S, rate: R -> output: dtype",
    attrs={**SEEDS, "dtype": dtypes.int64},
    types={
        "S": INDICES,
        "R": frozenset({dtypes.float16, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64}),
    },
    effects=DRAWS,
)


@RandomPoissonV2.shape
def _random_poisson_shape(shape: Spec, rate: Spec, **_: Any) -> Shape:
    return _per_element(shape, rate)


@RandomPoissonV2.stateful_kernel
def _random_poisson_kernel(
    context: Any, shape: Array, rate: Array, *, seed: int, seed2: int, dtype: DType
) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.poisson(shape.tolist(), rate, dtype.numpy)


def random_poisson(
    lam: Any, shape: Any, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Samples of Poisson distributions: `shape` of them for each rate.

    Args:
        lam: the rates, real numbers; a negative one counts as 0.
        shape: how many samples of each distribution, an int32 vector.
        dtype: float16, float32, float64, int32 or int64.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        `[*shape, *lam.shape]` of `dtype`, whole numbers.
    """
    with name_scope(name, "random_poisson", [lam, shape]):
        shape = convert.convert_to_tensor(shape, dtype=dtypes.int32, name="shape")
        return RandomPoissonV2(shape, lam, dtype=dtypes.as_dtype(dtype), **seeds(seed))


# ---------------------------------------------------------------- classes

Multinomial = OpDef(
    "Multinomial",
    "logits: T, num_samples: int32 -> output: output_dtype",
    attrs={**SEEDS, "output_dtype": dtypes.int64},
    types={"T": REALS, "output_dtype": INDICES},
    form=Classes(),
    effects=DRAWS,
)
Multinomial.not_differentiable()


@Multinomial.shape
def _multinomial_shape(logits: Spec, num_samples: Spec, **_: Any) -> Shape:
    batch, _classes = shapes.dims(logits.shape, 2)
    shapes.dims(num_samples.shape, 0)
    return (batch, _count(num_samples))


def _count(scalar: Spec) -> Dim:
    """The dimension that a scalar input gives."""
    known = known_value(scalar)
    if known is None:
        return UNKNOWN
    if isinstance(known[0], int) and known[0] < 0:
        raise Complaint(f"Dimension size, given by scalar input 1, must be non-negative but is {known[0]}")
    return known[0]


@Multinomial.stateful_kernel
def _multinomial_kernel(
    context: Any, logits: Array, num_samples: Array, *, seed: int, seed2: int, output_dtype: DType
) -> Array:
    with drawing(context, seed, seed2) as stream:
        return stream.multinomial(logits, int(num_samples), output_dtype.numpy)


def _draw_classes(
    default_name: str, logits: Any, num_samples: Any, dtype: Any, seed: int | None, name: str | None
) -> Tensor:
    with name_scope(name, default_name, [logits]):
        logits = convert.convert_to_tensor(logits, name="logits")
        dtype = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
        return Multinomial(logits, num_samples, output_dtype=dtype, **seeds(seed))


def multinomial(
    logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None, output_dtype: Any = None
) -> Tensor:
    """Class numbers, drawn with probability softmax(logits).

    Args:
        logits: [batch, classes], unnormalised log-probabilities.
        num_samples: how many to draw for each row, a scalar.
        seed: see `set_random_seed`.
        name: the operation's name.
        output_dtype: int32 or int64, the default.

    Returns:
        [batch, num_samples] of `output_dtype`.
    """
    return _draw_classes("multinomial", logits, num_samples, output_dtype, seed, name)


def categorical(
    logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Class numbers, drawn with probability softmax(logits).

    Args:
        logits: [batch, classes], unnormalised log-probabilities.
        num_samples: how many to draw for each row, a scalar.
        dtype: int32 or int64, the default.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        [batch, num_samples] of `dtype`.
    """
    return _draw_classes("categorical", logits, num_samples, dtype, seed, name)


# ---------------------------------------------------------------- shuffling and cropping

RandomShuffle = OpDef(
    "RandomShuffle", "value: T -> output: T", attrs=SEEDS, form=Permutation(), effects=DRAWS
)
RandomShuffle.not_differentiable()


@RandomShuffle.shape
def _random_shuffle_shape(value: Spec, **_: Any) -> Shape:
    return value.shape


@RandomShuffle.stateful_kernel
def _random_shuffle_kernel(context: Any, value: Array, *, seed: int, seed2: int) -> Array:
    if value.size == 0 or value.ndim == 0:
        return value.copy()  # nothing is drawn either, so that the stream stays where TensorFlow's does
    with drawing(context, seed, seed2) as stream:
        return value[stream.random_shuffle(len(value))]


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows of a tensor in random order.

    Args:
        value: [rows, ...], any dtype.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        A tensor of the same shape and dtype. No gradient flows through it.
    """
    return RandomShuffle(value, **seeds(seed), name=name)


# TensorFlow asserts this beside the shape. One op that lets the shape pass needs no control dependency.
CheckCrop = OpDef(
    "CheckCrop", "shape: T, size: T -> output: T", types={"T": INDICES}, form=ELEMENTWISE, aliases=(0,)
)
CheckCrop.not_differentiable()


@CheckCrop.value
def _check_crop_value(shape: Spec, size: Spec) -> Array | None:
    found, wanted = known_ints(shape), known_ints(size)
    fits = found is None or wanted is None or all(f >= w for f, w in zip(found, wanted))
    return shape.value if fits else None  # else the kernel raises an error


@CheckCrop.kernel
def _check_crop_kernel(shape: Array, size: Array) -> Array:
    if np.any(shape < size):
        raise Complaint(f"Need value.shape >= size, got {shape.tolist()} and {size.tolist()}")
    return shape


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A part of a tensor, at a random place.

    Args:
        value: a tensor of rank n.
        size: the result's shape, [n] int32; nowhere larger than the value's.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        A tensor of shape `size`.
    """
    with name_scope(name, "random_crop", [value, size]) as scope:
        value = convert.convert_to_tensor(value, name="value")
        size = convert.convert_to_tensor(size, dtype=dtypes.int32, name="size")
        shape = CheckCrop(shape_of(value), size)
        places = add(subtract(shape, size, name="sub"), 1, name="add")
        drawn = random_uniform(shape_of(shape), maxval=dtypes.int32.max, dtype=dtypes.int32, seed=seed)
        return slice_(value, floormod(drawn, places, name="mod"), size, name=scope)
