"""The steps of a segment in order, where jumps lead, and how long each storage is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tahr.backends.native.calls import (
    Bind,
    Call,
    Jump,
    Known,
    Mark,
    Partial,
    Ref,
    Reserved,
    Running,
    Seat,
    Status,
)
from tahr.program.node import Value

Step = Bind | Jump | Seat
Storage = Value | Partial | Reserved | Running


@dataclass(frozen=True)
class Flow:
    """The steps of a segment for exact sizes.

    Attributes:
        steps: in order.
        calls: for each step the call that it belongs to.
        marks: for each mark the step behind it.
        counts: how many elements of each Partial there are.
    """

    steps: list[Step]
    calls: list[Call]
    marks: dict[Mark, int]
    counts: dict[Partial, int]

    @property
    def seated(self) -> dict[Value, tuple[Ref, ...]]:
        """The values that lie in rows of lists, and the buffers that decide in which."""
        return {step.value: step.buffers for step in self.steps if isinstance(step, Seat)}

    @property
    def has_loops(self) -> bool:
        """Whether steps may run several times."""
        return bool(self._loops())

    def spans(self, outside: set[Value]) -> dict[Storage, tuple[int, int]]:
        """The first and last step that uses each storage, but for those that come from outside.

        What is there before a loop and is used in it is used up to the loop's end. A list that is used in a loop holds
        what earlier iterations put there, and is used from the loop's beginning.
        """
        seated = self.seated
        found: dict[Storage, tuple[int, int]] = {}

        def use(ref: Ref, i: int) -> None:
            storage = ref.storage
            if isinstance(storage, Status) or storage in outside:
                return
            if isinstance(storage, Value) and storage in seated:
                for other in seated[storage]:
                    use(other, i)
                return
            # A position in a random stream is there before the first step; one that runs is read behind the last.
            first = 0 if isinstance(storage, (Reserved, Running)) else i
            last = len(self.steps) if isinstance(storage, Running) else i
            found[storage] = found.get(storage, (first, i))[0], last

        for i, step in enumerate(self.steps):
            for ref in buffers(step):
                use(ref, i)
        listed = {ref.storage for refs in seated.values() for ref in refs}
        for start, end in self._loops():
            for storage, (first, last) in found.items():
                if first < start <= last < end:
                    found[storage] = first, end
                elif storage in listed and start <= first <= end:
                    found[storage] = start, max(last, end)
        return found

    def _loops(self) -> list[tuple[int, int]]:
        """The first and last steps of loops, inner ones first."""
        loops = [
            (self.marks[step.to], i)
            for i, step in enumerate(self.steps)
            if isinstance(step, Jump) and self.marks[step.to] <= i
        ]
        return sorted(loops, key=lambda loop: loop[1] - loop[0])


def buffers(step: Step) -> Sequence[Ref]:
    """The buffers that a step is given; for a Seat, without the places of the table that it changes."""
    if isinstance(step, Jump):
        return () if step.unless is None else (step.unless,)
    return step.buffers


def flow(calls: Iterable[Call], known: Known) -> Flow:
    """The steps of calls for exact sizes."""
    result = Flow([], [], {}, {})
    for call in calls:
        made, partials = call.bind(known)
        result.counts.update(partials)
        for each in made:
            if isinstance(each, Mark):
                result.marks[each] = len(result.steps)
            else:
                result.steps.append(each)
                result.calls.append(call)
    return result


def renamed(step: Step | Mark, rename: Callable[[Ref], Ref]) -> Step | Mark:
    """A step on other buffers."""
    if isinstance(step, Mark):
        return step
    if isinstance(step, Jump):
        return Jump(step.to, None if step.unless is None else rename(step.unless))
    refs = tuple(map(rename, step.buffers))
    if isinstance(step, Seat):
        return Seat(step.kernel, refs, step.sizes, step.value)
    return step._replace(buffers=refs)
