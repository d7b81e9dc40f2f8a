"""TensorFlow's conventions where a function has a kink, a tie or a pole: values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cases_nn import INF, NAN, value_and_gradients
from .harness import Cases, run

AROUND_ZERO = [-1.5, -0.0, 0.0, 2.0]
WIDE = [-1e30, -750.0, -100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 750.0, 1e30]
SPECIAL = [-INF, -2.0, -0.0, 0.0, 3.0, INF, NAN]
LEFT = [1.0, 2.0, NAN, 1.0, -0.0, INF]
RIGHT = [1.0, 1.0, 1.0, NAN, 0.0, INF]
# Every pair of a base and an exponent that pow treats specially.
BASES = [0.0, 0.0, 0.0, 0.0, 2.0, -2.0, -2.0, 1.0, -1.0, 0.0, INF]
EXPONENTS = [0.0, 1.0, 2.0, -1.0, 0.0, 3.0, 0.5, NAN, INF, NAN, 0.0]
NUMERATORS = [0.0, 1.0, -1.0, 0.0, INF, 3.0]
DENOMINATORS = [0.0, 0.0, -0.0, 2.0, INF, INF]

UNARY: dict[str, list[float]] = {
    "abs": SPECIAL,
    "sign": SPECIAL,
    "square": SPECIAL,
    "sqrt": SPECIAL,
    "rsqrt": SPECIAL,
    "reciprocal": SPECIAL,
    "log": SPECIAL,
    "log1p": [-2.0, -1.0, -0.0, 1e-10, 1e10],
    "exp": WIDE,
    "expm1": [-50.0, -1e-10, 0.0, 1e-10, 1.0],
    "floor": [-1.5, -1.0, -0.0, 0.5, 2.0, NAN, INF],
    "ceil": [-1.5, -1.0, -0.2, 0.5, 2.0, NAN],
    "round": [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.2, NAN],
    "rint": [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5],
    "sigmoid": WIDE,
    "tanh": WIDE,
    "acos": [-1.0, 0.0, 1.0, 1.5],
    "asin": [-1.0, 0.0, 1.0],
    "atanh": [-1.0, 0.0, 0.5, 1.0],
    "acosh": [0.5, 1.0, 2.0],
    "erf": [-4.0, 0.0, 1.0, INF],
    "lgamma": [-1.5, 0.5, 1.0, 3.0],
    "digamma": [0.5, 1.0, 3.0],
    "is_finite": SPECIAL,
    "is_nan": SPECIAL,
    "is_inf": SPECIAL,
    "log_sigmoid": WIDE,
}
NN: dict[str, list[float]] = {
    "relu": SPECIAL,
    "relu6": [-1.0, -0.0, 0.0, 3.0, 6.0, 7.0, NAN],
    "elu": SPECIAL,
    "selu": SPECIAL,
    "leaky_relu": SPECIAL,
    "softplus": WIDE,
    "softsign": SPECIAL,
    "crelu": AROUND_ZERO,
}
BINARY: dict[str, tuple[list[float], list[float]]] = {
    "maximum": (LEFT, RIGHT),
    "minimum": (LEFT, RIGHT),
    "squared_difference": (LEFT, RIGHT),
    "pow": (BASES, EXPONENTS),
    "divide": (NUMERATORS, DENOMINATORS),
    "div_no_nan": (NUMERATORS, DENOMINATORS),
    "floordiv": ([5.0, -5.0, 5.5, -0.5], [2.0, 2.0, -2.0, 1.0]),
    "mod": ([5.0, -5.0, 5.5, -0.5], [2.0, 2.0, -2.0, 1.0]),
    "atan2": ([0.0, 0.0, -0.0, 1.0, -1.0, INF], [0.0, -1.0, -1.0, 0.0, 0.0, INF]),
    "less": (LEFT, RIGHT),
    "equal": (LEFT, RIGHT),
    "not_equal": (LEFT, RIGHT),
}
REDUCTIONS: dict[str, tuple[str, Any, Any]] = {
    "max_ties": ("reduce_max", [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], 1),
    "max_ties_all": ("reduce_max", [[3.0, 1.0], [3.0, 3.0]], None),
    "min_ties": ("reduce_min", [[1.0, 1.0, 3.0], [0.0, -0.0, 2.0]], 1),
    "max_nan": ("reduce_max", [[1.0, NAN, 3.0], [NAN, NAN, NAN]], 1),
    "min_nan": ("reduce_min", [[1.0, NAN, 3.0], [NAN, NAN, NAN]], 1),
    "max_infinite": ("reduce_max", [[-INF, -INF], [INF, 1.0]], 1),
    "prod": ("reduce_prod", [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 0.0, 4.0]], 1),
    "prod_columns": ("reduce_prod", [[2.0, 0.0], [-3.0, 5.0]], 0),
    "prod_all": ("reduce_prod", [[2.0, 3.0], [0.0, 5.0]], None),
    "sum_empty": ("reduce_sum", np.zeros((2, 0)), 1),
    "mean_empty": ("reduce_mean", np.zeros((2, 0)), 1),
    "max_empty": ("reduce_max", np.zeros((2, 0)), 1),
    "prod_empty": ("reduce_prod", np.zeros((2, 0)), 1),
    "euclidean_norm": ("norm", [[3.0, 4.0], [0.0, 0.0]], 1),
    "cumsum": ("cumsum", [1.0, 2.0, 3.0], 0),
    "cumprod_plain": ("cumprod", [2.0, 3.0, 5.0], 0),
}


def differentiable_or_value(tf: Any, build: Any, *inputs: Any) -> dict[str, Any]:
    """Like value_and_gradients, for functions to bool: those have no gradient."""
    tensors = [tf.constant(np.array(value, "float32")) for value in inputs]
    result = build(tf, *tensors)
    if result.dtype != tf.float32:
        return {"value": run(tf, result)}
    return value_and_gradients(tf, build, *inputs)


def unary_case(tf: Any, name: str, values: list[float], module: str = "") -> dict[str, Any]:
    def build(tf: Any, x: Any) -> Any:
        return getattr(getattr(tf, module) if module else tf, name)(x)

    return differentiable_or_value(tf, build, values)


def absent_gradients(tf: Any) -> dict[str, bool]:
    """Which functions give no gradient (None), and which give zeros."""
    x = tf.constant([0.5, 1.5])
    n = tf.constant([1, 2])
    results = {
        "floor": tf.floor(x),
        "ceil": tf.ceil(x),
        "round": tf.round(x),
        "rint": tf.rint(x),
        "sign": tf.sign(x),
        "argmax": tf.argmax(x),
        "cast": tf.cast(tf.cast(x, tf.int32), tf.float32),
        "shape": tf.shape(x),
        "zeros_like": tf.zeros_like(x),
        "ones_like": tf.ones_like(x),
        "stop": tf.stop_gradient(x),
        "less": tf.cast(x < 1.0, tf.float32),
        "where": tf.where(x < 1.0, x, x),
        "top_k": tf.nn.top_k(x).values,
        "one_hot": tf.one_hot(tf.cast(x, tf.int32), 2),
        "fill": tf.fill([2], x[0]),
        "mod": tf.mod(x, 2.0),
        "floordiv": tf.floordiv(x, 2.0),
    }
    found = {name: tf.gradients(result, x)[0] is not None for name, result in results.items()}
    return {**found, "integers": tf.gradients(n * n, n)[0] is not None}


def cumprod_zeros(tf: Any) -> dict[str, Any]:
    """Values only: TensorFlow's gradient divides by the input, and at a zero it is not the derivative.

    It is NaN in TensorFlow 1.15 and 0 in later releases.
    """
    x = tf.constant([2.0, 0.0, 3.0, 0.0, 5.0])
    return run(
        tf,
        {
            "plain": tf.cumprod(x),
            "exclusive": tf.cumprod(x, exclusive=True),
            "reverse": tf.cumprod(x, reverse=True),
        },
    )


def zero_times_infinity(tf: Any) -> dict[str, Any]:
    """The gradient of sqrt takes zero times infinity as zero, so that where() can hide the pole."""
    x = tf.constant([0.0, 4.0])
    return run(
        tf,
        {
            "where": tf.gradients(tf.where(x > 0.0, tf.sqrt(x), tf.zeros([2])), x)[0],
            "safe": tf.gradients(tf.sqrt(tf.where(x > 0.0, x, tf.ones([2]))), x)[0],
        },
    )


def integer_arithmetic(tf: Any) -> dict[str, Any]:
    """Integer division rounds down and its remainder has the divisor's sign; truncating rounds to zero."""
    a = tf.constant([7, -7, 7, -7])
    b = tf.constant([2, 2, -2, -2])
    small = tf.constant([200, 100], tf.uint8)
    return run(
        tf,
        {
            "floordiv": a // b,
            "mod": a % b,
            "truncatediv": tf.truncatediv(a, b),
            "truncatemod": tf.truncatemod(a, b),
            "div": tf.div(a, b),
            "truediv": a / b,
            "pow": a**2,
            "wrap": small + small,
            "mean": tf.reduce_mean(a),
            "abs": tf.abs(a),
            "sign": tf.sign(a),
            "sum": tf.reduce_sum(small),
            "cast": tf.cast([1.9, -1.9, 0.5], tf.int32),
            "to_bool": tf.cast([0.0, -2.0, NAN], tf.bool),
        },
    )


def ties_of_indices(tf: Any) -> dict[str, Any]:
    """argmax and top_k prefer the lower index; in_top_k counts ties in."""
    x = tf.constant([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    values, indices = tf.nn.top_k(x, 3)
    return run(
        tf,
        {
            "argmax": tf.argmax(x, 1),
            "argmin": tf.argmin(x, 1),
            "values": values,
            "indices": indices,
            "top_k_gradient": tf.gradients(values * [[1.0, 2.0, 3.0]], x)[0],
            "in_top_k": tf.nn.in_top_k(x, [2, 3], 1),
            "in_top_1_missed": tf.nn.in_top_k(x, [3, 0], 2),
        },
    )


def max_pool_ties(tf: Any) -> dict[str, Any]:
    """A max pool over equal values sends the gradient to the first of them."""
    x = tf.constant(
        np.array([1, 1, 2, 0, 1, 1, 0, 2, 3, 3, -1, -1, 0, 3, -1, -1], np.float32).reshape(1, 4, 4, 1)
    )
    y = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
    overlapping = tf.nn.max_pool(x, [1, 3, 3, 1], [1, 1, 1, 1], "SAME")
    return run(
        tf, {"value": y, "gradient": tf.gradients(y, x)[0], "overlapping": tf.gradients(overlapping, x)[0]}
    )


CASES: Cases = {}
for _name, _values in UNARY.items():
    CASES[_name] = lambda tf, name=_name, values=_values: unary_case(tf, name, values)
for _name, _values in NN.items():
    CASES[_name] = lambda tf, name=_name, values=_values: unary_case(tf, name, values, "nn")
for _name, _pair in BINARY.items():
    CASES[_name] = lambda tf, name=_name, pair=_pair: differentiable_or_value(
        tf, lambda tf, a, b: getattr(tf, name)(a, b), *pair
    )
for _name, (_function, _value, _axis) in REDUCTIONS.items():
    CASES[_name] = lambda tf, function=_function, value=_value, axis=_axis: value_and_gradients(
        tf, lambda tf, x: getattr(tf, function)(x, axis=axis), value
    )
CASES.update(
    {
        "clip_by_value": lambda tf: value_and_gradients(
            tf, lambda tf, x: tf.clip_by_value(x, -1.0, 1.0), [-2.0, -1.0, 0.0, 1.0, 2.0, NAN]
        ),
        "norm_of_zero": lambda tf: value_and_gradients(tf, lambda tf, x: tf.norm(x), [0.0, 0.0]),
        "norm_orders": lambda tf: value_and_gradients(
            tf, lambda tf, x: [tf.norm(x, ord=kind) for kind in (1, 3, np.inf)], [0.0, -2.0, 2.0]
        ),
        "cumprod_zeros": cumprod_zeros,
        "cumsum_options": lambda tf: value_and_gradients(
            tf,
            lambda tf, x: [tf.cumsum(x, exclusive=True), tf.cumsum(x, reverse=True, exclusive=True)],
            [2.0, 0.0, 3.0],
        ),
        "max_broadcast_tie": lambda tf: value_and_gradients(
            tf, lambda tf, x, y: tf.maximum(x, y), [[1.0, 2.0], [3.0, 0.0]], [1.0, 2.0]
        ),
        "sqrt_float64": lambda tf: value_and_gradients(
            tf, lambda tf, x: tf.sqrt(x), [0.0, 4.0], dtype="float64"
        ),
        "pow_constant_exponent": lambda tf: value_and_gradients(
            tf, lambda tf, x: [x**2.0, x**0.5, x**0.0, x**-1.0], [0.0, -1.0, 4.0]
        ),
        "segment_max_ties": lambda tf: value_and_gradients(
            tf, lambda tf, x: tf.reshape(tf.segment_max(x, [0, 0, 1, 1]), [2]), [2.0, 2.0, 1.0, 5.0]
        ),
        "unsorted_segment_prod_zeros": lambda tf: value_and_gradients(
            tf, lambda tf, x: tf.unsorted_segment_prod(x, [0, 0, 1, 1], 3), [2.0, 0.0, 3.0, 5.0]
        ),
        "unsorted_segment_empty": lambda tf: value_and_gradients(
            tf,
            lambda tf, x: [tf.unsorted_segment_sum(x, [0, -1], 2), tf.unsorted_segment_max(x, [0, 0], 2)],
            [2.0, 7.0],
        ),
        "argmax_nan": lambda tf: run(tf, tf.argmax(tf.constant([NAN, 1.0, 2.0]))),
        "absent_gradients": absent_gradients,
        "zero_times_infinity": zero_times_infinity,
        "integer_arithmetic": integer_arithmetic,
        "ties_of_indices": ties_of_indices,
        "max_pool_ties": max_pool_ties,
    }
)
