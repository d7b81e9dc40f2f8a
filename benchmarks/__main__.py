"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import growth, overhead, products, startup, works
from benchmarks.compare import Row, compare, heading, line
from benchmarks.measure import PAUSE
from benchmarks.process import PEERS, Framework, Process, WorkerError, interpreter
from benchmarks.works import OTHERS, WORKLOADS, Work

SECTIONS = {
    "workloads": "W1 to W11 beside the peers",
    "others": "other sizes and nets beside the peers",
    "runs": "a run of next to nothing, and each further feed and fetch",
    "products": "matrix products: tahr's kernels beside NumPy's and PyTorch's libraries, one thread and all",
    "startup": "importing, process start to first step, peak memory",
    "long": "W3 over thousands of steps: denormals",
    "growth": "tahr: time per step against batch, depth and sequence length",
    "graphs": "tahr: building and differentiating large graphs",
}
DEFAULT_SECTIONS = ("graphs", "runs", "workloads")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help="; ".join(f"{name}: {what}" for name, what in SECTIONS.items())
        + f". Without any: {', '.join(DEFAULT_SECTIONS)}",
    )
    parser.add_argument("--only", type=_names, help="workloads by name, such as W5,W7")
    parser.add_argument("--peers", type=_names, help=f"some of {','.join(PEERS)}; by default all but compile")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which is slow to start")
    for peer in ("torch", "jax", "tensorflow", "pytensor"):
        parser.add_argument(
            f"--{peer}", metavar="PYTHON", help=f"where {peer} is; or TAHR_BENCH_{peer.upper()}"
        )
    parser.add_argument("--backends", type=_names, help="backends of tahr, a column each; or TAHR_BACKEND")
    parser.add_argument("--threads", type=int, default=_processors(), help="threads to compute with")
    parser.add_argument("--turns", type=int, default=15, help="how often each framework has its turn")
    parser.add_argument("--slice", type=float, default=0.15, help="seconds of a turn")
    parser.add_argument(
        "--sample", type=int, help="so many products of random sizes instead of the usual ones"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.sections if name not in SECTIONS]:
        parser.error(f"no such section: {', '.join(unknown)}")
    if unknown := [name for name in options.peers or () if name not in PEERS]:
        parser.error(f"no such peer: {', '.join(unknown)}")
    known = [work.name for work in (*WORKLOADS, *OTHERS, *products.PRODUCTS)]
    if unknown := [name for name in options.only or () if name not in known]:
        parser.error(f"no such workload: {', '.join(unknown)}")
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def our_frameworks(options: argparse.Namespace) -> list[Framework]:
    """tahr, once for each backend."""
    if not options.backends:
        return [Framework("tahr", "tahr", sys.executable)]
    return [
        Framework(f"tahr-{backend}", "tahr", sys.executable, {"TAHR_BACKEND": backend})
        for backend in options.backends
    ]


def peer_frameworks(options: argparse.Namespace) -> list[Framework]:
    """The peers that are wanted and installed; says which are not."""
    wanted = options.peers or [peer for peer in PEERS if peer != "compile" or options.compile]
    found: list[Framework] = []
    for peer in wanted:
        python = interpreter(peer, vars(options))
        if python is None:
            name = "torch" if peer == "compile" else peer
            print(f"{peer} is skipped: neither --{name} nor TAHR_BENCH_{name.upper()} says where it is")
        elif peer == "compile":
            found.append(Framework(peer, "torch", python, {"BENCH_TORCH_COMPILE": "1"}))
        else:
            found.append(Framework(peer, peer, python))
    return found


class Bench:
    """The sections, and whether anything failed.

    Args:
        options: the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._ours = our_frameworks(options)
        self._peers = peer_frameworks(options)
        self.failed = False

    @contextmanager
    def _processes(
        self, frameworks: Sequence[Framework], threads: int | None = None
    ) -> Generator[list[Process]]:
        """The workers of frameworks; one that cannot start is reported and left out."""
        with ExitStack() as stack:
            # All are started before any is waited for: importing takes seconds.
            started = [stack.enter_context(Process(f, threads or self._options.threads)) for f in frameworks]
            yield [process for process in started if self._greets(process)]

    def _greets(self, process: Process) -> bool:
        try:
            print(f"{process.framework.name}: {process.greet()['version']}")
        except WorkerError as error:
            print(f"{process.framework.name} is left out: {error}")
            self.failed = True
            return False
        return True

    def workloads(self) -> None:
        """W1 to W11."""
        self._table(WORKLOADS)

    def others(self) -> None:
        """Sizes that nothing was tuned for."""
        self._table(OTHERS)

    def _table(self, table: Sequence[Work]) -> None:
        options = self._options
        chosen = [work for work in table if not options.only or work.name in options.only]
        ours, peers = ([f.name for f in frameworks] for frameworks in (self._ours, self._peers))
        notes: list[str] = []
        with self._processes([*self._ours, *self._peers]) as processes:
            print(heading(ours, peers))
            for work in chosen:
                row = compare(work, processes, options.turns, options.slice)
                print(line(row, ours, peers), flush=True)
                notes += row.notes
        for note in notes:
            print(f"  {note}")
        self.failed |= bool(notes)

    def runs(self) -> None:
        """Microseconds of a run of next to nothing: from 1 feed and fetch, and from 8 more of either."""
        counts = {"one": (1, 1), "feeds": (9, 1), "fetches": (1, 9)}
        seconds: dict[str, dict[str, float]] = {}
        with self._processes([*self._ours, *self._peers]) as processes:
            for name, (feeds, fetches) in counts.items():
                row = compare(
                    Work(name, "", "empty", {"feeds": feeds, "fetches": fetches}),
                    processes,
                    self._options.turns,
                    0.03,
                )
                self._report(row.notes)
                for framework, timing in row.timings.items():
                    seconds.setdefault(framework, {})[name] = timing.median
        print(
            f"{'a run of next to nothing, us':34}{'1 feed, 1 fetch':>16}{'a feed more':>14}{'a fetch more':>14}"
        )
        for framework, of in seconds.items():
            if len(of) == len(counts):
                feed, fetch = ((of[many] - of["one"]) / 8 for many in ("feeds", "fetches"))
                print(f"  {framework:32}{of['one'] * 1e6:16.1f}{feed * 1e6:14.2f}{fetch * 1e6:14.2f}")

    def _report(self, notes: Sequence[str]) -> None:
        for note in notes:
            print(f"  {note}")
        self.failed |= bool(notes)

    def products(self) -> None:
        """Matrix products, with one thread and with all."""
        rivals = [f for f in self._peers if f.name in ("numpy", "torch")]
        frameworks = [Framework("tahr", "kernels", sys.executable), *rivals]
        names = [framework.name for framework in frameworks]
        only, count = self._options.only, self._options.sample
        every = products.sample(count) if count else products.PRODUCTS
        chosen = [work for work in every if not only or work.name in only]
        for threads in dict.fromkeys((1, self._options.threads)):
            with self._processes(frameworks, threads) as processes:
                print(f"{threads} thread{'s' if threads > 1 else ''}")
                print(products.heading(names))
                rows: list[Row] = []
                for work in chosen:
                    # A single thread has nobody to wait for.
                    pause = PAUSE if threads > 1 else 0
                    rows.append(compare(work, processes, self._options.turns, 0.02, pause))
                    print(products.line(rows[-1], names), flush=True)
                    self._report(rows[-1].notes)
                if count:
                    print("\n".join(products.summary(rows)))

    def startup(self) -> None:
        """Imports, first steps and memory."""
        names = self._options.only or ["W3", "W5", "W8"]
        chosen = [work for work in WORKLOADS if work.name in names]
        columns = "".join(f"{f'{work.name} cold':>12}{'warm':>8}{'MB':>6}" for work in chosen)
        startup.compile_tahr()
        print(f"{'start, s':16}{'import':>8}{columns}")
        for framework in [*self._ours, *self._peers]:
            imported = startup.import_seconds(framework, self._options.threads)
            cells = "".join(self._start(framework, work) for work in chosen)
            print(f"  {framework.name:14}{imported:8.2f}{cells}", flush=True)

    def _start(self, framework: Framework, work: Work) -> str:
        try:
            start = startup.start(framework, work, self._options.threads)
        except WorkerError as error:
            self._report([f"{framework.name}, {work.name}: {error}"])
            return f"{'failed':>26}"
        if start is None:
            return f"{'-':>26}"
        return f"{start.cold:12.2f}{start.warm:8.2f}{start.memory / 1e6:6.0f}"

    def long(self) -> None:
        """W3 for 4,000 steps on one batch, in chunks of 500."""
        (work,) = [work for work in WORKLOADS if work.name == "W3"]
        print(
            f"{'W3 over 4,000 steps, ms per step in':36}" + "".join(f"{n:>8}" for n in range(500, 4001, 500))
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            self._processes([*self._ours, *self._peers]) as processes,
        ):
            path = Path(folder) / "work.npz"
            works.save(work, path)
            for process in processes:
                process.ask("load", path)
                chunks = [process.ask("time", 500)["seconds"] for _ in range(8)]
                cells = "".join(f"{seconds * 1e3:8.2f}" for seconds in chunks)
                print(f"  {process.framework.name:34}{cells}", flush=True)

    def growth(self) -> None:
        """tahr alone, in many sizes."""
        with self._processes(self._ours) as processes:
            for process in processes:
                for series in growth.SERIES:
                    print(f"{process.framework.name}: {series.title}")
                    print(f"{'size':>10}{'first, s':>10}{'step, ms':>11}{'power':>7}")
                    for p in growth.measure(series, process, self._options.turns):
                        power = "" if p.power is None else f"{p.power:.2f}"
                        print(f"{p.size:10}{p.first:10.2f}{p.step * 1e3:11.3f}{power:>7}", flush=True)

    def graphs(self) -> None:
        """The costs of graphs, in this process."""
        print(f"100,000 operations built                 {overhead.construction():8.2f} s")
        print(f"tf.gradients, chain of 10,000            {overhead.deep_chain():8.2f} s")
        print(f"tf.gradients, 1,000 levels of y + y      {overhead.doubling():8.3f} s")
        print(f"peak memory of a chain of 200 layers     {overhead.chain_memory():8.1f} buffers")


def main() -> int:
    """Runs the sections; 1 if a framework failed or its results differ."""
    options = parse()
    bench = Bench(options)
    print(f"{options.threads} threads")
    if (load := os.getloadavg()[0]) > 0.3:
        print(f"load average {load:.1f}: others compute too, so look at minima, and measure again")
    for section in options.sections or DEFAULT_SECTIONS:
        print()
        getattr(bench, section)()
    return int(bench.failed)


if __name__ == "__main__":
    sys.exit(main())
