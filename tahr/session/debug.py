"""Every stage of a run's compilation, from the graph's operations to machine code, for people."""

# pyright: reportPrivateUsage=false
# It looks into a session as no other module may.

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tahr.backends import costs
from tahr.backends.native import listing, planner, target
from tahr.backends.native.plan import Unplannable
from tahr.core import scopes
from tahr.plan.stages import first_program
from tahr.program import show
from tahr.program.passes import pipeline
from tahr.session.default import get_default_session
from tahr.session.explain import function_of
from tahr.session.session import BaseSession, Session


@dataclass(frozen=True)
class Stages:
    """What `ir` gives; as text it is all of the stages.

    Attributes:
        program: the Program as it was extracted from the graph.
        passes: the Program after each pass, by the pass's name, in order; the native backend's come behind "native: ".
        groups: the nodes that become one kernel each, in their segments, and what NumPy computes.
        nests: each group as loops.
        kernels: the kernels; each has `emitted` and `optimized` LLVM IR, and `assembly`.
    """

    program: str
    passes: Mapping[str, str]
    groups: str
    nests: str
    kernels: Sequence[Any]

    @functools.cached_property
    def llvm(self) -> str:
        """The LLVM IR of the kernels as it is emitted."""
        return self._code("emitted")

    @functools.cached_property
    def optimized(self) -> str:
        """The LLVM IR of the kernels after LLVM's passes."""
        return self._code("optimized")

    @functools.cached_property
    def assembly(self) -> str:
        """The machine code of the kernels for this processor."""
        return self._code("assembly")

    def _code(self, what: str) -> str:
        return "\n".join(f"; {listing.kernel.title}\n{getattr(listing, what)}" for listing in self.kernels)

    def __str__(self) -> str:
        parts = [("the Program, as extracted from the graph", self.program)]
        before = self.program
        for name, text in self.passes.items():
            parts.append((f"after {name}", "unchanged" if text == before else text))
            before = text
        parts += [("groups", self.groups), ("loop nests", self.nests), ("LLVM IR, as emitted", self.llvm)]
        parts += [("LLVM IR, optimized", self.optimized), ("assembly", self.assembly)]
        return "\n\n".join(f"==== {title} ====\n\n{text}" for title, text in parts)


def ir(fetches: Any, feed_dict: Any = None, session: Any = None) -> Stages:
    """Every stage from a run's Program to machine code, as the native backend compiles it; nothing is run.

    Of a program whose shapes depend on data, that is the part that can be compiled before it runs.

    Args:
        fetches: as in `Session.run`.
        feed_dict: as in `Session.run`; only dtypes and shapes count.
        session: whose graph it is; the default session, or else the default graph's.

    Returns:
        The stages as attributes; as text, all of them.

    Raises:
        ImportError: llvmlite is missing.
        TypeError, ValueError: a fetch or feed does not fit.
    """
    complaint = target.complaint()
    if complaint is not None:
        raise ImportError(f"the native backend cannot compile here: {complaint}")
    session = session or get_default_session()
    if session is not None:
        return _stages(session, fetches, feed_dict)
    with_graph = Session(graph=scopes.get_default_graph())
    try:
        return _stages(with_graph, fetches, feed_dict)
    finally:
        with_graph.close()


def _stages(session: BaseSession, fetches: Any, feed_dict: Any) -> Stages:
    function, values = function_of(session, fetches, feed_dict)
    program = first_program(function, values)
    extracted = show.show(program)
    passes: dict[str, str] = {}
    for prefix, order in (("", pipeline.NUMPY), ("native: ", pipeline.NATIVE)):
        for each in order:
            program = each.run(program)
            passes[prefix + each.name] = show.show(program)
    known = costs.known_sizes(program, values)
    try:
        plan = planner.make_plan(program)
    except Unplannable as error:
        return Stages(extracted, passes, f"NumPy computes all of it, because {error}", "", ())
    numbers = listing.numbers_of(plan)
    return Stages(
        extracted,
        passes,
        listing.groups(plan, numbers),
        listing.nests(plan, known, numbers),
        listing.kernels(plan, known),
    )
