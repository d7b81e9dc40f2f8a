"""Initial values of variables: functions of a shape, as classes whose objects `get_variable` calls.

An initializer is called with a shape and a dtype inside the variable's name scope, and adds the operations
that compute the value. With a seed the values are TensorFlow's.

Source: TensorFlow 1.15, python/ops/init_ops.py and contrib/layers/python/layers/initializers.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.tensor_shapes import TensorShape
from tahr.ops import fills, linalg, random
from tahr.ops.cropping import slice_
from tahr.ops.decompositions import qr
from tahr.ops.elementwise import multiply, sign
from tahr.ops.shaping import reshape
from tahr.ops.transposing import matrix_transpose


class Initializer:
    """The base class: an object that, called with a shape, gives the initial value of a variable."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """The initial value.

        Args:
            shape: the shape of the variable, or of the part of it that is initialized.
            dtype: its dtype; the initializer's own by default.
            partition_info: for a part of a partitioned variable: its `full_shape` and `var_offset`.

        Returns:
            A tensor of that shape and dtype.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer, as JSON can hold them."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The initializer that `get_config` described."""
        return cls(**config)


def _full_shape(shape: Any, partition_info: Any) -> list[int]:
    """The sizes of the whole variable, of which `shape` may be a part."""
    whole = shape if partition_info is None else partition_info.full_shape
    return [int(size) for size in TensorShape(whole)]


def _scaled(gain: float, x: Tensor) -> Tensor:
    return multiply(np.asarray(gain, x.dtype.numpy), x, name="mul")


def _float_dtype(dtype: Any) -> DType:
    dtype = dtypes.as_dtype(dtype)
    if not dtype.is_floating:
        raise ValueError(f"Expected floating point type, got {dtype!r}.")
    return dtype


# ---------------------------------------------------------------- fixed values


class Zeros(Initializer):
    """Zeros; False for bool, and empty strings.

    Args:
        dtype: the dtype where the call gives none.
    """

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Zeros of the shape."""
        return fills.zeros(shape, self.dtype if dtype is None else dtype)

    def get_config(self) -> dict[str, Any]:
        """The dtype."""
        return {"dtype": self.dtype.name}


class Ones(Initializer):
    """Ones.

    Args:
        dtype: the dtype where the call gives none.
    """

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Ones of the shape."""
        return fills.ones(shape, self.dtype if dtype is None else dtype)

    def get_config(self) -> dict[str, Any]:
        """The dtype."""
        return {"dtype": self.dtype.name}


class Constant(Initializer):
    """Given values.

    Args:
        value: a number, (nested) list or array. Where it has fewer elements than the variable, its last
            one is repeated.
        dtype: the dtype where the call gives none.
        verify_shape: whether the value must have exactly the variable's shape.

    Raises:
        TypeError: the value is something else.
    """

    def __init__(self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False) -> None:
        if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
            raise TypeError(
                f"Invalid type for initial value: {type(value)} (expected Python scalar, list or tuple of "
                "values, or numpy.ndarray)."
            )
        self.value = value
        self.dtype = dtypes.as_dtype(dtype)
        self._verify_shape = verify_shape

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None, verify_shape: bool | None = None
    ) -> Tensor:
        """The value in the shape.

        Raises:
            TypeError: `verify_shape` is set and the value has another shape.
            ValueError: the value has too many elements.
        """
        dtype = self.dtype if dtype is None else dtype
        verify_shape = self._verify_shape if verify_shape is None else verify_shape
        return convert.constant(self.value, dtype=dtype, shape=shape, verify_shape=verify_shape)

    def get_config(self) -> dict[str, Any]:
        """The value and dtype."""
        return {"value": self.value, "dtype": self.dtype.name}


class Identity(Initializer):
    """The identity matrix times `gain`.

    Args:
        gain: the factor.
        dtype: the dtype where the call gives none.
    """

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        self.gain = gain
        self.dtype = _float_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """A [rows, columns] matrix. Raises ValueError for another rank."""
        full_shape = _full_shape(shape, partition_info)
        if len(full_shape) != 2:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices.")
        value = linalg.eye(full_shape[0], full_shape[1], dtype=self.dtype if dtype is None else dtype)
        if partition_info is not None:
            value = slice_(value, partition_info.var_offset, shape)
        return _scaled(self.gain, value)

    def get_config(self) -> dict[str, Any]:
        """The gain and dtype."""
        return {"gain": self.gain, "dtype": self.dtype.name}


# ---------------------------------------------------------------- random values


class RandomUniform(Initializer):
    """Numbers that are equally likely everywhere between two bounds.

    Args:
        minval: the lower bound.
        maxval: the upper bound; 1 by default for floats.
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none.
    """

    def __init__(
        self, minval: Any = 0, maxval: Any = None, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = seed
        self.dtype = dtypes.as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Numbers of the shape."""
        dtype = self.dtype if dtype is None else dtype
        return random.random_uniform(shape, self.minval, self.maxval, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        """The bounds, seed and dtype."""
        return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed, "dtype": self.dtype.name}


class RandomNormal(Initializer):
    """Normally distributed numbers.

    Args:
        mean: the mean.
        stddev: the standard deviation.
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.
    """

    def __init__(
        self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = seed
        self.dtype = _float_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Numbers of the shape."""
        dtype = self.dtype if dtype is None else dtype
        return random.random_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        """The mean, standard deviation, seed and dtype."""
        return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed, "dtype": self.dtype.name}


class TruncatedNormal(RandomNormal):
    """Normally distributed numbers, those further than two standard deviations from the mean drawn again.

    Args:
        mean: the mean before truncation.
        stddev: the standard deviation before truncation.
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.
    """

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Numbers of the shape."""
        dtype = self.dtype if dtype is None else dtype
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, seed=self.seed)


class UniformUnitScaling(Initializer):
    """Uniform numbers that keep the scale of a layer's input: within +-factor * sqrt(3 / inputs).

    Args:
        factor: the factor, which depends on the nonlinearity.
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.

    Source: Sussillo & Abbott, "Random walk initialization for training very deep feedforward networks", 2014.
    """

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        self.factor = factor
        self.seed = seed
        self.dtype = _float_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Numbers of the shape."""
        dtype = self.dtype if dtype is None else dtype
        inputs = max(1.0, math.prod(map(float, _full_shape(shape, partition_info)[:-1])))
        limit = math.sqrt(3 / inputs) * self.factor
        return random.random_uniform(shape, -limit, limit, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        """The factor, seed and dtype."""
        return {"factor": self.factor, "seed": self.seed, "dtype": self.dtype.name}


_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("normal", "uniform", "truncated_normal", "untruncated_normal")

# The standard deviation of standard normal numbers drawn again beyond 2: scipy.stats.truncnorm.std(-2, 2).
_TRUNCATED_STDDEV = 0.87962566103423978


class VarianceScaling(Initializer):
    """Random numbers whose variance is `scale` divided by the number of inputs, outputs, or their average.

    Args:
        scale: a positive factor.
        mode: "fan_in", "fan_out" or "fan_avg": what it is divided by.
        distribution: "truncated_normal" (or "normal", the same), "untruncated_normal" or "uniform".
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        if scale <= 0.0:
            raise ValueError("`scale` must be positive float.")
        if mode not in _MODES:
            raise ValueError(f"Invalid `mode` argument: {mode}. It must be one of {', '.join(_MODES)}.")
        distribution = distribution.lower()
        if distribution not in _DISTRIBUTIONS:
            raise ValueError(
                f"Invalid `distribution` argument: {distribution}. "
                f"It must be one of {', '.join(_DISTRIBUTIONS)}."
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed
        self.dtype = _float_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Numbers of the shape."""
        dtype = self.dtype if dtype is None else dtype
        fan_in, fan_out = compute_fans(_full_shape(shape, partition_info))
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.random_uniform(shape, -limit, limit, dtype, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return random.random_normal(shape, 0.0, math.sqrt(variance), dtype, seed=self.seed)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return random.truncated_normal(shape, 0.0, stddev, dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "seed": self.seed,
            "dtype": self.dtype.name,
        }


def compute_fans(shape: Sequence[int]) -> tuple[float, float]:
    """The number of inputs and outputs of a unit whose weights have this shape.

    Args:
        shape: [], [units], [in, out], or for a convolution [*window, in, out].
    """
    if len(shape) < 1:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    window = math.prod(map(float, shape[:-2]))
    return shape[-2] * window, shape[-1] * window


class GlorotUniform(VarianceScaling):
    """Uniform numbers within +-sqrt(6 / (inputs + outputs)); also called Xavier's. `get_variable`'s default.

    Args:
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(scale=1.0, mode="fan_avg", distribution="uniform", seed=seed, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The seed and dtype."""
        return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotNormal(VarianceScaling):
    """Truncated normal numbers with variance 2 / (inputs + outputs); also called Xavier's.

    Args:
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.

    Source: as for `GlorotUniform`.
    """

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(scale=1.0, mode="fan_avg", distribution="truncated_normal", seed=seed, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The seed and dtype."""
        return {"seed": self.seed, "dtype": self.dtype.name}


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal numbers with variance 1 / inputs.

    Source: LeCun, Bottou, Orr, Mueller, "Efficient backprop", 1998.
    """
    return VarianceScaling(scale=1.0, mode="fan_in", distribution="truncated_normal", seed=seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform numbers within +-sqrt(3 / inputs). Source: as for `lecun_normal`."""
    return VarianceScaling(scale=1.0, mode="fan_in", distribution="uniform", seed=seed)


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal numbers with variance 2 / inputs, for layers with ReLU.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015.
    """
    return VarianceScaling(scale=2.0, mode="fan_in", distribution="truncated_normal", seed=seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform numbers within +-sqrt(6 / inputs). Source: as for `he_normal`."""
    return VarianceScaling(scale=2.0, mode="fan_in", distribution="uniform", seed=seed)


class Orthogonal(Initializer):
    """A matrix with orthonormal columns (or rows, where there are fewer of them), times `gain`.

    For more than two dimensions all but the last are taken together. The matrix is Q of a random normal
    matrix's QR factors, with signs that make it uniformly distributed.

    Args:
        gain: the factor.
        seed: see `set_random_seed`.
        dtype: the dtype where the call gives none, a floating-point one.

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2013.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        self.gain = gain
        self.seed = seed
        self.dtype = _float_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """A tensor of the shape. Raises ValueError for fewer than two dimensions."""
        dtype = self.dtype if dtype is None else dtype
        sizes = _full_shape(shape, None)
        if len(sizes) < 2:
            raise ValueError("The tensor to initialize must be at least two-dimensional")
        rows, columns = math.prod(sizes[:-1]), sizes[-1]
        is_wide = rows < columns
        normal = random.random_normal(
            (columns, rows) if is_wide else (rows, columns), dtype=dtype, seed=self.seed
        )
        q, r = qr(normal, full_matrices=False)
        q = multiply(q, sign(linalg.diag_part(r)), name="mul")
        if is_wide:
            q = matrix_transpose(q)
        return _scaled(self.gain, reshape(q, sizes))

    def get_config(self) -> dict[str, Any]:
        """The gain, seed and dtype."""
        return {"gain": self.gain, "seed": self.seed, "dtype": self.dtype.name}


# ---------------------------------------------------------------- contrib.layers


def contrib_variance_scaling_initializer(
    factor: float = 2.0,
    mode: str = "FAN_IN",
    uniform: bool = False,
    seed: int | None = None,
    dtype: Any = dtypes.float32,
) -> Callable[..., Tensor]:
    """`tf.contrib.layers.variance_scaling_initializer`: random numbers with variance `factor` / fan.

    It differs from `VarianceScaling` where it truncates: the correction of the variance is rounded to 1.3.

    Args:
        factor: the factor.
        mode: "FAN_IN", "FAN_OUT" or "FAN_AVG".
        uniform: whether to draw uniform numbers rather than truncated normal ones.
        seed: see `set_random_seed`.
        dtype: a floating-point type.

    Returns:
        An initializer.

    Raises:
        TypeError: another mode, or a dtype that is not a floating-point type.
    """
    default_dtype = _contrib_float_dtype(dtype)
    if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
        raise TypeError(f"Unknown mode {mode} [FAN_IN, FAN_OUT, FAN_AVG]")

    def initializer(shape: Any, dtype: Any = default_dtype, partition_info: Any = None) -> Tensor:
        dtype = _contrib_float_dtype(dtype)
        fan_in, fan_out = compute_fans(_full_shape(shape, None))
        fan = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "FAN_AVG": (fan_in + fan_out) / 2}[mode]
        if uniform:
            limit = math.sqrt(3.0 * factor / fan)
            return random.random_uniform(shape, -limit, limit, dtype, seed=seed)
        return random.truncated_normal(shape, 0.0, math.sqrt(1.3 * factor / fan), dtype, seed=seed)

    return initializer


def _contrib_float_dtype(dtype: Any) -> DType:
    dtype = dtypes.as_dtype(dtype)
    if not dtype.is_floating:
        raise TypeError("Cannot create initializer for non-floating point type.")
    return dtype


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = dtypes.float32
) -> Callable[..., Tensor]:
    """`tf.contrib.layers.xavier_initializer`: random numbers with variance 2 / (inputs + outputs).

    Args:
        uniform: whether to draw uniform numbers rather than truncated normal ones.
        seed: see `set_random_seed`.
        dtype: a floating-point type.

    Returns:
        An initializer.

    Source: as for `GlorotUniform`.
    """
    return contrib_variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


# ---------------------------------------------------------------- TensorFlow's other names

zeros_initializer = Zeros
ones_initializer = Ones
constant_initializer = Constant
random_uniform_initializer = RandomUniform
random_normal_initializer = RandomNormal
truncated_normal_initializer = TruncatedNormal
uniform_unit_scaling_initializer = UniformUnitScaling
variance_scaling_initializer = VarianceScaling
orthogonal_initializer = Orthogonal
glorot_uniform_initializer = GlorotUniform
glorot_normal_initializer = GlorotNormal
