"""Prints what was measured: `python -m benchmarks`."""

from __future__ import annotations

from benchmarks import overhead, workloads
from benchmarks.measure import alternate, ratio


def main() -> None:
    """Measures and prints both tables."""
    print("overhead")
    print(f"  Session.run, 1 feed, 1 fetch of next to nothing   {overhead.empty_run():8.1f} us")
    print(f"  100,000 operations built                          {overhead.construction():8.2f} s")
    print(f"  tf.gradients, chain of 10,000                     {overhead.deep_chain():8.2f} s")
    print(f"  tf.gradients, 1,000 levels of y + y               {overhead.doubling():8.3f} s")
    print(f"  peak memory of a chain of 200 layers              {overhead.chain_memory():8.1f} buffers")
    print()
    print(f"{'training step, ms':44}{'tahr':>10}{'NumPy':>10}{'ratio':>8}")
    for make in workloads.WORKLOADS:
        work = make()
        workloads.check(work)
        ours, theirs = alternate({"tahr": work.tahr, "NumPy": work.numpy})
        print(f"{work.name:44}{ours.median * 1e3:10.4f}{theirs.median * 1e3:10.4f}{ratio(ours, theirs):8.2f}")


if __name__ == "__main__":
    main()
