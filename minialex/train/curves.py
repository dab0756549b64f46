"""The picture of a run: loss and accuracy over its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from minialex.files import atomic_write
from minialex.train.metrics import MetricsRecord, validation_rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by people who see no difference between red and green, and in grey print.
_COLOURS = {"train": "#4477aa", "val": "#cc5533"}


def draw_curves(metrics: Sequence[MetricsRecord], path: str | Path, batches: int) -> None:
    """Draw loss and accuracy over the epochs into a PNG file, whole or not at all.

    Parameters
    ----------
    metrics : sequence of MetricsRecord
        As `read_metrics` returns them; may be empty.
    path : str or Path
        The picture.
    batches : int
        Batches per epoch.

    Raises
    ------
    MinialexError
        If the picture cannot be written.
    """
    # 0.5 s to import, which a process that trains a fold does without; not pyplot: it keeps
    # figures alive and may look for a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), dpi=120, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    for axes, field, corner in (
        (loss, "loss", "upper right"),
        (accuracy, "accuracy", "lower right"),
    ):
        shown = [record for record in metrics if math.isfinite(getattr(record, field))]
        _draw_training(axes, *_points(shown, "train", field, batches))
        _draw_validation(axes, *_points(shown, "val", field, batches), field, _best_epoch(metrics))
        axes.set_xlim(0, 1.02 * max([1.0, *(record.step / batches for record in metrics)]))
        _dress(axes)
        if axes.get_lines():
            axes.legend(frameon=False, fontsize=9, loc=corner)
    loss.set_title("Loss (nats)", loc="left", fontsize=11)
    accuracy.set_title("Accuracy (%)", loc="left", fontsize=11)
    _spread_low_values(loss)
    accuracy.set_ylim(0, 101)
    atomic_write(path, canvas.print_png)


def _best_epoch(metrics: Sequence[MetricsRecord]) -> int:
    """Return the epoch, from 1, whose checkpoint is the best one; 0 where there is none."""
    ends = [r for r in metrics if r.split == "val" and math.isfinite(r.loss + r.accuracy)]
    best = max(ends, key=lambda r: validation_rank(r.accuracy, r.loss), default=None)
    return 0 if best is None else best.epoch


def _points(
    metrics: Sequence[MetricsRecord], split: str, field: str, batches: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the finished epochs, fractions included, and a field's values of one split."""
    chosen = [record for record in metrics if record.split == split]
    epochs = np.array([record.step / batches for record in chosen])
    return epochs, np.array([getattr(record, field) for record in chosen])


def _dress(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_training(axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
    """Draw every figure faintly, and their running mean over them where there are many."""
    if not len(y):
        return
    colour = _COLOURS["train"]
    if len(y) < 30:
        marker = "o" if len(y) == 1 else ""
        axes.plot(x, y, color=colour, linewidth=2, marker=marker, markersize=4, label="training")
        return
    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3)
    weights = np.ones(max(5, len(y) // 30))
    # Divided by how many figures the window meets, so that the ends do not sag.
    mean = np.convolve(y, weights, "same") / np.convolve(np.ones(len(y)), weights, "same")
    axes.plot(x, mean, color=colour, linewidth=2, label="training (running mean)")


def _draw_validation(
    axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], field: str, best: int
) -> None:
    """Draw a figure per epoch, with a ring around that of the best epoch."""
    if not len(y):
        return
    at = x == best
    values = [f"{v:.3g}" if field == "loss" else f"{v:.2f} %" for v in y[at]]
    label = "".join(["validation", *(f" (best: epoch {best}, {value})" for value in values)])
    marker = "o" if len(y) <= 60 else ""
    axes.plot(x, y, color=_COLOURS["val"], linewidth=2, marker=marker, markersize=4, label=label)
    axes.plot(x[at], y[at], "o", color=_COLOURS["val"], markersize=8, markerfacecolor="white")


def _spread_low_values(axes: Axes) -> None:
    """Use a logarithmic scale where a linear one would press most of the curve to the floor."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    heights = [line.get_ydata() for line in axes.get_lines()]
    values = np.concatenate([np.asarray(y, dtype=np.float64) for y in heights] or [np.ones(1)])
    if values.size and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
