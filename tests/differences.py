"""Derivatives of any order against finite differences of what a session computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tahr as tf
from tahr.core import convert
from tests.gradient_check import central_difference, chosen_elements, random_cotangent


def check_derivatives(
    y: Any,
    xs: Sequence[Any],
    feeds: Mapping[Any, Any],
    orders: int = 1,
    rtol: float = 1e-6,
    known: Sequence[Any] = (),
) -> None:
    """Compares the derivatives of a tensor, weighted at random, with central differences of those one order lower.

    Args:
        y: a float64 tensor.
        xs: float64 tensors and variables that are fed.
        feeds: the values of `xs` and of whatever else is needed.
        orders: how often to differentiate.
        rtol: the tolerance, relative to the largest element of each derivative or 1.
        known: tensors among `xs` that are not in `feeds`: they are fed what they are.

    Raises:
        AssertionError: a derivative is wrong; the text names its order, x and element.
    """
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    feeds = {t: np.asarray(v) for t, v in feeds.items()}
    feeds.update({t: session.run(t, feeds) for t in known})
    # The sum of y's derivatives by every x: an x that another one depends on stands for itself alone.
    for order in range(1, orders + 1):
        weight = random_cotangent(np.shape(session.run(y, feeds)), np.dtype(np.float64), order)
        gradients = tf.gradients(y, xs, [weight], stop_gradients=xs, unconnected_gradients="zero")
        gradients = [convert.convert_to_tensor(g) for g in gradients]
        for x, gradient in zip(xs, session.run(gradients, feeds)):
            value = np.asarray(feeds[x], np.float64)
            assert np.shape(gradient) == value.shape, (
                f"order {order}, {x.name}: {np.shape(gradient)} for {value.shape}"
            )

            def outputs(moved: Any, x: Any = x, y: Any = y) -> list[Any]:
                return [session.run(y, {**feeds, x: moved})]

            for index in chosen_elements(value):
                expected = central_difference(outputs, value, index, [weight])
                found = np.asarray(gradient)[index]
                scale = max(1.0, float(np.max(np.abs(gradient))), abs(expected))
                assert abs(found - expected) <= rtol * scale, (
                    f"derivative {order} by {x.name}{list(index)} is {found}, differences give {expected}"
                )
        y = tf.concat([tf.reshape(g, [-1]) for g in gradients], 0)
