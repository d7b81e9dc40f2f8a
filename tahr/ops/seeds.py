"""The seeds of operations that draw random numbers, and the streams that they draw from."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tahr.core.scopes import get_default_graph
from tahr.errors import Complaint
from tahr.ops.philox import seed_pair
from tahr.ops.streams import Stream

SEEDS = {"seed": 0, "seed2": 0}
"""The attributes of such an operation."""


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The two seeds of an operation that is about to be made, from the graph's seed and its own.

    Args:
        op_seed: the operation's `seed` argument, or None.

    Returns:
        Both None where neither seed is set. With a graph's seed alone the second is the number of operations
        so far.
    """
    graph = get_default_graph()
    return seed_pair(graph.seed, op_seed, graph.version)


def seeds(op_seed: int | None) -> dict[str, Any]:
    """The seeds as attributes; 0 and 0 ask for a seed from the operating system."""
    seed, seed2 = get_seed(op_seed)
    return {"seed": seed or 0, "seed2": seed2 or 0}


@contextmanager
def drawing(context: Any, seed: int, seed2: int) -> Generator[Stream]:
    """The stream of the operation that runs; its objections to the arguments become complaints."""
    try:
        with context.stream(seed, seed2) as stream:
            yield stream
    except Complaint:
        raise
    except ValueError as error:
        raise Complaint(str(error)) from None
