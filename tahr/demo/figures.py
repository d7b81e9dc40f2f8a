# pyright: basic
# matplotlib's types say too little about what its methods take.
"""The demo's figure: how training went, and what the network makes of examples it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tahr.demo.data import Array
from tahr.demo.train import Training

RIGHT, WRONG = "#2a6f97", "#c8102e"
CLASS_COLORS = ("#2a6f97", "#c8102e")
COLUMNS, ROWS = 10, 4


def draw(training: Training, path: Path) -> None:
    """Writes the figure of a training run, as far as it came.

    Args:
        training: the run; at least one step was done.
        path: the PNG file to write.
    """
    # The object-oriented interface: no window system is asked for, and no global state is touched.
    from matplotlib.figure import Figure

    is_images = training.is_images
    figure = Figure(figsize=(9, 8) if is_images else (9, 4.2), layout="constrained")
    if is_images:
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(2, 3)).ravel()
        loss, accuracy = top.subplots(1, 2)
        _draw_accuracy(accuracy, training)
        _draw_samples(bottom, training)
    else:
        loss, plane = figure.subplots(1, 2)
        _draw_points(plane, training)
    _draw_loss(loss, training)
    figure.savefig(path, dpi=120)


def _smoothed(values: list[float], window: int = 25) -> Array:
    """For each value the mean of the last `window` values, itself included."""
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(sums))
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _draw_loss(axes: Any, training: Training) -> None:
    losses = training.history.losses
    steps = np.arange(1, len(losses) + 1)
    if training.is_images:
        axes.plot(steps, losses, color=RIGHT, alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smoothed(losses), color=RIGHT)
    else:
        axes.plot(steps, losses, color=RIGHT)
    axes.set(title="Loss", xlabel="step", ylabel="cross-entropy", ylim=(0, None))
    axes.grid(alpha=0.3)


def _draw_accuracy(axes: Any, training: Training) -> None:
    history = training.history
    steps = np.arange(1, len(history.accuracies) + 1)
    axes.plot(
        steps, _smoothed(history.accuracies), color=RIGHT, alpha=0.5, label="training batches (with dropout)"
    )
    if history.held_out:
        at, held_out = zip(*history.held_out)
        axes.plot(at, held_out, "o-", color=WRONG, markersize=4, label="held-out images")
        axes.annotate(
            f"{held_out[-1]:.1%}", (at[-1], held_out[-1]), (0, -16), textcoords="offset points", ha="right"
        )
    axes.set(title="Accuracy", xlabel="step", ylim=(max(0.0, min(0.8, *history.accuracies[-25:])), 1.005))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(loc="best", fontsize="small")
    axes.grid(alpha=0.3)


def _draw_samples(figure: Any, training: Training) -> None:
    """A grid of held-out images with what the network says; mistakes fill the last row, in red."""
    data, predictions = training.data, training.predictions()
    order = np.random.default_rng(0).permutation(len(predictions))
    is_wrong = predictions[order] != data.held_out_labels[order]
    mistakes = order[is_wrong]
    in_last_row = mistakes[:COLUMNS]
    others = np.setdiff1d(order, in_last_row, assume_unique=True)
    shown = np.concatenate([others[: ROWS * COLUMNS - len(in_last_row)], in_last_row])
    figure.suptitle(
        f"Held-out images and what the network says: {len(mistakes)} of {len(predictions)} wrong, "
        "in red with the right answer in brackets",
        fontsize="medium",
    )
    for axes, index in zip(figure.subplots(ROWS, COLUMNS).flat, shown):
        said, right = predictions[index], data.held_out_labels[index]
        axes.imshow(data.held_out_inputs[index, :, :, 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        color = RIGHT if said == right else WRONG
        text = f"{said}" if said == right else f"{said} ({right})"
        axes.set_title(text, color=color, fontsize="small", pad=2)
        axes.spines[:].set(color=color, linewidth=0.5 if said == right else 2)


def _draw_points(axes: Any, training: Training) -> None:
    """The points, and the line on which the perceptron finds both classes equally likely."""
    data = training.data
    every = np.concatenate([data.inputs, data.held_out_inputs])
    (left, low), (right, high) = every.min(axis=0) - 0.5, every.max(axis=0) + 0.5
    x, y = np.meshgrid(np.linspace(left, right, 100), np.linspace(low, high, 100))
    scores = training.logits(np.stack([x.ravel(), y.ravel()], axis=1))
    margin = (scores[:, 1] - scores[:, 0]).reshape(x.shape)
    axes.contourf(x, y, margin, levels=[-np.inf, 0, np.inf], colors=CLASS_COLORS, alpha=0.12)
    if margin.min() < 0 < margin.max():
        axes.contour(x, y, margin, levels=[0], colors="black", linewidths=1.2)
    for label, color in enumerate(CLASS_COLORS):
        axes.scatter(*data.inputs[data.labels == label].T, color=color, s=12, label=f"class {label}")
        held_out = data.held_out_inputs[data.held_out_labels == label]
        axes.scatter(*held_out.T, facecolors="none", edgecolors=color, s=24, label=f"class {label}, held out")
    axes.set(title="The separating line", xlabel="first coordinate", ylabel="second coordinate")
    axes.legend(loc="upper left", fontsize="small")
