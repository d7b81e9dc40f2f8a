"""The programs of loops and branches, and what is found of a program: what of it is native, beside what `roles` knows.

`regions.py` finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tahr.backends.native import list_buffers
from tahr.backends.native.own_lists import with_own_lists
from tahr.backends.native.sums import Shares, Sum, narrowed
from tahr.core.opdef import known_int
from tahr.core.shapes import Spec
from tahr.core.sizes import Dim
from tahr.ops import control_flow, elementwise
from tahr.program.effects import SlotKey
from tahr.program.extract import counters_within, extract, result_key
from tahr.program.function import Function
from tahr.program.node import Node, Program, Value
from tahr.program.passes import pipeline

REGIONS = {control_flow.While.name: ("cond", "body"), control_flow.If.name: ("then_branch", "else_branch")}


class Unfit(Exception):
    """Why a node cannot be native."""


@dataclass(eq=False)
class Region:
    """A loop's condition or body, or a branch.

    Attributes:
        program: what it computes, given the loop's variables and then what it captures.
        results: its results, of the program's outputs.
        places: for each captured input which of the node's inputs it is.
        found: what is native in it.
        lookups: its values that are rows of a table around it.
    """

    program: Program
    results: list[Value]
    places: tuple[int, ...]
    found: Found
    lookups: frozenset[Value] = frozenset()

    @property
    def variables(self) -> tuple[Value, ...]:
        """The program's inputs that are the loop's variables."""
        return tuple(self.program.inputs[: len(self.program.inputs) - len(self.places)])

    @property
    def captures(self) -> tuple[Value, ...]:
        """The program's inputs that are captured."""
        return tuple(self.program.inputs[len(self.variables) :])


@dataclass(eq=False)
class Loop:
    """A native loop.

    Attributes:
        inputs: its variables' first values and what it captures: the node's inputs, and what is computed ahead of it.
        test, body: its condition and its body.
        adopted: the places of its variables that are lists, and are changed where they lie.
        sums: the variables that are computed behind it.
        shares: the lists that are.
        kept: of how many iterations the factors of sums are kept.
        is_bounded: whether there are no more iterations than that.
    """

    inputs: tuple[Value, ...]
    test: Region
    body: Region
    adopted: frozenset[int]
    sums: Sequence[Sum]
    shares: Sequence[Shares]
    kept: Dim
    is_bounded: bool


@dataclass(eq=False)
class Found:
    """What of a program is native, beside what `roles` knows.

    Attributes:
        loops: the loops.
        branches: the conditionals: for each what is computed where its predicate holds, and where not.
        lists: what is known of each list.
        nodes: the loops, the conditionals, and the nodes that make, read and change lists.
        reasons: why other such nodes are the host's.
        written: the lists by which whole families of versions begin, of which rows are read as copies: a row of
            some version is changed, or what is read may be handed to Python.
        filled_first: the lists without items that get their storage, full of zeros, before a loop has them.
        optional: for lists of at most one item what that is. A branch gives them to what is behind it, for its
            gradient, where a branch of the same predicate takes the item out. They have no buffers: the item lies
            by itself.
        unread: those lists among a region's inputs whose items nobody reads, here or elsewhere: they are not kept.
    """

    loops: dict[Node, Loop] = field(default_factory=dict[Node, Loop])
    branches: dict[Node, tuple[Region, Region]] = field(default_factory=dict[Node, "tuple[Region, Region]"])
    lists: dict[Value, list_buffers.Shape] = field(default_factory=dict[Value, list_buffers.Shape])
    nodes: set[Node] = field(default_factory=set[Node])
    reasons: dict[Node, str] = field(default_factory=dict[Node, str])
    written: set[Value] = field(default_factory=set[Value])
    filled_first: set[Value] = field(default_factory=set[Value])
    optional: dict[Value, Spec] = field(default_factory=dict[Value, Spec])
    unread: set[Value] = field(default_factory=set[Value])


def program_of(node: Node, name: str) -> Region:
    """The program of a loop's condition or body or of a branch, for what is known of its inputs."""
    function: Function = node.attrs[name][0]
    places: tuple[int, ...] = node.attrs[name][1]
    variables = node.outputs
    if node.opdef is control_flow.If:
        variables, places = (), tuple(p + 1 for p in places)  # behind the predicate
    specs = [v.spec for v in variables]
    if name == "body":
        within = counters_within(node.attrs, [v.spec for v in node.inputs])
        specs = [s._replace(within=w) for s, w in zip(specs, within)]
    specs += [node.inputs[p].spec for p in places]
    stage = extract(function, dict(zip(function.keys, specs)), frozenset(), frozenset())
    if not stage.is_last or stage.blocking:
        raise Unfit("its shapes are data")
    program = with_own_lists(pipeline.for_native(pipeline.for_numpy(stage.program)))
    found = dict(zip(stage.outputs, program.outputs))
    results = [found[result_key(function, i)] for i in range(len(function.outputs))]
    return Region(program, results, places, Found())


def has_regions(node: Node) -> bool:
    """Whether a node is a loop or a conditional."""
    return node.opdef.name in REGIONS


def writes(node: Node, *names: str) -> frozenset[SlotKey]:
    """The variables that a loop or conditional may change, or some of its regions."""
    functions: list[Function] = [node.attrs[name][0] for name in names or REGIONS[node.opdef.name]]
    return frozenset[SlotKey]().union(*(function.writes for function in functions))


def counts(body: Region, place: int, by: int = 1) -> bool:
    """Whether a variable changes by one in each iteration."""
    result = body.results[place].node
    variable = body.program.inputs[place]
    if variable not in result.inputs or len(result.inputs) != 2:
        return False
    other = known_int(result.inputs[1].spec if result.inputs[0] is variable else result.inputs[0].spec)
    if result.opdef is elementwise.AddV2:
        return other == by
    return result.opdef is elementwise.Sub and result.inputs[0] is variable and other == -by


def without(
    body: Region, sums: Sequence[Sum], shares: Sequence[Shares]
) -> tuple[Region, Sequence[Sum], Sequence[Shares]]:
    """A body that gives the factors of products instead of sums of them, and leaves lists as they are; and both."""
    if not sums:
        return body, sums, shares
    dropped = {body.results[each.place] for each in (*sums, *shares)}
    kept = [v for v in body.program.outputs if v not in dropped]
    factors = list(dict.fromkeys(v for s in sums for v in (s.a, s.b)))
    program = Program(body.program.builder, body.program.inputs, [*kept, *factors], body.program.roots)
    narrow = narrowed(program)
    instead = dict(zip(program.outputs, narrow.outputs))
    results = [instead.get(v, v) for v in body.results]
    for each in shares:
        results[each.place] = program.inputs[each.place]
    found = {s: replace(s, a=instead[s.a], b=instead[s.b]) for s in sums}
    shares = [replace(x, terms=[replace(t, sum=found[t.sum]) for t in x.terms]) for x in shares]
    return replace(body, program=narrow, results=results), tuple(found.values()), shares
