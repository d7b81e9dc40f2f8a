"""Nested structures: lists, tuples, named tuples and dicts of things, flattened and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any


def is_sequence(value: Any) -> bool:
    """Whether `value` is a list, tuple, named tuple, dict or a dict's values (and not, for example, a string)."""
    return isinstance(value, (list, tuple, Mapping, ValuesView, KeysView))


def flatten(structure: Any) -> list[Any]:
    """The leaves from left to right; a dict's in the order of its sorted keys. A leaf alone gives a list of one."""
    return list(_leaves(structure))


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, Mapping):
        for key in _sorted_keys(structure):
            yield from _leaves(structure[key])
    elif isinstance(structure, (list, tuple, ValuesView, KeysView)):
        for item in structure:
            yield from _leaves(item)
    else:
        yield structure


def _sorted_keys(structure: Mapping[Any, Any]) -> list[Any]:
    try:
        return sorted(structure)
    except TypeError:
        raise TypeError("nest only supports dicts with sortable keys.") from None


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """Puts leaves into the form of `structure`.

    Raises:
        ValueError: there are more or fewer leaves than `structure` has.
    """
    if not isinstance(flat_sequence, Iterable) or isinstance(flat_sequence, (str, bytes)):
        raise TypeError(f"flat_sequence must be a sequence, got {flat_sequence!r}")
    flat: list[Any] = list(flat_sequence)
    wanted = len(flatten(structure))
    if wanted != len(flat):
        raise ValueError(
            f"Could not pack sequence. Structure had {wanted} elements, but flat_sequence had {len(flat)} elements."
        )
    leaves = iter(flat)
    return _pack(structure, leaves)


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        packed = {key: _pack(structure[key], leaves) for key in _sorted_keys(structure)}
        return type(structure)((key, packed[key]) for key in structure)  # pyright: ignore[reportCallIssue]
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(_pack(item, leaves) for item in structure))
    if isinstance(structure, (ValuesView, KeysView)):
        return [_pack(item, leaves) for item in structure]
    if isinstance(structure, (list, tuple)):
        return type(structure)(_pack(item, leaves) for item in structure)
    return next(leaves)


def map_structure(function: Callable[..., Any], *structures: Any, check_types: bool = True, **_: Any) -> Any:
    """Applies a function to corresponding leaves and packs the results like the first structure.

    Raises:
        ValueError: there is no structure, or they nest differently.
        TypeError: the function is none, or, with `check_types`, the sequence types differ.
    """
    if not callable(function):
        raise TypeError(f"func must be callable, got: {function}")
    if not structures:
        raise ValueError("Must provide at least one structure")
    for other in structures[1:]:
        assert_same_structure(structures[0], other, check_types=check_types)
    flat = [flatten(s) for s in structures]
    return pack_sequence_as(structures[0], [function(*items) for items in zip(*flat)])


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """Checks that two structures nest in the same way.

    Raises:
        ValueError: the numbers of elements differ.  TypeError: with `check_types`, the sequence types differ.
    """
    problem = _difference(nest1, nest2, check_types)
    if problem is not None:
        kind, text = problem
        raise kind(
            f"The two structures don't have the same nested structure.\n\nFirst structure: {nest1}\n\n"
            f"Second structure: {nest2}\n\nMore specifically: {text}"
        )


def _difference(a: Any, b: Any, check_types: bool) -> tuple[type[Exception], str] | None:
    if is_sequence(a) != is_sequence(b):
        return (
            ValueError,
            f"{a!r} is {'a' if is_sequence(a) else 'no'} sequence, {b!r} is {'one' if is_sequence(b) else 'not'}",
        )
    if not is_sequence(a):
        return None
    named = hasattr(a, "_fields") and hasattr(b, "_fields") and type(a).__name__ == type(b).__name__
    if (
        check_types
        and type(a) is not type(b)
        and not named
        and not (isinstance(a, Mapping) and isinstance(b, Mapping))
    ):
        return TypeError, f"{type(a)} and {type(b)}"
    if isinstance(a, Mapping):
        if set(a) != set(b):
            return ValueError, f"the dictionaries' keys differ: {sorted(a)} and {sorted(b)}"
        pairs = [(a[k], b[k]) for k in a]
    else:
        if len(a) != len(b):
            return ValueError, f"{len(a)} elements and {len(b)} elements"
        pairs = list(zip(a, b))
    for x, y in pairs:
        found = _difference(x, y, check_types)
        if found is not None:
            return found
    return None
