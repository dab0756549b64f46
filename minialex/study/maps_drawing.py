"""Feature maps and filters as pictures: small images in rows, each with its number and range.

What a picture shows, and how its greys and colours are to be read, stands below it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minialex.arrays import Array
from minialex.study.axis_field import Rectangle
from minialex.study.features import FeatureMaps
from minialex.study.filters import Filters
from minialex.wording import counted, enumerated, one_line

# lengths are in inches
CELL, GAP, LABEL, MARGIN, HEAD = 1.15, 0.12, 0.19, 0.2, 0.42
IMAGE = 2.6
FOOT_LINE, FOOT_CHARS_PER_INCH = 0.18, 14
INPUTS_SHOWN = 12

SIGNED_MAP = "RdBu_r"
FRAME, FADED = "#ee6677", 0.65


def draw_features(
    found: FeatureMaps,
    channels: Sequence[int],
    pixels: npt.NDArray[np.uint8],
    network: str,
    image: str,
) -> Figure:
    """Draw the maps of the first image, the image beside them.

    Each map is scaled by itself. Of a layer whose output is a vector all units are drawn, in one
    map.

    Parameters
    ----------
    found : FeatureMaps
    channels : sequence of int
        Which maps, in this order.
    pixels : (S, S, 3) uint8
        The image, as the network takes it.
    network, image : str
        What they are called.
    """
    N, C, H, W = found.maps.shape
    if H * W == 1:
        maps, labels = [_units(found.maps[0])], [_range_label("all", found.maps[0])]
        columns, cell = 1, IMAGE
        shown = f"All {C:,} units, {maps[0].shape[1]} in a row, from the top"
    else:
        maps = [found.maps[0, c] for c in channels]
        labels = [_range_label(str(c), x) for c, x in zip(channels, maps, strict=True)]
        columns, cell = _columns(len(maps)), CELL
        which = "" if len(maps) == C else " with the largest mean |x|"
        shown = f"{len(maps)} of {counted(C, 'channel')}{which}, number and largest |x| above"
    foot = [f"Of {network}.", f"{shown}.", _how_to_read(found.signed, "map"), _all_zero(found)]
    if N > 1:
        foot.append(f"Drawn is the first of {N} images; which are largest is over all of them.")
    left = MARGIN + IMAGE + 0.3
    rows = -(-len(maps) // columns)
    width = left + columns * (cell + GAP) + MARGIN
    height = HEAD + max(rows * (cell + LABEL + GAP), LABEL + IMAGE)
    figure, height = _figure(width, height, " ".join(filter(None, foot)), _title(found))
    beside = _axes(figure, (MARGIN, HEAD + LABEL, IMAGE, IMAGE), height)
    beside.imshow(pixels)
    _label(beside, f"{_shortened(image, 24)}: {' x '.join(map(str, pixels.shape))}")
    for n, (x, label) in enumerate(zip(maps, labels, strict=True)):
        place = _cell(n, columns, cell, left)
        _draw_map(_axes(figure, place, height), x, label, signed=found.signed)
    return figure


def draw_field(
    pixels: npt.NDArray[np.uint8],
    seen: Rectangle,
    unit: str,
    layer: str,
    network: str,
    image: str,
) -> Figure:
    """Draw an image, what a unit of a layer can see of it in a frame, the rest faded.

    Parameters
    ----------
    pixels : (S, S, 3) uint8
        The image, as the network takes it.
    seen : Rectangle
    unit, layer, network, image : str
        What they are called.
    """
    foot = (
        f"Of {network}. {unit} sees {seen}: what is in the frame. What is faded cannot change it."
    )
    size = 2 * MARGIN + 2 * IMAGE, HEAD + LABEL + 2 * IMAGE
    figure, height = _figure(*size, foot, f"{unit} {layer}")
    axes = _axes(figure, (MARGIN, HEAD + LABEL, 2 * IMAGE, 2 * IMAGE), height)
    shown = pixels.astype(np.float64) / 255
    inside = np.zeros(pixels.shape[:2], bool)
    (top, bottom), (left, right) = seen.rows, seen.columns
    inside[top : bottom + 1, left : right + 1] = True
    axes.imshow(np.where(inside[..., None], shown, FADED + (1 - FADED) * shown))
    if not seen.is_empty:
        # the centre of a pixel is its number
        corner, sides = (left - 0.5, top - 0.5), (right - left + 1, bottom - top + 1)
        frame = patches.Rectangle(
            corner, *sides, fill=False, edgecolor=FRAME, linewidth=2, clip_on=False
        )
        axes.add_patch(frame)
    _label(axes, f"{_shortened(image, 40)}: {' x '.join(map(str, pixels.shape))}")
    return figure


def draw_filters(found: Filters, numbers: Sequence[int], network: str) -> Figure:
    """Draw filters: those over an image's colours in colour, others input by input.

    Each filter is scaled by itself, so that 0 is grey in colours and white elsewhere.

    Parameters
    ----------
    found : Filters
    numbers : sequence of int
        Which filters, in this order.
    network : str
        What it is called.
    """
    drawn = _rgb_filters if found.is_rgb else _input_grid
    return drawn(found, numbers, network)


def _rgb_filters(found: Filters, numbers: Sequence[int], network: str) -> Figure:
    columns = _columns(len(numbers))
    rows = -(-len(numbers) // columns)
    foot = (
        f"{_which(found, numbers, network)} Each is scaled by itself, to its largest |w|, which "
        "stands above it: grey is 0, a lighter or stronger colour is what it answers to, its "
        "opposite what it answers to with a minus."
    )
    size = 2 * MARGIN + columns * (CELL + GAP), HEAD + rows * (CELL + LABEL + GAP)
    figure, height = _figure(*size, foot, _title(found))
    for n, o in enumerate(numbers):
        w = found.weights[o].transpose(1, 2, 0)
        axes = _axes(figure, _cell(n, columns, CELL, MARGIN), height)
        axes.imshow(0.5 + 0.5 * w / (_largest(w) or 1), interpolation="nearest")
        _label(axes, _range_label(str(o), w))
    return figure


def _input_grid(found: Filters, numbers: Sequence[int], network: str) -> Figure:
    """Draw a row for each filter: its strongest input channels, the number of each above it."""
    columns, cell = min(INPUTS_SHOWN, found.weights.shape[1]), 0.62
    left = MARGIN + 1.05
    C = found.weights.shape[1]
    foot = (
        f"{_which(found, numbers, network)} A row is a filter, with its largest |w|; in it are the "
        f"{columns} of its {C} inputs with the largest sum of w^2, the number of each input "
        f"channel above it. {_how_to_read(True, 'row', 'w')}"
    )
    size = left + columns * (cell + GAP) + MARGIN, HEAD + len(numbers) * (cell + LABEL + GAP)
    figure, height = _figure(*size, foot, _title(found))
    for n, o in enumerate(numbers):
        w, first = found.weights[o], found.first_input(o)
        for k, c in enumerate(found.strongest_inputs(o, columns)):
            x, y, *_ = _cell(n * columns + k, columns, cell, left)
            axes = _axes(figure, (x, y, cell, cell), height)
            _draw_map(axes, w[c], str(first + c), signed=True, scale=_largest(w))
        middle = 1 - (y + cell / 2) / height
        text = f"filter {o}\n{_largest(w):.3g}"
        figure.text(MARGIN / figure.get_figwidth(), middle, text, fontsize=8, va="center")
    return figure


def _title(found: FeatureMaps | Filters) -> str:
    return f"{found.name} {found.layer}"


def _shortened(name: str, count: int) -> str:
    """Return a name on one line, of which the end is left if it is too long."""
    name = one_line(name)
    return name if len(name) <= count else f"...{name[3 - count :]}"


def _which(found: Filters, numbers: Sequence[int], network: str) -> str:
    O = len(found.weights)
    which = "" if len(numbers) == O else ", those with the largest norm"
    return f"Of {network}. {len(numbers)} of {counted(O, 'filter')}{which}, the largest first."


def _how_to_read(signed: bool, unit: str, name: str = "x") -> str:
    if signed:
        return (
            f"White is 0, red above, blue below; each {unit} is scaled by itself, to its largest "
            f"|{name}|."
        )
    return f"Black is 0; each {unit} is scaled by itself, so that white is its largest {name}."


def _all_zero(found: FeatureMaps) -> str:
    zero = found.all_zero
    if not zero:
        return ""
    return f"0 everywhere: {counted(len(zero), 'channel')}, {enumerated(list(map(str, zero)), 12)}."


def _units(x: Array) -> Array:
    """Return a vector (C, 1, 1) in rows; places behind the last unit are NaN."""
    width = math.ceil(math.sqrt(len(x)))
    rows = -(-len(x) // width)
    grid = np.full(rows * width, np.nan)
    grid[: len(x)] = x.reshape(-1)
    return grid.reshape(rows, width)


def _largest(x: Array) -> float:
    return float(np.nanmax(np.abs(x)))


def _range_label(name: str, x: Array) -> str:
    return f"{name}: {_largest(x):.3g}"


def _columns(count: int) -> int:
    """Return how many stand side by side: a little more than rows, with few places left empty."""
    least = max(1, math.ceil(math.sqrt(count)))
    liked = math.sqrt(1.5 * count)
    return min(range(least, 2 * least), key=lambda n: (-count % n, abs(n - liked)), default=1)


def _figure(width: float, height: float, foot: str, title: str) -> tuple[Figure, float]:
    """Return a figure with title and explanation, and its height, to which that adds."""
    width = max(width, 5.0)
    lines = textwrap.wrap(one_line(foot), int((width - 2 * MARGIN) * FOOT_CHARS_PER_INCH))
    height += FOOT_LINE * (len(lines) + 1)
    figure = Figure(figsize=(width, height), facecolor="white")
    x = MARGIN / width
    figure.text(x, 1 - 0.1 / height, title, fontsize=10, weight="bold", va="top")
    figure.text(x, 0.08 / height, "\n".join(lines), fontsize=8.5, va="bottom")
    return figure, height


def _cell(n: int, columns: int, cell: float, left: float) -> tuple[float, float, float, float]:
    """Return left, top, width and height of cell number `n`, below its label."""
    row, column = divmod(n, columns)
    return left + column * (cell + GAP), HEAD + row * (cell + LABEL + GAP) + LABEL, cell, cell


def _axes(figure: Figure, place: tuple[float, float, float, float], height: float) -> Axes:
    """Return axes without ticks at a place that is counted from the top."""
    x, y, w, h = place
    width = figure.get_figwidth()
    axes = figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#bbbbbb")
    return axes


def _draw_map(
    axes: Axes, x: Array, label: str, *, signed: bool, scale: float | None = None
) -> None:
    top = (_largest(x) if scale is None else scale) or 1
    colours, low = (SIGNED_MAP, -top) if signed else ("gray", 0)
    axes.imshow(x, cmap=colours, vmin=low, vmax=top, interpolation="nearest")
    _label(axes, label)


def _label(axes: Axes, label: str) -> None:
    axes.set_title(label, fontsize=7.5, pad=2)
