"""Dimensions: integers, sizes that depend on what is fed, and sizes nobody knows.

A shape rule is ordinary arithmetic on dimensions. Three kinds of them flow through it:

* `int`: known now;
* `Size`: an integer polynomial over symbols such as the batch size `s0`, known when data is fed. Symbols stand
  for sizes of at least 2, since 0 and 1 are classed apart (broadcasting depends on them);
* `UNKNOWN`: nothing is known; it absorbs whatever it meets, so no rule needs a special case for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Union

Dim = Union[int, "Size", "Unknown"]
Known = Union[int, "Size"]


class Unknown:
    """The dimension of which nothing is known. There is one instance, `UNKNOWN`."""

    __slots__ = ()

    def _absorb(self, other: Any = None) -> Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _absorb
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __neg__ = _absorb

    def __repr__(self) -> str:
        return "?"

    def __reduce__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


class Symbol:
    """An atom of a `Size`: the size of one dimension of what is fed, at least 2."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The size this symbol stands for."""
        return sizes[self.name]

    @property
    def least(self) -> int | None:
        """A lower bound: 2."""
        return 2


class Apply:
    """An atom that is a function of sizes without a polynomial form: `//`, `%`, max, min or broadcast."""

    __slots__ = ("args", "function")

    def __init__(self, function: str, *args: Known) -> None:
        self.function = function
        self.args = args

    def __repr__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.args))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apply) and (other.function, other.args) == (self.function, self.args)

    def __hash__(self) -> int:
        return hash((self.function, self.args))

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The function's value."""
        return _FUNCTIONS[self.function](*(evaluate(a, sizes) for a in self.args))

    @property
    def least(self) -> int | None:
        """A lower bound, or None."""
        bounds = [least(a) for a in self.args]
        if self.function == "max":
            known = [b for b in bounds if b is not None]
            return max(known) if known else None
        if self.function in ("min", "broadcast"):
            known = [b for b in bounds if b is not None]
            return min(known) if len(known) == len(bounds) else None
        if self.function == "floordiv" and bounds[0] is not None and isinstance(self.args[1], int):
            return bounds[0] // self.args[1] if self.args[1] > 0 else None
        return 0 if self.function == "mod" else None


def _broadcast_sizes(a: int, b: int) -> int:
    return b if a == 1 else a


_FUNCTIONS: dict[str, Callable[..., int]] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "max": max,
    "min": min,
    "broadcast": _broadcast_sizes,
}

Monomial = tuple[Symbol | Apply, ...]


class Size:
    """An integer polynomial over atoms, in a normal form: equal polynomials compare and hash equal."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = terms
        self._hash = hash(frozenset(terms.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and other.terms == self.terms

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Unknown):
            return UNKNOWN
        terms = dict(self.terms)
        for monomial, factor in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return _normal(terms)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return _normal({m: -f for m, f in self.terms.items()})

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Unknown):
            return UNKNOWN
        if not isinstance(other, Size):
            return self._times(int(other))
        product: dict[Monomial, int] = {}
        for m1, f1 in self.terms.items():
            for m2, f2 in other.terms.items():
                monomial = tuple(sorted(m1 + m2, key=repr))
                product[monomial] = product.get(monomial, 0) + f1 * f2
        return _normal(product)

    __rmul__ = __mul__

    def _times(self, factor: int) -> Known:
        if factor in (0, 1):
            return self if factor else 0
        return Size({monomial: f * factor for monomial, f in self.terms.items()})

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, Unknown):
            return UNKNOWN
        exact = _exact_quotient(self, other)
        return _atom(Apply("floordiv", self, other)) if exact is None else exact

    def __rfloordiv__(self, other: Any) -> Any:
        return UNKNOWN if isinstance(other, Unknown) else _atom(Apply("floordiv", other, self))

    def __mod__(self, other: Any) -> Any:
        if isinstance(other, Unknown):
            return UNKNOWN
        return 0 if _exact_quotient(self, other) is not None else _atom(Apply("mod", self, other))

    def __rmod__(self, other: Any) -> Any:
        return UNKNOWN if isinstance(other, Unknown) else _atom(Apply("mod", other, self))

    def __repr__(self) -> str:
        parts: list[str] = []
        for monomial, factor in sorted(self.terms.items(), key=repr, reverse=True):
            name = "*".join(map(repr, monomial))
            parts.append(str(factor) if not name else name if factor == 1 else f"{factor}*{name}")
        return "+".join(parts).replace("+-", "-")


def symbol(name: str) -> Size:
    """The size named `name`, which is at least 2."""
    return _atom(Symbol(name))


def name_of(dim: Dim) -> str | None:
    """The name of a dimension that is one symbol."""
    if isinstance(dim, Size) and len(dim.terms) == 1:
        ((monomial, factor),) = dim.terms.items()
        if factor == 1 and len(monomial) == 1 and isinstance(monomial[0], Symbol):
            return monomial[0].name
    return None


def _atom(atom: Symbol | Apply) -> Size:
    return Size({(atom,): 1})


def _terms(value: Any) -> Mapping[Monomial, int]:
    return value.terms if isinstance(value, Size) else {(): int(value)}


def _normal(terms: dict[Monomial, int]) -> Known:
    terms = {m: f for m, f in terms.items() if f}
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return Size(terms)


def _exact_quotient(a: Size, b: Any) -> Known | None:
    """a / b where it is a polynomial: every term divided by an integer or by a single monomial."""
    if isinstance(b, Size) and len(b.terms) != 1:
        return 1 if a == b else None
    ((divisor, factor),) = _terms(b).items()
    if factor == 0:
        return None
    quotient: dict[Monomial, int] = {}
    for monomial, f in a.terms.items():
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if f % factor:
            return None
        quotient[tuple(rest)] = f // factor
    return _normal(quotient)


def least(dim: Dim) -> int | None:
    """A lower bound of a dimension, or None where there is none to be had."""
    if isinstance(dim, int):
        return dim
    if isinstance(dim, Unknown):
        return None
    total = 0
    for monomial, factor in dim.terms.items():
        bound = factor
        for atom in monomial:
            lowest = atom.least
            if lowest is None or lowest < 0 or factor < 0:
                return None
            bound *= lowest
        total += bound
    return total


def surely_equal(a: Dim, b: Dim) -> bool:
    """Whether two dimensions are known to be the same. UNKNOWN equals nothing, not even itself."""
    return not isinstance(a, Unknown) and a == b


def surely_at_most(a: Dim, b: Dim) -> bool:
    """Whether a dimension is known to be at most another."""
    bound = least(b - a)
    return bound is not None and bound >= 0


def surely_above_one(dim: Dim) -> bool:
    """Whether a dimension is known to be at least 2, so that it never broadcasts."""
    bound = least(dim)
    return bound is not None and bound >= 2


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two dimensions."""
    return _extreme("max", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two dimensions."""
    return _extreme("min", a, b)


def _extreme(function: str, a: Dim, b: Dim) -> Dim:
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return UNKNOWN
    difference = a - b
    lowest, highest = least(difference), least(-difference)
    if lowest is not None and lowest >= 0:
        return a if function == "max" else b
    if highest is not None and highest >= 0:
        return b if function == "max" else a
    return _atom(Apply(function, a, b))


def broadcast(a: Dim, b: Dim) -> Dim:
    """The size of a dimension that two sizes broadcast to.

    Raises:
        ValueError: where the two surely differ and neither is 1.
    """
    if a is b or surely_equal(a, b):
        return a
    if a == 1:
        return b
    if b == 1:
        return a
    # Whoever is surely not 1 decides: the other is either equal to it or 1.
    if isinstance(a, int) and isinstance(b, int):
        raise ValueError(f"{a} and {b} do not broadcast")
    note_equal(a, b)
    if isinstance(a, int) or (surely_above_one(a) and not isinstance(b, int)):
        return a
    if isinstance(b, int) or surely_above_one(b):
        return b
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return UNKNOWN
    return _atom(Apply("broadcast", a, b))


_demanded: ContextVar[set[int] | None] = ContextVar("demanded", default=None)


@contextmanager
def demands() -> Generator[set[int]]:
    """Collects the integers that symbols must be equal to, by what is inferred meanwhile."""
    found: set[int] = set()
    token = _demanded.set(found)
    try:
        yield found
    finally:
        _demanded.reset(token)


def note_equal(a: Dim, b: Dim) -> None:
    """Notes that two sizes must be the same, for `demands`."""
    found = _demanded.get()
    if found is None:
        return
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int) and name_of(other) is not None:
            found.add(one)


def evaluate(dim: Known, sizes: Mapping[str, int]) -> int:
    """The value of a dimension for given values of the symbols."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, factor in dim.terms.items():
        for atom in monomial:
            factor *= atom.evaluate(sizes)
        total += factor
    return total
