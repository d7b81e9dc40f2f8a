"""Matrix products by themselves: tahr's kernels beside the BLAS libraries that peers bring."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.compare import Row
from benchmarks.works import Sizes, Work

_FLOAT32 = (
    # An LSTM of 256: a step's gates, its gradient to the state, and the weights' gradient over all steps.
    (32, 1024, 384, "nn"), (32, 384, 1024, "nt"), (384, 1024, 2048, "tn"),
    # Dense nets: forward, gradient to the weights, gradient to the input; and the last layer's.
    (128, 512, 784, "nn"), (784, 512, 128, "tn"), (128, 512, 512, "nt"),
    (128, 10, 512, "nn"), (512, 10, 128, "tn"), (128, 512, 10, "nt"),
    (32, 128, 784, "nn"), (784, 128, 32, "tn"), (32, 10, 128, "nn"),
    # A convolutional net's dense layer.
    (64, 1024, 3136, "nn"), (3136, 1024, 64, "tn"), (64, 3136, 1024, "nt"),
    # Transformers of width 128, with a vocabulary of 65.
    (1024, 384, 128, "nn"), (1024, 128, 512, "nt"), (128, 512, 1024, "tn"),
    (1024, 65, 128, "nt"), (256, 65, 2048, "tn"),
    # Few rows, one row, one column.
    (8, 1024, 1024, "nn"), (16, 512, 512, "nt"), (1, 512, 784, "nn"), (512, 1, 784, "nn"),
    # Long sums of what lies across.
    (784, 512, 1024, "tn"), (784, 512, 4096, "tn"), (64, 64, 4096, "tn"),
    # Squares, and sizes that fit nothing.
    (100, 100, 100, "nn"), (256, 256, 256, "nn"), (1024, 1024, 1024, "nn"), (1024, 1024, 1024, "tt"),
    (2000, 2000, 2000, "nn"), (37, 53, 71, "nn"),
)  # fmt: skip
_FLOAT64 = (
    (32, 1024, 384, "nn"), (32, 384, 1024, "nt"), (384, 1024, 2048, "tn"), (128, 512, 784, "nn"),
    (784, 512, 128, "tn"), (128, 10, 512, "nn"), (512, 10, 128, "tn"), (1, 512, 784, "nn"), (512, 1, 784, "nn"),
    (256, 256, 256, "nn"), (1024, 1024, 1024, "nn"),
)  # fmt: skip


def _work(m: int, n: int, k: int, transposed: str, dtype: str) -> Work:
    sizes = {
        "m": m,
        "n": n,
        "k": k,
        "transpose_a": transposed[0] == "t",
        "transpose_b": transposed[1] == "t",
        "dtype": dtype,
    }
    return Work(f"{m}x{n}x{k}", f"{transposed} {dtype}", "product", sizes)


PRODUCTS = (
    *(_work(*product, "float32") for product in _FLOAT32),
    *(_work(*product, "float64") for product in _FLOAT64),
)


# What a sample's sizes are drawn from, and how many multiplications a product of it has at most.
_SIZES = (8, 10, 12, 16, 20, 32, 33, 50, 64, 96, 100, 120, 127, 128, 200, 250, 256, 500, 512, 1000)
_MOST = 1.3e8


def sample(count: int) -> list[Work]:
    """Products of sizes drawn at random, the same ones each time, with each transposition and dtype."""
    draw = random.Random(1)
    found: set[tuple[int, ...]] = set()
    while len(found) < count:
        m, n, k = (draw.choice(_SIZES) for _ in range(3))
        if m * n * k <= _MOST:
            found.add((m, n, k))
    return [
        _work(m, n, k, transposed, dtype)
        for m, n, k in sorted(found)
        for transposed in ("nn", "nt", "tn")
        for dtype in ("float32", "float64")
    ]


def _class(sizes: Sizes) -> str:
    """What is peculiar about a product's sizes."""
    if sizes["m"] * sizes["n"] * sizes["k"] < 30_000:
        return "of less than 30,000 multiplications"
    if min(sizes["m"], sizes["n"]) <= 12:
        return "up to 12 rows or columns"
    if sizes["k"] <= 20:
        return "sums of up to 20 terms"
    return "ragged" if sizes["m"] % 8 or sizes["n"] % 8 else "multiples of eight"


def summary(rows: Sequence[Row]) -> list[str]:
    """A line for each class of products and each way to lie: how tahr compares with NumPy's library, by best times."""
    ratios: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        ours, library = row.timings.get("tahr"), row.timings.get("numpy")
        if ours and library:
            key = _class(row.work.sizes), row.work.title.split()[0]
            ratios[key].append(library.best / ours.best)
    lines = [f"{'NumPy / tahr: median (least)':44}{'even or better':>20}"]
    for (kind, transposed), found in sorted(ratios.items()):
        even = sum(ratio >= 1 for ratio in found)
        lines.append(
            f"{kind:38}{transposed:3}{statistics.median(found):6.2f} ({min(found):.2f}){f'{even} of {len(found)}':>12}"
        )
    return lines


def operations(sizes: Sizes) -> int:
    """How many additions and multiplications a product takes."""
    return 2 * sizes["m"] * sizes["n"] * sizes["k"]


def heading(names: list[str]) -> str:
    """The table's first line."""
    return f"{'GFLOP/s: median (best)':32}" + "".join(f"{name:>16}" for name in names)


def line(row: Row, names: list[str]) -> str:
    """One product's line."""
    cells = "".join(f"{_cell(row, name):>16}" for name in names)
    return f"{row.work.name:16}{row.work.title:16}{cells}"


def _cell(row: Row, name: str) -> str:
    timing = row.timings.get(name)
    if timing is None:
        return row.failures.get(name, "-")
    billions = operations(row.work.sizes) / 1e9
    return f"{billions / timing.median:.0f} ({billions / timing.best:.0f})"
