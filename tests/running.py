"""Runs of fetches, each in a session of its own."""

from __future__ import annotations

from typing import Any

import tahr as tf


def run(fetches: Any, feeds: Any = None) -> Any:
    """The values of fetches."""
    with tf.Session() as session:
        return session.run(fetches, feeds)


def run_initialized(fetches: Any, feeds: Any = None) -> Any:
    """The values of fetches, behind the initialization of all variables."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feeds)
