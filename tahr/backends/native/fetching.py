"""Lists of lines of memory which a product's micro-kernel fetches one by one while it computes a block of C.

They are what the epilogue of that block will read and write. Fetched all at once, they would fill the queue in which
loads wait for memory, and the micro-kernel's own would have to wait behind them. What is small enough to be in the
cache already is not listed: that would take a twentieth of the time.

A list is made of groups of eight lines that are equally far apart: the number of the last group comes first, then for
each the address of its first line and the distance in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tahr.backends.native import ir
from tahr.backends.native.ir import I8, I64, POINTER
from tahr.backends.native.products import loop, up

_GROUP, _LINE = 8, 64
# Blocks of C are listed of so many arrays at most, each of which has no more than 6 groups.
_MOST_ARRAYS, _MOST_GROUPS = 8, 6
# The size of a list.
BYTES = up(16 * (1 + _MOST_ARRAYS * _MOST_GROUPS), _LINE)


def begin(f: ir.Function, list_: str) -> None:
    """Makes a list of what is in the cache anyway: of the list itself."""
    _put(f, list_, "0", list_, "0")


def fill(
    f: ir.Function, list_: str, arrays: str, rows: str | int, columns: str | int, offset: str, leading: str
) -> None:
    """Makes a list of a block of some arrays of the same layout.

    Args:
        arrays: the address of a `table`.
        rows, columns: the size of the block.
        offset: its first element.
        leading: the distance between rows of the arrays, in elements.
    """
    number = f.variable(I64, "0", hint="number")
    with loop(f, 0, f.load(I64, arrays), hint="array") as array:
        entry = f.at(I64, arrays, f.mul(array, 2))
        buffer, size = (f.load(I64, f.at(I64, entry, place)) for place in (1, 2))
        base = f.load(POINTER, f.at(POINTER, "%buffers", buffer))
        step = f.mul(leading, size)
        with (
            loop(f, 0, rows, _GROUP, hint="row") as row,
            loop(f, 0, f.mul(columns, size), _LINE, hint="column") as column,
        ):
            place = f.add(f.mul(f.add(offset, f.mul(row, leading)), size), column)
            listed = f.load(I64, number)
            _put(f, list_, listed, f.at(I8, base, place), step)
            f.store(I64, f.add(listed, 1), number)


def table(name: str, arrays: Sequence[tuple[int, int]]) -> str:
    """A constant that says how many arrays there are, and for each its buffer and the bytes of an element."""
    arrays = arrays[:_MOST_ARRAYS]
    values = [len(arrays), *(value for array in arrays for value in array)]
    return f"@{name} = private constant [{len(values)} x i64] [{', '.join(f'i64 {v}' for v in values)}]"


def last(f: ir.Function, list_: str) -> str:
    """The number of the last group."""
    return f.load(I64, list_)


def fetch_listed(f: ir.Function, list_: str, last: str, index: str) -> None:
    """Fetches a line by its number; where there are not so many, one of the last group again."""
    number = f.minimum(f.value(f"lshr i64 {index}, {_GROUP.bit_length() - 1}"), last)
    group = _group(f, list_, number)
    along = f.mul(f.value(f"and i64 {index}, {_GROUP - 1}"), f.load(I64, f.at(I64, group, 1)))
    fetch(f, f.at(I8, f.load(POINTER, group), along))


def fetch(f: ir.Function, address: str, level: int = 1) -> None:
    """Asks for a line of memory, which need not be there, into the first-level cache or the second."""
    f.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 {4 - level}, i32 1)")


def _put(f: ir.Function, list_: str, number: str, line: str, step: str) -> None:
    """Puts a group into a list, as the last one."""
    group = _group(f, list_, number)
    f.store(I64, number, list_)
    f.store(POINTER, line, group)
    f.store(I64, step, f.at(I64, group, 1))


def _group(f: ir.Function, list_: str, number: str) -> str:
    return f.at(I64, list_, f.mul(f.add(number, 1), 2))
