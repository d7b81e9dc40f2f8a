"""Parts of programs with loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tahr as tf


def with_gradients(y: Any, *xs: Any) -> list[Any]:
    """A result, and the gradients of the sum of its squares."""
    return [y, *tf.gradients(tf.reduce_sum(y * y), list(xs))]


def repeated(count: Any, step: Callable[[Any, Any], Any], first: Any) -> Any:
    """What `count` steps make of a value."""
    return tf.while_loop(lambda i, _: i < count, lambda i, h: (i + 1, step(i, h)), [0, first])[1]
