"""The benchmarks' programs run, and what compares frameworks notices a difference."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, products, works
from benchmarks.compare import Row
from benchmarks.measure import Timing, alternate, ratio
from benchmarks.peers import kernels, numpy as by_hand, tahr as ours
from benchmarks.process import Framework, Process, WorkerError, interpreter
from benchmarks.products import PRODUCTS
from benchmarks.worker import summary
from benchmarks.works import OTHERS, TINY, WORKLOADS, Work

by_name = pytest.mark.parametrize("work", TINY, ids=lambda work: work.name)


@by_name
def test_the_program_takes_a_step(work: Work) -> None:
    step = ours.BUILDERS[work.kind](work.sizes, works.make_arrays(work))
    assert all(math.isfinite(value) for value in summary(step()))


@pytest.mark.parametrize(
    "work", [work for work in TINY if work.kind in by_hand.BUILDERS], ids=lambda work: work.name
)
def test_the_first_steps_are_those_written_by_hand(work: Work) -> None:
    steps = [m.BUILDERS[work.kind](work.sizes, works.make_arrays(work)) for m in (ours, by_hand)]
    first, second = ([summary(step()) for _ in range(5)] for step in steps)
    assert not compare.differ(first, second)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_multiply_as_numpy_does(dtype: str) -> None:
    pytest.importorskip("llvmlite")
    for transpose_a, transpose_b in itertools.product((False, True), repeat=2):
        sizes = {
            "m": 5,
            "n": 7,
            "k": 3,
            "transpose_a": transpose_a,
            "transpose_b": transpose_b,
            "dtype": dtype,
        }
        arrays = works.make_arrays(Work("product", "", "product", sizes))
        first, second = (m.BUILDERS["product"](sizes, arrays) for m in (kernels, by_hand))
        np.testing.assert_allclose(first(), second(), rtol=1e-5)


def test_products_have_names_of_their_own() -> None:
    assert len({(work.name, work.title) for work in PRODUCTS}) == len(PRODUCTS)
    row = Row(PRODUCTS[0], {"tahr": Timing("tahr", [1e-3, 2e-3, 3e-3])})
    billions = products.operations(PRODUCTS[0].sizes) / 1e9
    assert f"{billions / 2e-3:.0f} ({billions / 1e-3:.0f})" in products.line(row, ["tahr", "torch"])


def test_a_sample_of_products_is_summed_up_by_class() -> None:
    works = products.sample(20)
    assert works == products.sample(20) and len({(work.name, work.title) for work in works}) == 20 * 6
    rows = [
        Row(work, {"tahr": Timing("tahr", [2e-3]), "numpy": Timing("numpy", [1e-3 if i % 3 else 3e-3])})
        for i, work in enumerate(works)
    ]
    head, *lines = products.summary([*rows, Row(works[0])])
    counts = [line.split()[-3:] for line in lines]
    assert "even or better" in head
    assert sum(int(count) for _, _, count in counts) == len(rows)
    assert sum(int(even) for even, _, _ in counts) == len(rows) // 3


def test_every_kind_is_tested() -> None:
    assert {work.kind for work in TINY} >= {work.kind for work in (*WORKLOADS, *OTHERS)}
    assert {work.kind for work in TINY} == set(ours.BUILDERS)


def test_names_are_unique() -> None:
    names = [work.name for work in (*WORKLOADS, *OTHERS)]
    assert sorted(set(names)) == sorted(names)


def test_a_workload_survives_its_file(tmp_path: Path) -> None:
    work = TINY[0]
    works.save(work, tmp_path / "work.npz")
    loaded, arrays = works.load(tmp_path / "work.npz")
    assert loaded == work
    expected = works.make_arrays(work)
    assert {name: value.tolist() for name, value in arrays.items()} == {
        name: value.tolist() for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("other", "expected"), [(1.0003, False), (1.001, True), (-1.0, True), (math.nan, True)]
)
def test_a_difference_is_noticed(other: float, expected: bool) -> None:
    assert compare.differ([[1.0], [1.0]], [[1.0], [other]]) is expected


def test_a_worker_answers(tmp_path: Path) -> None:
    mlp, rosenbrock = TINY[2], next(work for work in TINY if work.kind == "rosenbrock")
    for work in (mlp, rosenbrock):
        works.save(work, tmp_path / f"{work.kind}.npz")
    with Process(Framework("numpy", "numpy", sys.executable), threads=1) as process:
        assert process.greet()["version"] == by_hand.VERSION
        assert process.ask("load", tmp_path / "mlp.npz") == {"supported": True}
        assert len(process.ask("check", 3)["results"]) == 3
        assert process.ask("time", 2)["seconds"] > 0
        assert process.ask("memory")["bytes"] > 1e6
        assert process.ask("load", tmp_path / "rosenbrock.npz") == {"supported": False}
        with pytest.raises(WorkerError, match="No such file"):
            process.ask("load", tmp_path / "missing.npz")


def test_a_worker_that_cannot_start_says_so() -> None:
    with (
        Process(Framework("none", "none", sys.executable), threads=1) as process,
        pytest.raises(WorkerError, match="ended"),
    ):
        process.greet()


def test_where_a_peer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAHR_BENCH_JAX", raising=False)
    monkeypatch.setenv("TAHR_BENCH_TORCH", "/elsewhere")
    assert interpreter("jax", {}) is None
    assert interpreter("jax", {"jax": "/here"}) == "/here"
    assert interpreter("compile", {"torch": None}) == "/elsewhere"
    assert interpreter("numpy", {}) == sys.executable


def test_rivals_take_turns() -> None:
    calls: list[str] = []

    def timer(name: str, seconds: float):
        def run(count: int) -> float:
            calls.append(name)
            return seconds

        return run

    slow, quick = alternate({"slow": timer("slow", 0.02), "quick": timer("quick", 0.01)}, 3, 0.01)
    assert calls[-6:] == ["slow", "quick"] * 3
    assert ratio(slow, quick) == pytest.approx(2)
