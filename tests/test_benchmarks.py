"""The benchmarks' programs run, and what compares frameworks notices a difference."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from benchmarks import compare, works
from benchmarks.measure import alternate, ratio
from benchmarks.peers import numpy as by_hand, tahr as ours
from benchmarks.process import Framework, Process, WorkerError, interpreter
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
