"""What a session makes of a run before it runs."""

# pyright: reportPrivateUsage=false
# It looks into a session as no other module may: what a run would do, without doing it.

from __future__ import annotations

from typing import Any

from tahr.plan.stages import first_stage
from tahr.program.node import Program
from tahr.program.passes import pipeline
from tahr.session.fetches import feed_value
from tahr.session.session import BaseSession


def program_of(session: BaseSession, fetches: Any, feed_dict: Any = None) -> Program:
    """The Program, after all passes, that `session.run(fetches, feed_dict)` begins with; nothing is run.

    Where shapes depend on data, the Programs of later stages exist only once the run is there.

    Args:
        session: the session.
        fetches: as in `run`.
        feed_dict: as in `run`; only dtypes and shapes count.

    Raises:
        TypeError, ValueError: a fetch or feed does not fit.
    """
    keys, given = session._parse_feeds(feed_dict or {})
    routine = session._routine(fetches, keys)
    values = [feed_value(tensor, value) for tensor, value in zip(routine.feeds, given)]
    return first_stage(routine.function, values, pipeline.for_numpy).plan.program
