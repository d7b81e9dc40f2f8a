"""Where CPython and NumPy 2 keep what native code reads of their objects, on 64-bit systems."""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from typing import Any

import numpy as np

from tahr.backends.native.once import once

# Offsets in bytes; `is_known` compares them with real objects.
REFERENCES, TYPE = 0, 8
FLOAT_VALUE = 16
DATA, DIMENSIONS_COUNT, DIMENSIONS, DESCRIPTOR, FLAGS = 16, 24, 32, 56, 64
# Flags of an array: C-contiguous and aligned.
DENSE = 0x0001 | 0x0100


def _read(address: int, kind: Any = ctypes.c_uint64) -> Any:
    return kind.from_address(address).value


def attribute_address(instance: Any, name: str) -> int:
    """The address at which an object keeps a reference to the value of one of its `__slots__`.

    Raises:
        AttributeError: it is nowhere.
    """
    probe, value = object.__new__(type(instance)), object()
    setattr(probe, name, value)
    for offset in range(0, type(instance).__basicsize__, 8):
        if _read(id(probe) + offset) == id(value):
            return id(instance) + offset
    raise AttributeError(f"{type(instance).__name__} has no slot {name}")


@once
def is_known() -> bool:
    """Whether objects of this Python and this NumPy look as expected, found out on real ones."""
    return (
        sys.implementation.name == "cpython"
        and sys.maxsize > 1 << 32
        and ctypes.sizeof(ctypes.c_void_p) == 8
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and _objects_are_known()
        and _arrays_are_known()
    )


def _objects_are_known() -> bool:
    number, alone = 0.1, [object()]
    return (
        _read(id(number) + TYPE) == id(float)
        and _read(id(number) + FLOAT_VALUE, ctypes.c_double) == number
        and _read(id(alone[0]) + REFERENCES, ctypes.c_int32) == 1
    )


def _arrays_are_known() -> bool:
    array = np.zeros((2, 3), np.float32)
    odd = array[:, ::2]
    return array.__sizeof__() >= FLAGS + 4 and _is_known(array, True) and _is_known(odd, False)


def _is_known(array: np.ndarray[Any, Any], is_dense: bool) -> bool:
    start = id(array)
    if (
        _read(start + TYPE) != id(np.ndarray)
        or _read(start + DATA) != array.ctypes.data
        or _read(start + DIMENSIONS_COUNT, ctypes.c_int32) != 2
        or _read(start + DESCRIPTOR) != id(array.dtype)
        or (_read(start + FLAGS, ctypes.c_int32) & DENSE == DENSE) != is_dense
    ):
        return False
    dimensions = _read(start + DIMENSIONS)
    return (_read(dimensions), _read(dimensions + 8)) == array.shape
