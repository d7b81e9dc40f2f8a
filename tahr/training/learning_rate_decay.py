"""Schedules: learning rates that change with the global step.

Every schedule takes the step as a scalar tensor or variable and gives the rate as a scalar tensor of the
rate's dtype. Pass the same step to the optimizer, which increments it. Operations are made in TensorFlow's order:
names, and the seeds of random operations, follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tahr.core import convert, scopes
from tahr.core.graph import Tensor
from tahr.ops import casts, elementwise, identities, logic, random, special


def _start(function: str, learning_rate: Any, *parameters: Any) -> list[Tensor]:
    """The rate, and the parameters, of which the step is the last one, in the rate's dtype."""
    if parameters[-1] is None:
        raise ValueError(f"global_step is required for {function}.")
    rate = convert.convert_to_tensor(learning_rate, name="initial_learning_rate")
    return [rate, *(casts.cast(parameter, rate.dtype) for parameter in parameters)]


def _periods(step: Tensor, decay_steps: Tensor, staircase: bool) -> Tensor:
    """How many times `decay_steps` have passed; with `staircase` only whole times count."""
    periods = step / decay_steps
    return elementwise.floor(periods) if staircase else periods


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """`learning_rate * decay_rate ** (global_step / decay_steps)`.

    Args:
        learning_rate: the first rate, a float scalar.
        global_step: the step.
        decay_steps: after how many steps the rate has been multiplied by `decay_rate` once.
        decay_rate: the factor.
        staircase: whether the rate changes only every `decay_steps` steps.
        name: the name of the result.

    Raises:
        ValueError: `global_step` is None.
    """
    with scopes.name_scope(name, "ExponentialDecay", [learning_rate, global_step, decay_steps]) as scope:
        rate, steps, factor, step = _start(
            "exponential_decay", learning_rate, decay_steps, decay_rate, global_step
        )
        power = special.pow(factor, _periods(step, steps, staircase))
        return elementwise.multiply(rate, power, name=scope)


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """`learning_rate * exp(-decay_rate * global_step / decay_steps)`; as `exponential_decay`."""
    rate = special.exp(elementwise.negative(decay_rate))
    return exponential_decay(learning_rate, global_step, decay_steps, rate, staircase, name)


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """`learning_rate / (1 + decay_rate * global_step / decay_steps)`; as `exponential_decay`."""
    with scopes.name_scope(name, "InverseTimeDecay", [learning_rate, global_step, decay_rate]) as scope:
        rate, steps, factor, step = _start(
            "inverse_time_decay", learning_rate, decay_steps, decay_rate, global_step
        )
        periods = _periods(step, steps, staircase)
        one = casts.cast(convert.constant(1), rate.dtype)
        divisor = elementwise.add(one, elementwise.multiply(factor, periods))
        return elementwise.realdiv(rate, divisor, name=scope)


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """From one rate to another: `(first - end) * (1 - global_step / decay_steps) ** power + end`.

    Args:
        learning_rate: the first rate, a float scalar.
        global_step: the step.
        decay_steps: after how many steps the rate is `end_learning_rate`.
        end_learning_rate: the last rate.
        power: the exponent; 1 is a straight line.
        cycle: whether, beyond `decay_steps`, the rate jumps up and falls again to the next multiple of
            `decay_steps`.
        name: the name of the result.

    Raises:
        ValueError: `global_step` is None.
    """
    with scopes.name_scope(name, "PolynomialDecay", [learning_rate, global_step, decay_steps]) as scope:
        rate, end, exponent, step = _start(
            "polynomial_decay", learning_rate, end_learning_rate, power, global_step
        )
        steps = casts.cast(decay_steps, rate.dtype)
        if cycle:
            steps = elementwise.multiply(steps, elementwise.maximum(elementwise.ceil(step / steps), 1))
        else:
            step = elementwise.minimum(step, steps)
        fraction = step / steps
        way = rate - end
        remaining = special.pow(1 - fraction, exponent)
        return elementwise.add(elementwise.multiply(way, remaining), end, name=scope)


def piecewise_constant(
    x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
) -> Tensor:
    """`values[0]` up to and including `boundaries[0]`, then `values[1]` up to `boundaries[1]`, and so on.

    Args:
        x: the step, a scalar.
        boundaries: n increasing numbers.
        values: n + 1 scalars of one dtype.
        name: the name scope.

    Raises:
        ValueError: the numbers of boundaries and values do not fit together, or the values have different
            dtypes.
    """
    if len(boundaries) != len(values) - 1:
        raise ValueError(
            "The length of boundaries should be 1 less than the length of values: "
            f"got {len(boundaries)} boundaries and {len(values)} values"
        )
    with scopes.name_scope(name, "PiecewiseConstant", [x, *boundaries, *values]):
        step = convert.convert_to_tensor(x)
        tensors = [convert.convert_to_tensor(v) for v in values]
        if len({t.dtype for t in tensors}) > 1:
            raise ValueError(f"All values must have the same dtype: got {[t.dtype.name for t in tensors]}")
        result = tensors[-1]
        for boundary, value in reversed(list(zip(boundaries, tensors))):
            limit = casts.cast(boundary, step.dtype)
            result = logic.select(logic.less_equal(step, limit), value, result)
        return identities.identity(result)


piecewise_constant_decay = piecewise_constant


def _cosine(turns: Tensor) -> Tensor:
    """A cosine from 1 down to 0 while `turns` goes from 0 to 1."""
    return 0.5 * (1.0 + special.cos(convert.constant(math.pi, turns.dtype) * turns))


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: Any = 0.0, name: str | None = None
) -> Tensor:
    """Half a cosine wave from `learning_rate` down to `alpha * learning_rate`.

    Args:
        learning_rate: the first rate, a float scalar.
        global_step: the step.
        decay_steps: after how many steps the lowest rate is reached; it then stays.
        alpha: the lowest rate as a fraction of the first.
        name: the name of the result.

    Raises:
        ValueError: `global_step` is None.

    Source: Loshchilov and Hutter 2016, equation 5, without restarts.
    """
    with scopes.name_scope(name, "CosineDecay", [learning_rate, global_step]):
        rate, steps, step = _start("cosine decay", learning_rate, decay_steps, global_step)
        fraction = (1 - alpha) * _cosine(elementwise.minimum(step, steps) / steps) + alpha
        return elementwise.multiply(rate, fraction)


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Tensor:
    """Cosine decay that restarts again and again ("SGDR").

    Args:
        learning_rate: the first rate, a float scalar.
        global_step: the step.
        first_decay_steps: the length of the first period.
        t_mul: how much longer each period is than the one before.
        m_mul: by what the rate at each restart is multiplied.
        alpha: the lowest rate as a fraction of the first.
        name: the name of the result.

    Raises:
        ValueError: `global_step` is None.

    Source: Loshchilov and Hutter 2016, section 3.
    """
    with scopes.name_scope(name, "SGDRDecay", [learning_rate, global_step]) as scope:
        rate, steps, lowest, growth, factor, step = _start(
            "cosine decay restarts", learning_rate, first_decay_steps, alpha, t_mul, m_mul, global_step
        )
        periods = step / steps  # in lengths of the first period
        # Period i begins at (1 - growth**i) / (1 - growth), a geometric sum, or at i if all are equally long.
        equal = logic.equal(growth, 1.0)
        safe = logic.select(equal, growth + 1.0, growth)
        geometric = elementwise.floor(special.log(1.0 - periods * (1.0 - safe)) / special.log(safe))
        restarts = logic.select(equal, elementwise.floor(periods), geometric)
        begin = logic.select(equal, restarts, (1.0 - special.pow(safe, restarts)) / (1.0 - safe))
        completed = (periods - begin) / special.pow(growth, restarts)
        height = special.pow(factor, restarts)
        fraction = (1 - lowest) * (height * _cosine(completed)) + lowest
        return elementwise.multiply(rate, fraction, name=scope)


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """A falling line times a cosine: `learning_rate * ((alpha + line) * cosine + beta)`.

    Args:
        learning_rate: the first rate, a float scalar.
        global_step: the step.
        decay_steps: after how many steps the line is 0; the rate then stays.
        num_periods: how many periods the cosine has.
        alpha: added to the line.
        beta: added at the end.
        name: the name of the result.

    Raises:
        ValueError: `global_step` is None.

    Source: Bello et al. 2017, "Neural optimizer search", section 5.
    """
    with scopes.name_scope(name, "LinearCosineDecay", [learning_rate, global_step]) as scope:
        rate, steps, periods, level, rest, step = _start(
            "linear cosine decay", learning_rate, decay_steps, num_periods, alpha, beta, global_step
        )
        step = elementwise.minimum(step, steps)
        line = (steps - step) / steps
        fraction = step / steps
        cosine = _cosine(2.0 * periods * fraction)
        return elementwise.multiply(rate, (level + line) * cosine + rest, name=scope)


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """`linear_cosine_decay` with a noisy line.

    The noise is normal, with the variance `initial_variance / (1 + step)**variance_decay`.

    Args:
        learning_rate: the first rate, a float scalar.
        global_step: the step.
        decay_steps: after how many steps the line is 0; the rate then stays.
        initial_variance: the noise's variance at step 0.
        variance_decay: how fast it falls.
        num_periods: how many periods the cosine has.
        alpha: added to the line.
        beta: added at the end.
        name: the name of the result.

    Raises:
        ValueError: `global_step` is None.

    Source: Bello et al. 2017, "Neural optimizer search", section 5.
    """
    with scopes.name_scope(name, "NoisyLinearCosineDecay", [learning_rate, global_step]) as scope:
        rate, steps, first_variance, decay, periods, level, rest, step = _start(
            "noisy linear cosine decay",
            learning_rate,
            decay_steps,
            initial_variance,
            variance_decay,
            num_periods,
            alpha,
            beta,
            global_step,
        )
        step = elementwise.minimum(step, steps)
        line = (steps - step) / steps
        variance = first_variance / special.pow(1.0 + step, decay)
        line += random.random_normal(line.shape, stddev=special.sqrt(variance), dtype=rate.dtype)
        fraction = step / steps
        cosine = _cosine(2.0 * periods * fraction)
        return elementwise.multiply(rate, (level + line) * cosine + rest, name=scope)
