"""A network as a picture: each layer's output as a block, with what the layers cost below.

Heights go with the square root of an image's height, so that 6 pixels show beside 227; widths with
the logarithm of the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, sqrt
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from minialex.errors import MinialexError
from minialex.files import atomic_write
from minialex.study.summary import LayerSummary, Summary

COLOURS = {"Conv2d": "#4477aa", "MaxPool2d": "#66ccee", "Linear": "#ee6677", "image": "#bbbbbb"}
# how far the back of a block is drawn right of and above its front, per unit of height
SLANT = (0.25, 0.2)
MAX_HEIGHT = 4.0
GAP_WIDTH = 0.6


def draw_network(summary: Summary) -> Figure:
    """Return a drawing of the convolutions, poolings and fully connected layers.

    Parameters
    ----------
    summary : Summary

    Returns
    -------
    Figure
        To be saved with ``savefig``.
    """
    size = summary.input_shape[-1]
    image = LayerSummary("image", "image", summary.input_shape, 0, 0, 0)
    rows = [image, *(row for row in summary.rows if _kind(row) in COLOURS)]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.add_subplot()
    x = 0.0
    for row in rows:
        x = _block(axes, row, x, size) + GAP_WIDTH
    _percentages(axes, rows, summary)
    axes.set(xlim=(-0.5, x + 0.6), ylim=(-2.1, MAX_HEIGHT * (1 + SLANT[1]) + 0.3))
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(
        f"{summary.name}: {summary.parameters / 1e6:.2f} M parameters, "
        f"{summary.flops / 1e9:.2f} GFLOPs per image",
        loc="left",
    )
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's suffix names.

    Raises
    ------
    MinialexError
        If there is no such format, or the file cannot be written.
    """
    kind, kinds = path.suffix.removeprefix("."), figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise MinialexError(f"cannot draw {path}: end its name in .png, .svg or .pdf")
    atomic_write(path, lambda file: figure.savefig(file, format=kind, dpi=150))


def _kind(row: LayerSummary) -> str:
    return row.layer.partition("(")[0]


def _block(axes: Axes, row: LayerSummary, x: float, size: int) -> float:
    """Draw one output at `x`; returns where it ends."""
    C, H, _ = row.shape if len(row.shape) == 3 else (row.shape[0], 0, 0)
    height = MAX_HEIGHT * sqrt(H / size) if H else log2(C) / 4
    width = log2(C) / 8 if H else 0.25
    dx, dy = (SLANT[0] * height, SLANT[1] * height) if H else (0.12, 0.1)
    low, colour = (MAX_HEIGHT - height) / 2, COLOURS[_kind(row)]
    front = [(x, low), (x + width, low), (x + width, low + height), (x, low + height)]
    top = [front[3], front[2], (x + width + dx, low + height + dy), (x + dx, low + height + dy)]
    side = [front[1], (x + width + dx, low + dy), (x + width + dx, low + height + dy), front[2]]
    for points, shade in ((front, 1.0), (top, 0.75), (side, 0.55)):
        axes.add_patch(Polygon(points, facecolor=_shaded(colour, shade), edgecolor="w", lw=0.6))
    shape = f"{C}\n{H}x{H}" if H else f"{C}"
    axes.text(x + width / 2, low - 0.15, shape, ha="center", va="top", fontsize=7)
    return x + width + dx


def _shaded(colour: str, shade: float) -> tuple[float, float, float]:
    """Return a colour mixed with white: `shade` of it is left."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return tuple(1 - shade * (1 - part) for part in (red, green, blue))  # type: ignore[return-value]


def _percentages(axes: Axes, rows: Sequence[LayerSummary], summary: Summary) -> None:
    """Write below which percentages of parameters and operations are whose."""
    kinds = [_kind(row) for row in rows]
    lines = []
    for kind, words in (("Conv2d", "convolutions"), ("Linear", "fully connected layers")):
        mine = [row for row, k in zip(rows, kinds, strict=True) if k == kind]
        parameters = sum(row.parameters for row in mine) / summary.parameters
        flops = sum(row.flops for row in mine) / summary.flops
        lines.append((kind, f"{words}: {parameters:.0%} of parameters, {flops:.0%} of operations"))
    for i, (kind, line) in enumerate(lines):
        y = -1.3 - 0.5 * i
        axes.add_patch(Rectangle((0, y), 0.3, 0.3, color=COLOURS[kind]))
        axes.text(0.5, y + 0.15, line, va="center", fontsize=8)
