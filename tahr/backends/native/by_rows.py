"""Products of which a part is computed ahead of a loop if there turn out to be few rows.

In each iteration a recurrent net multiplies [x, h] by W. With few rows it is faster to multiply all x ahead of the loop
and to add what belongs to the iteration to h W2. With many it is not: the larger product is as fast, and nothing has to
be kept for the loop. How many rows there are may be known only with the exact sizes of a run. So both forms are in the
plan, and what is not wanted has no tiles; another batch compiles nothing.
"""

from __future__ import annotations

from tahr.core.forms import Contraction
from tahr.core.opdef import OpDef

ProductAhead = OpDef(
    "_ProductAhead",
    "x: T, y: T -> output: T",
    attrs={"adj_x": False, "adj_y": False, "most_rows": 0},
    form=Contraction(),
    register=False,
)
"""The product of all items; undefined where an item has more than `most_rows` rows."""

ProductOfRest = OpDef(
    "_ProductOfRest",
    "a: T, b: T, ahead: T -> product: T",
    attrs={"transpose_a": False, "transpose_b": False, "most_rows": 0, "first": 0, "count": 0},
    form=Contraction(),
    register=False,
)
"""a b. With at most `most_rows` rows `ahead` holds a part of that: of all but `count` columns of a, from `first` on."""
