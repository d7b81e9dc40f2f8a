"""The stages of a native plan as text: its groups, the loop nests that they are, and the code of their kernels.

A value is shown by its number in the listing of the Program (`program.show`), also where it is an address:
`%5[10 i + j]` is the element of that storage at that place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tahr.backends.native import blocks, combining, engine
from tahr.backends.native.blocks import BlockLoop
from tahr.backends.native.calls import Bind, Jump, Known, Mark, Partial, Ref, Seat
from tahr.backends.native.kernel import Kernel, with_parts
from tahr.backends.native.nests import Access, Extent, Nest, Position, Reduce, Source
from tahr.backends.native.passes import Passes
from tahr.backends.native.plan import NativePlan, Segment
from tahr.backends.native.strips import StripLoop
from tahr.backends.native.tiles import Loop
from tahr.core import scalar
from tahr.core.scalar import Scalar
from tahr.core.views import dense_strides
from tahr.program import show
from tahr.program.node import Node, Value

# A part of an expression gets a name and a line of its own where its text is longer than this.
MOST_LETTERS = 60

Numbers = Mapping[Node, int]


# ---------------------------------------------------------------- kernels


@dataclass(frozen=True)
class Listing:
    """One kernel.

    Attributes:
        kernel: it.
        uses: the calls that need it: their titles.
    """

    kernel: Kernel
    uses: tuple[str, ...]

    @property
    def emitted(self) -> str:
        """The LLVM IR as the emitter wrote it."""
        return self.kernel.text

    @property
    def optimized(self) -> str:
        """The LLVM IR after LLVM's passes."""
        return engine.ir_of(self.kernel)

    @property
    def assembly(self) -> str:
        """The machine code for this processor."""
        return engine.assembly_of(self.kernel)


def kernels(plan: NativePlan, known: Known) -> list[Listing]:
    """The kernels of a plan for exact sizes and the parts of kernels, each once, in order."""
    found: dict[str, Kernel] = {}
    uses: dict[str, dict[str, None]] = {}
    for segment in plan.segments:
        for call in segment.calls:
            for step in call.bind(known)[0]:
                if isinstance(step, (Bind, Seat)):
                    for kernel in with_parts([step.kernel]):
                        found.setdefault(kernel.text, kernel)
                        uses.setdefault(kernel.text, {})[call.title] = None
    return [Listing(kernel, tuple(uses[text])) for text, kernel in found.items()]


# ---------------------------------------------------------------- groups


class _Numbers(dict[Node, int]):
    """The numbers of nodes; a new one gets the next."""

    def __missing__(self, node: Node) -> int:
        self[node] = found = len(self) + 1
        return found


def numbers_of(plan: NativePlan) -> Numbers:
    """The numbers of a plan's nodes: those of its Program, and behind them those of loops' bodies and of copies."""
    return _Numbers(show.numbered(plan.program))


def groups(plan: NativePlan, numbers: Numbers) -> str:
    """Segments with their groups, and the nodes in each; between them what NumPy computes."""
    lines: list[str] = []
    for item in plan.items:
        if not isinstance(item, Segment):
            lines += [f"NumPy, because: {item.reason}", f"  {show.line(item.node, numbers)}"]
            continue
        lines.append(f"segment {plan.segments.index(item) + 1}")
        for i, call in enumerate(item.calls, 1):
            lines.append(f"  group {i}: {call.title}")
            lines += [f"    {show.line(node, numbers)}" for node in call.nodes]
    return "\n".join(lines)


# ---------------------------------------------------------------- nests


def nests(plan: NativePlan, known: Known, numbers: Numbers) -> str:
    """What each group's kernel does: loop nests as loops, others by their name and size; and where steps jump."""
    parts: list[str] = []
    labels: dict[Mark, str] = {}
    for segment in plan.segments:
        for call in segment.calls:
            steps = list(call.bind(known)[0])
            lines: list[str] = []
            first = steps[0] if steps else None
            if call.loop is not None and isinstance(first, Bind):
                lines = _Nest(call.loop, first.buffers, numbers).lines()
                del steps[0]
            lines += [_step(step, numbers, labels) for step in steps]
            parts.append("\n".join([f"# {call.title}", *lines]))
    return "\n\n".join(parts)


def _step(step: Bind | Mark | Jump | Seat, numbers: Numbers, labels: dict[Mark, str]) -> str:
    """A step that is not shown as loops."""
    if isinstance(step, (Mark, Jump)):
        mark = step if isinstance(step, Mark) else step.to
        label = labels.setdefault(mark, f"place {len(labels) + 1}")
        if isinstance(step, Mark):
            return f"{label}:"
        return f"go to {label}" + ("" if step.unless is None else f" unless {_buffer(step.unless, numbers)}")
    buffers = ", ".join(_buffer(ref, numbers) for ref in step.buffers)
    if isinstance(step, Seat):
        return f"{step.kernel.title}: where {show.name(step.value, numbers)} lies, from [{buffers}]"
    count = step.bound.tiles
    return f"{step.kernel.title}: {count} tile{'' if count == 1 else 's'} of [{buffers}]"


def _buffer(ref: Ref, numbers: Numbers) -> str:
    storage = ref.storage
    if isinstance(storage, Partial):
        return f"partial {show.name(storage.result, numbers)}"
    return show.name(storage, numbers) if isinstance(storage, Value) else type(storage).__name__.lower()


class _Nest:
    """Writes one nest as loops."""

    def __init__(self, loop: Loop, buffers: Sequence[Ref], numbers: Numbers) -> None:
        self.nest: Nest = loop.nest
        self.tile = loop.tile
        self._level = Passes(self.nest).level
        self.note = "written out, so that the loop over rows is the inner one" if loop.is_narrow else ""
        if isinstance(loop, StripLoop):
            self.note = f"inside of it a loop over a strip of up to {loop.strip} rows"
        if isinstance(loop, BlockLoop):
            self.note = f"what lies across is turned in blocks of up to {blocks.ROWS} rows"
        memory = [a for a in self.nest.inputs if isinstance(a, Access)]
        self.buffers = [_buffer(ref, numbers) for ref in buffers]
        self.targets = self.buffers[len(memory) :]
        names = iter(self.buffers)
        rows, columns = len(self.nest.rows), len(self.nest.columns)
        self.indices = [*_indices("i", rows), *_indices("j", columns)]
        self.leaves = [self._source(a, names) for a in self.nest.inputs]
        self.leaves += [f"r{j}" for j in range(len(self.nest.reduces))]
        written_out = self.indices[rows:]
        self.expressions = _Algebra(self.leaves, loop.kept, f"[{', '.join(written_out)}]", loop.is_narrow)

    def lines(self) -> list[str]:
        """The loops."""
        nest = self.nest
        rows = list(zip(self.indices, nest.rows))
        columns = list(zip(self.indices[len(rows) :], nest.columns))
        tiled = f"a tile has {self.tile} elements"
        lines = ["  " * i + _loop(name, size, "" if i else tiled) for i, (name, size) in enumerate(rows)]
        body: list[str] = []
        levels = [self._level(r.what) for r in nest.reduces] + [self._level(e) for e, _ in nest.stores]
        for level in range(max(levels, default=0) + 1):
            body += self._statements(level, [], on_columns=False)
            reduces = [j for j, r in enumerate(nest.reduces) if self._level(r.what) == level]
            inner = self._statements(level, reduces, on_columns=True)
            if inner:
                body += [self._start(j) for j in reduces if nest.reduces[j].over == "row"]
                names, sizes = ", ".join(n for n, _ in columns), " * ".join(str(s) for _, s in columns)
                body += [_loop(names, sizes, self.note if rows else tiled), *(f"  {line}" for line in inner)]
        return lines + ["  " * len(rows) + line for line in body]

    # ------------------------------------------------------------ parts

    def _statements(self, level: int, reduces: Sequence[int], on_columns: bool) -> list[str]:
        """What is computed in one pass: in the loop over columns, or before it."""
        nest = self.nest
        stores = self._stores(level, on_columns)
        patterns = [self._accumulate(j, nest.reduces[j]) for j in reduces]
        patterns += [f"{self._target(i)} = {{}}" for i in stores]
        values = [nest.reduces[j].what for j in reduces] + [nest.stores[i][0] for i in stores]
        return self.expressions.statements(patterns, values)

    def _start(self, j: int) -> str:
        reduce = self.nest.reduces[j]
        return f"r{j} = {combining.identity(reduce.combine, reduce.accumulator)}"

    def _stores(self, level: int, on_columns: bool) -> list[int]:
        return [
            i
            for i, (e, access) in enumerate(self.nest.stores)
            if self._level(e) == level and self._is_wide(access) == on_columns
        ]

    def _is_wide(self, access: Access) -> bool:
        """Whether a store goes to every column of a row."""
        return any(s != 0 for s in access.strides[len(self.nest.rows) :]) or not self.nest.rows

    def _accumulate(self, j: int, reduce: Reduce) -> str:
        target = f"r{j}"
        if reduce.over != "row":
            place = self.targets[len(self.nest.stores) + self.nest.leaving.index(j)]
            strides = (0,) * len(self.nest.rows) + dense_strides(self.nest.columns)
            dense = Access(reduce.dtype, strides)
            target = self._element(place, dense) if reduce.over == "column" else place
        sign = {"add": "+=", "multiply": "*=", "and": "&=", "or": "|="}.get(reduce.combine)
        return f"{target} {sign} {{}}" if sign else f"{target} = {reduce.combine}({target}, {{}})"

    def _source(self, source: Source, names: Iterator[str]) -> str:
        if isinstance(source, Position):
            return self.indices[source.axis]
        if isinstance(source, Extent):
            return str(source.count) if isinstance(source.count, int) else f"({source.count})"
        return self._element(next(names), source)

    def _target(self, store: int) -> str:
        return self._element(self.targets[store], self.nest.stores[store][1])

    def _element(self, name: str, access: Access) -> str:
        terms = [] if access.offset == 0 else [str(access.offset)]
        for index, stride in zip(self.indices, access.strides):
            if stride != 0:
                terms.append(index if stride == 1 else f"{stride} {index}")
        return f"{name}[{' + '.join(terms) or '0'}]"


def _indices(letter: str, count: int) -> list[str]:
    return [letter] if count == 1 else [f"{letter}{n}" for n in range(count)]


def _loop(name: str, size: object, note: str) -> str:
    return f"for {name} in 0..{size}:" + (f"   # {note}" if note else "")


# ---------------------------------------------------------------- expressions

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "quotient": "//",
    "remainder": "%",
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shift_left": "<<",
    "shift_right": ">>",
}


class _Algebra:
    """Expressions as text; what is used twice gets a name.

    Args:
        leaves: the leaves' names.
        kept: expressions that are computed in one pass over a row and kept for later ones.
        place: where each keeps its elements: "[j]".
        keeps_all: whether later passes find everything that earlier ones computed.
    """

    def __init__(self, leaves: list[str], kept: Sequence[Scalar], place: str, keeps_all: bool) -> None:
        self._leaves = leaves
        self._count = 0
        self._to_keep = kept
        self._place = place
        self._keeps_all = keeps_all
        self._kept: dict[Scalar, str] = {}

    def statements(self, patterns: Sequence[str], values: Sequence[Scalar]) -> list[str]:
        """Each pattern with its value filled in, behind what they share."""
        order = scalar.ordered(values)
        uses: dict[Scalar, int] = {}
        for used in [*(a for e in order for a in e.args), *values]:
            uses[used] = uses.get(used, 0) + 1
        names = dict(self._kept)
        lines: list[str] = []
        for e in scalar.ordered(values, known=names):
            text = self._text(e, names)
            keeps = e in self._to_keep
            if e.args and (keeps or uses[e] > 1 or len(text) > MOST_LETTERS):
                names[e] = f"k{len(self._kept)}{self._place}" if keeps else f"t{self._count}"
                self._count += not keeps
                lines.append(f"{names[e]} = {text}")
                if keeps or self._keeps_all:
                    self._kept[e] = names[e]
        return [*lines, *(p.replace("{}", self._text(e, names)) for p, e in zip(patterns, values))]

    def _text(self, e: Scalar, names: Mapping[Scalar, str], within: bool = False) -> str:
        if e in names:
            return names[e]
        if e.op == "leaf":
            return str(self._leaves[e.value])
        if e.op == "constant":
            return f"{e.value:.9g}" if isinstance(e.value, float) else str(e.value)

        def inner(a: Scalar) -> str:
            return self._text(a, names, within=True)

        if e.op in _INFIX:
            text = f" {_INFIX[e.op]} ".join(map(inner, e.args))
        elif e.op in ("fma", "muladd"):
            text = f"{inner(e.args[0])} * {inner(e.args[1])} + {inner(e.args[2])}"
        elif e.op == "neg":
            return f"-{inner(e.args[0])}"
        else:
            name = {"convert": "", "bitcast": "bits as ", "relabel": "as "}.get(e.op)
            name = e.op if name is None else name + str(e.dtype.name)
            return f"{name}({', '.join(self._text(a, names) for a in e.args)})"
        return f"({text})" if within else text
