"""Draws the pictures of docs/tour.md: tahr computes them, matplotlib draws them.

python docs/pictures/draw.py --out docs/pictures
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import tahr as tf

RED, BLUE, GREY = "#c8102e", "#2a6f97", "#555555"


def clouds() -> tuple[Any, Any]:
    """The tour's points, [100, 2], and their classes as one-hot rows, [100, 2]."""
    rng = np.random.default_rng(11)
    points = np.concatenate([rng.normal(-2, 1, size=(50, 2)), rng.normal(2, 1, size=(50, 2))])
    return points, np.repeat(np.eye(2), 50, axis=0)


def draw_graph(
    axes: Any, graph: tf.Graph, places: Mapping[str, tuple[float, float]], notes: Mapping[str, str]
) -> None:
    """Draws operations of a graph as it is.

    Args:
        axes: where to draw.
        graph: the graph.
        places: where each operation goes, by its name. Others are left out: constants, and the reads of variables.
        notes: for some operations what to write below them.
    """
    boxes: dict[str, Any] = {}
    for name, (x, y) in places.items():
        color = {"Placeholder": BLUE, "VariableV2": RED}.get(graph.get_operation_by_name(name).type, GREY)
        style = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": color}
        boxes[name] = axes.text(x, y, name, ha="center", va="center", color=color, fontsize=10, bbox=style)
        if name in notes:
            axes.text(x, y - 0.42, notes[name], ha="center", va="center", fontsize=8, color=RED)
    for name, place in places.items():
        for tensor in graph.get_operation_by_name(name).inputs:
            source = tensor.op
            while (
                source.name not in places and source.inputs
            ):  # w -> w/read -> matmul is drawn as w -> matmul
                source = source.inputs[0].op
            if source.name in places:
                ends = {"patchA": boxes[source.name].get_bbox_patch(), "patchB": boxes[name].get_bbox_patch()}
                style = {"arrowstyle": "->", "color": GREY, "shrinkA": 2, "shrinkB": 2, **ends}
                axes.annotate("", place, places[source.name], arrowprops=style)
    xs, ys = zip(*places.values())
    axes.set(xlim=(min(xs) - 0.7, max(xs) + 0.7), ylim=(min(ys) - 0.7, max(ys) + 0.7))
    axes.axis("off")


def graph_picture() -> Figure:
    """The perceptron's graph."""
    with tf.Graph().as_default() as graph:
        x, c = tf.placeholder(name="x"), tf.placeholder(name="c")
        w, b = tf.Variable(np.zeros((2, 2)), name="w"), tf.Variable(np.zeros(2), name="b")
        p = tf.softmax(tf.add(tf.matmul(x, w, name="matmul"), b, name="add"), name="softmax")
        log = tf.log(p, name="log")
        product = tf.multiply(c, log, name="multiply")
        tf.negative(tf.reduce_sum(product, name="sum"), name="negative")
    places = {
        "x": (0, 1), "w": (0, 0), "matmul": (1.2, 0.5), "b": (1.2, -0.5), "add": (2.4, 0), "softmax": (3.6, 0),
        "log": (4.8, 0), "c": (4.8, 1), "multiply": (6, 0.5), "sum": (7.2, 0.5), "negative": (8.4, 0.5),
    }  # fmt: skip
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    draw_graph(figure.subplots(), graph, places, {})
    return figure


def descent_picture() -> Figure:
    """Steps of gradient descent on a curve, with two learning rates."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, rate in zip(figure.subplots(1, 2), (0.12, 0.9)):
        with tf.Graph().as_default():
            w = tf.Variable(-1.6)
            loss = tf.square(w) + 0.5 * tf.sin(3.0 * w)
            step = tf.train.GradientDescentOptimizer(rate).minimize(loss)
            line = np.linspace(-2.2, 2.2, 200)
            with tf.Session() as session:
                curve = [session.run(loss, {w: at}) for at in line]
                visited = []
                for _ in range(5):
                    visited.append(session.run([w, loss]))
                    session.run(step)
        axes.plot(line, curve, color=GREY)
        axes.plot(*zip(*visited), "o-", color=RED, markersize=5, linewidth=0.8)
        axes.set(title=f"learning rate {rate}", xlabel="w", ylabel="loss")
    return figure


def line_picture() -> Figure:
    """The separating line before, during and after training."""
    points, classes = clouds()
    with tf.Graph().as_default():
        x, c = tf.placeholder(), tf.placeholder()
        w, b = tf.Variable([[1.0, -1.0], [-1.0, 1.0]]), tf.Variable([0.0, 1.0])
        loss = -tf.reduce_sum(c * tf.log(tf.softmax(tf.matmul(x, w) + b)))
        step = tf.train.GradientDescentOptimizer(0.0004).minimize(loss)
        shown: dict[int, Any] = {}
        with tf.Session() as session:
            for number in range(61):
                if number in (0, 4, 12, 60):
                    shown[number] = session.run([w, b])
                session.run(step, {x: points, c: classes})
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(*points[:50].T, color=RED, s=10)
    axes.scatter(*points[50:].T, color=BLUE, s=10)
    for shade, (number, (weights, bias)) in zip((0.7, 0.55, 0.35, 0), shown.items()):
        normal, shift = weights[:, 1] - weights[:, 0], bias[1] - bias[0]
        foot = -shift * normal / (normal @ normal)
        along = np.array([-normal[1], normal[0]])
        axes.axline(foot, foot + along, color=str(shade), label=f"after {number} steps")
    axes.set(xlim=(-5, 5), ylim=(-5, 5))
    axes.legend(loc="upper left", fontsize="small")
    return figure


def paths_picture() -> Figure:
    """A value that reaches the loss along two paths, with the gradients that tahr computes."""
    names = "abcde"
    with tf.Graph().as_default() as graph:
        a = tf.Variable(3.0, name="a")
        b = tf.multiply(a, 2.0, name="b")
        c = tf.square(a, name="c")
        d = tf.add(b, c, name="d")
        e = tf.negative(d, name="e")
        with tf.Session() as session:
            found = session.run(tf.gradients(e, [a, b, c, d, e]))
    notes = {name: f"de/d{name} = {value:g}" for name, value in zip(names, found)}
    places = {"a": (0, 0.5), "b": (1.3, 1.1), "c": (1.3, -0.1), "d": (2.6, 0.5), "e": (3.9, 0.5)}
    figure = Figure(figsize=(5.6, 2.6), layout="constrained")
    draw_graph(figure.subplots(), graph, places, notes)
    return figure


def regions_picture() -> Figure:
    """What a perceptron with a hidden layer makes of exclusive or, with 2 and with 8 hidden units."""
    rng = np.random.default_rng(1)
    points = np.concatenate(
        [rng.normal(at, 0.4, size=(50, 2)) for at in ([-1, -1], [1, 1], [-1, 1], [1, -1])]
    )
    classes = np.repeat(np.eye(2), 100, axis=0)
    ticks = np.linspace(-2.5, 2.5, 80)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, hidden in zip(figure.subplots(1, 2), (2, 8)):
        with tf.Graph().as_default():
            x, c = tf.placeholder(), tf.placeholder()
            v, d = tf.Variable(rng.normal(size=(2, hidden))), tf.Variable(np.zeros(hidden))
            w, b = tf.Variable(rng.normal(size=(hidden, 2))), tf.Variable(np.zeros(2))
            p = tf.softmax(tf.matmul(tf.sigmoid(tf.matmul(x, v) + d), w) + b)
            step = tf.train.GradientDescentOptimizer(0.03).minimize(-tf.reduce_sum(c * tf.log(p)))
            with tf.Session() as session:
                for _ in range(600):
                    session.run(step, {x: points, c: classes})
                regions = session.run(p, {x: grid.reshape(-1, 2)})[:, 1].reshape(80, 80)
        axes.contourf(ticks, ticks, regions, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
        axes.scatter(*points[:100].T, color=RED, s=5)
        axes.scatter(*points[100:].T, color=BLUE, s=5)
        axes.set(title=f"{hidden} hidden units", aspect="equal")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "graph": graph_picture,
    "descent": descent_picture,
    "line": line_picture,
    "paths": paths_picture,
    "regions": regions_picture,
}


def main() -> None:
    """Draws all pictures."""
    parser = argparse.ArgumentParser(description="Draws the pictures of docs/tour.md.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="directory (default: this one)"
    )
    options = parser.parse_args()
    for name, picture in PICTURES.items():
        path = options.out / f"{name}.png"
        # Without matplotlib's version in it the file changes only where the picture does.
        picture().savefig(path, dpi=80, metadata={"Software": None})
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
