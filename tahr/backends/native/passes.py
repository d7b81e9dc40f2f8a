"""The passes over a row of a nest: which expression belongs to which, and what is kept from one to the next.

There is one for each level of reductions along the row, since what follows from a reduction can only be computed when
the whole row was gone through. What a later pass needs again is computed again, or, if that is dear, kept in scratch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from tahr.backends.native import ir, scalars
from tahr.backends.native.nests import Extent, Nest, Position, Source
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar

# An expression of more nodes than this is kept from one pass over a row to the next; a smaller one is computed again.
DEAR = 8


class Passes:
    """What the expressions of a nest depend on."""

    def __init__(self, nest: Nest) -> None:
        self._nest = nest
        self._split = len(nest.rows)
        self._levels: dict[Scalar, int] = {}
        self._on_columns: dict[Scalar, bool] = {}

    def level(self, e: Scalar) -> int:
        """The pass in which an expression can first be computed."""
        if e not in self._levels:
            for node in scalar.ordered([e], known=self._levels):
                if node.op == "leaf":
                    j = node.value - len(self._nest.inputs)
                    self._levels[node] = 0 if j < 0 else self.level(self._nest.reduces[j].what) + 1
                else:
                    self._levels[node] = max((self._levels[a] for a in node.args), default=0)
        return self._levels[e]

    def on_columns(self, e: Scalar) -> bool:
        """Whether an expression differs between the columns of a row."""
        if e not in self._on_columns:
            inputs = self._nest.inputs
            for node in scalar.ordered([e], known=self._on_columns):
                if node.op == "leaf":
                    found = node.value < len(inputs) and self._input_on_columns(inputs[node.value])
                else:
                    found = any(self._on_columns[a] for a in node.args)
                self._on_columns[node] = found
        return self._on_columns[e]

    def _input_on_columns(self, access: Source) -> bool:
        if isinstance(access, Extent):
            return False
        if isinstance(access, Position):
            return access.axis >= self._split
        return any(s != 0 for s in access.strides[self._split :])

    def is_wide(self, store: int) -> bool:
        """Whether a store goes to every column of a row."""
        expression, access = self._nest.stores[store]
        return any(s != 0 for s in access.strides[self._split :]) or self.on_columns(expression)

    def row_parts(self, roots: Sequence[Scalar]) -> list[Scalar]:
        """The largest parts of expressions that are the same for all columns, constants apart."""
        found = parts(roots, self.on_columns)
        return [e for e in found if not self.on_columns(e) and e.op != "constant"]

    def kept(self) -> dict[Scalar, int]:
        """The expressions that later passes need, and that are dear to compute again.

        Returns:
            For each how many bytes those before it take in a column.
        """
        found: dict[Scalar, int] = {}
        before = 0
        for root in self._nest.expressions:
            last = self.level(root)
            for e in parts([root], lambda e, last=last: e not in found or self.level(e) == last):
                is_wanted = self.level(e) < last and self.on_columns(e) and e.op != "leaf"
                if is_wanted and e not in found and _is_dear(e):
                    found[e] = before
                    before += itemsize(e.dtype)
        return found


def parts(roots: Iterable[Scalar], is_entered: Callable[[Scalar], bool] = lambda e: True) -> Iterator[Scalar]:
    """The nodes of expressions, each once.

    Args:
        roots: the expressions.
        is_entered: whether what a node is made of is looked at too; asked when the caller is done with the node.
    """
    stack = list(roots)
    seen: set[Scalar] = set()
    while stack:
        e = stack.pop()
        if e not in seen:
            seen.add(e)
            yield e
            if is_entered(e):
                stack += e.args


def _is_dear(e: Scalar) -> bool:
    """Whether an expression has many nodes."""
    return sum(1 for _ in itertools.islice(parts([e]), DEAR + 1)) > DEAR


def leaves(roots: Iterable[Scalar]) -> list[Scalar]:
    """The inputs and results of reductions that expressions are made of, in order."""
    return sorted((e for e in parts(roots) if e.op == "leaf"), key=lambda e: e.value)


# ---------------------------------------------------------------- how a value is kept


def itemsize(dtype: DType) -> int:
    """How many bytes a value takes that is computed with."""
    return 4 if dtype in scalar.HALVES else dtype.size


def stash_kind(dtype: DType) -> str:
    """The LLVM type as which an expression is kept."""
    return ir.I8 if dtype.is_bool else scalars.kind(dtype)


def stashed(dtype: DType) -> DType:
    """As what an expression is kept: halves as they are computed."""
    return dtypes.float32 if dtype in scalar.HALVES else dtype
