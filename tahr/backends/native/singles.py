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
    occurrences,
    placed_maxima,
    positions,
    rankings,
    rearrangements,
    row_updates,
    scans,
    searching,
)
from tahr.backends.native.single import Single
from tahr.core import forms
from tahr.core.forms import Form
from tahr.program.node import Node

SINGLES: dict[type[Form], Single] = {
    forms.Lookup: lookups.LOOKUP,
    forms.Draw: draws.DRAW,
    forms.Classes: choices.CLASSES,
    forms.Permutation: choices.PERMUTATION,
    forms.Candidates: candidates.CANDIDATES,
    forms.Scan: scans.SCAN,
    forms.ArgExtreme: scans.ARG_EXTREME,
    forms.Largest: rankings.LARGEST,
    forms.AmongLargest: rankings.AMONG_LARGEST,
    forms.SortedPlace: searching.SORTED_PLACE,
    forms.Band: rearrangements.BAND,
    forms.WithDiagonal: rearrangements.DIAGONAL,
    forms.PlacedMaxima: placed_maxima.PLACED_MAXIMA,
    forms.InPictures: placed_maxima.IN_PICTURES,
    forms.Position: positions.POSITION,
    forms.PositionWrite: positions.POSITION,
    forms.Reversal: rearrangements.REVERSAL,
    forms.Scatter: lookups.SCATTER,
    forms.Scattered: lookups.SCATTER,
    forms.Accumulation: lookups.ACCUMULATION,
    forms.RowUpdate: row_updates.ROW_UPDATE,
    forms.Distinct: distinct.DISTINCT,
    forms.Places: nonzero.NONZERO,
    forms.Occurrences: occurrences.OCCURRENCES,
    forms.Finite: checks.FINITE,
    forms.InRange: checks.IN_RANGE,
    forms.Check: checks.TRUTH,
    forms.NotZero: checks.NOT_ZERO,
}


def single(node: Node) -> Single | None:
    """How a node is computed by a kernel of its own; None where it cannot be."""
    found = SINGLES.get(type(node.opdef.form))
    return found if found is not None and found.fits(node) else None
