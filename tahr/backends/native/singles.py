"""Nodes that are a kernel of their own: they are not fused with others."""

from __future__ import annotations

from tahr.backends.native import (
    candidates,
    checks,
    choices,
    distinct,
    draws,
    lookups,
    nonzero,
    positions,
    rankings,
    rearrangements,
    row_updates,
    scans,
    searching,
)
from tahr.backends.native.single import Single
from tahr.core import opdef
from tahr.core.opdef import Form
from tahr.program.node import Node

SINGLES: dict[type[Form], Single] = {
    opdef.Lookup: lookups.LOOKUP,
    opdef.Draw: draws.DRAW,
    opdef.Classes: choices.CLASSES,
    opdef.Permutation: choices.PERMUTATION,
    opdef.Candidates: candidates.CANDIDATES,
    opdef.Scan: scans.SCAN,
    opdef.ArgExtreme: scans.ARG_EXTREME,
    opdef.Largest: rankings.LARGEST,
    opdef.AmongLargest: rankings.AMONG_LARGEST,
    opdef.SortedPlace: searching.SORTED_PLACE,
    opdef.Band: rearrangements.BAND,
    opdef.WithDiagonal: rearrangements.DIAGONAL,
    opdef.Position: positions.POSITION,
    opdef.Reversal: rearrangements.REVERSAL,
    opdef.Scatter: lookups.SCATTER,
    opdef.Scattered: lookups.SCATTER,
    opdef.Accumulation: lookups.ACCUMULATION,
    opdef.RowUpdate: row_updates.ROW_UPDATE,
    opdef.Distinct: distinct.DISTINCT,
    opdef.Places: nonzero.NONZERO,
    opdef.Finite: checks.FINITE,
    opdef.InRange: checks.IN_RANGE,
    opdef.Check: checks.TRUTH,
    opdef.NotZero: checks.NOT_ZERO,
}


def single(node: Node) -> Single | None:
    """How a node is computed by a kernel of its own; None where it cannot be."""
    found = SINGLES.get(type(node.opdef.form))
    return found if found is not None and found.fits(node) else None
