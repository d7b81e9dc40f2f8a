"""Embeddings: rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.core import dtypes
from tahr.core.convert import convert_to_tensor
from tahr.core.graph import Tensor
from tahr.core.scopes import name_scope
from tahr.ops import elementwise, fills, joining, special, structural
from tahr.ops.indexing import gather
from tahr.ops.partitioning import dynamic_partition, dynamic_stitch
from tahr.ops.slicing import slice_by


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of a table, which may be spread over several tensors, for ids.

    Args:
        params: one tensor [rows, rest], or a list of tensors that together are the table.
        ids: [...], int32 or int64, in [0, rows).
        partition_strategy: how several tensors divide the rows: "mod" deals them out (row i is in tensor
            i mod n), "div" cuts the table into contiguous parts, of which the first ones have a row more.
        name: the name scope.
        validate_indices: accepted for TensorFlow's sake; ids are always checked.
        max_norm: the largest Euclidean norm of what is returned for one id; longer rows are scaled down.

    Returns:
        [..., rest].

    Raises:
        ValueError: no params, or an unknown strategy.  InvalidArgumentError: an id is out of range.
    """
    tables: list[Any] = (
        list(params) if isinstance(params, (list, tuple)) else [] if params is None else [params]
    )
    if not tables:
        raise ValueError("Need at least one param")
    with name_scope(name, "embedding_lookup", [*tables, ids]) as scope:
        tables = [convert_to_tensor(table, name="params") for table in tables]
        ids = convert_to_tensor(ids, name="ids")
        if len(tables) == 1:
            return structural.identity(_clipped(gather(tables[0], ids, name=scope), ids, max_norm))
        flat = structural.reshape(ids, [-1])
        owners, rows = _owners(tables, flat, partition_strategy)
        owners = elementwise.cast(owners, dtypes.int32)
        wanted = dynamic_partition(rows, owners, len(tables))
        places = dynamic_partition(structural.range_(structural.size(flat)), owners, len(tables))
        found = dynamic_stitch(places, [gather(table, part) for table, part in zip(tables, wanted)])
        shape = joining.concat(
            [structural.shape(ids), slice_by(structural.shape(tables[0]), slice(1, None))], 0
        )
        return _clipped(structural.reshape(found, shape), ids, max_norm)


def _owners(tables: Sequence[Tensor], ids: Tensor, strategy: str) -> tuple[Tensor, Tensor]:
    """Which table each id's row is in, and which row it is there."""
    count = len(tables)
    if strategy == "mod":
        return elementwise.floormod(ids, count), elementwise.floordiv(ids, count)
    if strategy != "div":
        raise ValueError("Unrecognized partition strategy: " + strategy)
    sizes = [slice_by(structural.shape(table, out_type=ids.dtype), 0) for table in tables]
    total = structural.add_n(sizes)
    size, extras = elementwise.floordiv(total, count), elementwise.floormod(total, count)
    # The first `extras` tables have one row more than the others. An empty table owns no row.
    longer = elementwise.add(size, 1)
    beyond = elementwise.subtract(ids, extras)
    shorter = elementwise.maximum(size, 1)
    owners = elementwise.maximum(elementwise.floordiv(ids, longer), elementwise.floordiv(beyond, shorter))
    rows = elementwise.select(
        elementwise.less(owners, extras),
        elementwise.floormod(ids, longer),
        elementwise.floormod(beyond, shorter),
    )
    return owners, rows


def _clipped(rows: Tensor, ids: Tensor, max_norm: float | None) -> Tensor:
    """The rows [ids, rest], each scaled down to a norm of at most `max_norm`."""
    if max_norm is None:
        return rows
    if rows.spec.rank is None or ids.spec.rank is None:
        raise ValueError("embedding_lookup with max_norm needs params and ids of known rank")
    axes = list(range(ids.spec.rank, rows.spec.rank))
    square = structural.reduce_sum(elementwise.multiply(rows, rows), axes, keepdims=True)
    # The root of 1 in place of 0 keeps the gradient of a zero row finite.
    is_positive = elementwise.greater(square, 0)
    root = special.sqrt(elementwise.select(is_positive, square, fills.ones_like(square)))
    norm = elementwise.select(is_positive, root, square)
    limit = elementwise.cast(max_norm, rows.dtype)
    return elementwise.realdiv(elementwise.multiply(rows, limit), elementwise.maximum(norm, limit))
