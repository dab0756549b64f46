"""An evaluation as files: the confusion matrix as a plot and a table, and a table of classes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.figure import Figure

from minialex.evaluation.evaluate import Evaluation
from minialex.files import atomic_write, write_errors

MAX_CLASSES_WITH_COUNTS = 25
"""With more classes the cells of the plot show no counts."""
MAX_CLASS_LABELS = 120
"""With more classes only every n-th is labelled."""
MAX_LABEL_CHARACTERS = 24


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write an evaluation's figures, tables and plot; returns the files.

    ``evaluation.json`` has everything, ``classes.csv`` one row per class, ``confusion.csv``
    and ``confusion.png`` the confusion matrix. Files of these names are replaced.

    Raises
    ------
    MinialexError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "evaluation.json": json.dumps(evaluation.to_json(), indent=1).encode(),
        "classes.csv": classes_table(evaluation).encode(),
        "confusion.csv": confusion_table(evaluation).encode(),
    }
    for name, content in contents.items():
        atomic_write(folder / name, content)
    picture = confusion_picture(evaluation)

    def draw(file: BinaryIO) -> None:
        picture.savefig(file, format="png")

    atomic_write(folder / "confusion.png", draw)
    return [folder / name for name in (*contents, "confusion.png")]


def classes_table(evaluation: Evaluation) -> str:
    """Return precision, recall and F1 per class as comma-separated values."""
    rows = [
        [c.name, f"{c.precision:.2f}", f"{c.recall:.2f}", f"{c.f1:.2f}", c.support]
        for c in evaluation.per_class()
    ]
    return _csv([["class", "precision", "recall", "f1", "images"], *rows])


def confusion_table(evaluation: Evaluation) -> str:
    """Return the confusion matrix as comma-separated values: one row per true class."""
    rows = zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
    return _csv([["true\\predicted", *evaluation.classes], *([name, *row] for name, row in rows)])


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def confusion_picture(evaluation: Evaluation) -> Figure:
    """Plot the confusion matrix, normalised by row: the darker a cell, the larger its share."""
    C = len(evaluation.classes)
    side = 3.2 + min(max(0.55 * C, 3.5), 5.5 + 0.13 * C, 22)
    figure = Figure(figsize=(side, side * 0.94), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    shares = evaluation.confusion / np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    # the square root makes the few errors of a good network visible
    image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=np.sqrt([0, 0.01, 0.1, 0.25, 0.5, 1]))
    bar.ax.set_yticklabels(["0 %", "1 %", "10 %", "25 %", "50 %", "100 %"])
    bar.set_label("share of the true class")
    _name_axes(axes, evaluation.classes)
    if C <= MAX_CLASSES_WITH_COUNTS:
        _number_cells(axes, evaluation.confusion, shares)
    axes.set_title(f"{evaluation.accuracy:.2f} % of {evaluation.images:,} images correct")
    return figure


def _name_axes(axes: Any, classes: tuple[str, ...]) -> None:
    C = len(classes)
    ticks = range(0, C, -(-C // MAX_CLASS_LABELS))
    names = [_short(classes[i]) for i in ticks]
    size = 10 if C <= MAX_CLASSES_WITH_COUNTS else 7
    crowded = C > MAX_CLASSES_WITH_COUNTS or max(map(len, names)) > 3
    axes.set_xticks(ticks, names, rotation=90 if crowded else 0, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _short(name: str) -> str:
    # matplotlib takes a dollar sign for the start of a formula
    name = name.replace("$", r"\$")
    return name if len(name) <= MAX_LABEL_CHARACTERS else name[: MAX_LABEL_CHARACTERS - 1] + "…"


def _number_cells(axes: Any, confusion: Any, shares: Any) -> None:
    size = 10 if confusion.max() < 10_000 else 7
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if shares[row, column] > 0.35 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, size=size)
