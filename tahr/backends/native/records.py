"""Records that Python and native code share: the fields of NumPy's structured dtypes, in LLVM IR.

A field is an address if it is unsigned (`uint64`), else an integer (`int64`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.backends.native import ir

Record = np.dtype[Any]


def offset(record: Record, name: str) -> int:
    """Where a field lies in a record, in bytes."""
    fields: Any = record.fields
    return fields[name][1]


def place(f: ir.Function, record: Record, name: str, base: str) -> str:
    """The address of a field of the record at `base`."""
    return f.at(ir.I8, base, offset(record, name))


def get(f: ir.Function, record: Record, name: str, base: str) -> str:
    """The value of a field of the record at `base`."""
    return f.load(_kind(record, name), place(f, record, name, base))


def put(f: ir.Function, record: Record, name: str, base: str, value: str | int) -> None:
    """Writes a field of the record at `base`."""
    f.store(_kind(record, name), str(value), place(f, record, name, base))


def at(f: ir.Function, record: Record, base: str, index: str) -> str:
    """The address of one record of an array of them."""
    return f.value(f"getelementptr inbounds [{record.itemsize} x i8], ptr {base}, i64 {index}")


def _kind(record: Record, name: str) -> str:
    fields: Any = record.fields
    return ir.POINTER if fields[name][0] == np.uint64 else ir.I64
