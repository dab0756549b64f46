"""Records as plots: the roofline, bars against peers, time against batch."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from minialex.bench.layers import DATA, FORWARD, WEIGHT
from minialex.bench.networks import INFERENCE, STEP
from minialex.bench.record import BenchRecord, BenchRow, ratio
from minialex.bench.roofline import attainable, intensity
from minialex.bench.tables import WHOLE_NETWORKS, default_timing, machine_name, peers
from minialex.files import atomic_write

# a palette for all kinds of colour vision (Okabe and Ito 2008)
INK, GREY = "#222222", "#8a8a8a"
COLOURS = {
    "conv2d": "#0072B2",
    "linear": "#D55E00",
    "max_pool2d": "#009E73",
    "relu": "#CC79A7",
    "local_response_norm": "#56B4E9",
    "optimizer": "#E69F00",
}
OTHERS = GREY
MARKERS = {FORWARD: "o", DATA: "<", WEIGHT: "^"}
PEER_COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
PIXELS_PER_INCH = 150
MAX_BARS = 24
LABEL_DISTANCE_DECADES = 0.1
"""Points whose operations per byte differ by less than this power of ten share a label."""

Points: TypeAlias = npt.NDArray[np.float64]


def draw(record: BenchRecord, folder: Path) -> list[Path]:
    """Draw every plot that the record has rows for; return the files."""
    figures = {
        "roofline.png": roofline([record]),
        "peers.png": peer_bars(record),
        "batch.png": batch_lines(record),
    }
    return [save(figure, folder / name) for name, figure in figures.items() if figure is not None]


def save(figure: Figure, path: Path) -> Path:
    """Write a plot to a file and return its path."""
    atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=PIXELS_PER_INCH))
    return path


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)


# the roofline


def roofline(records: list[BenchRecord]) -> Figure | None:
    """Draw one point per layer and pass under the machine's ceilings, one panel per machine.

    Parameters
    ----------
    records : list of BenchRecord
        Those without layers are ignored.

    Returns
    -------
    Figure, or None where no record has layers.
    """
    shown = [(r, rows) for r in records if (rows := _roofline_rows(r))]
    if not shown:
        return None
    figure = Figure(figsize=(8.0 * len(shown), 5.6), layout="constrained")
    for axes, (record, rows) in zip(
        np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True
    ):
        _roofline_panel(axes, record, rows)
    return figure


def _roofline_rows(record: BenchRecord) -> list[BenchRow]:
    """Return the first network's rows with work and a time, at the batch with most of them."""
    rows = [
        r for r in record.rows if r.op not in WHOLE_NETWORKS and intensity(r) and default_timing(r)
    ]
    rows = [r for r in rows if r.network == rows[0].network]
    batches = [r.batch for r in rows if r.batch]
    most = max(batches, key=batches.count, default=0)
    return [r for r in rows if r.batch in (0, most)]


def _roofline_panel(axes: Axes, record: BenchRecord, rows: list[BenchRow]) -> None:
    gemm, copy = (float(np.median(c)) for c in (record.ceilings.gemm, record.ceilings.copy))
    at = np.array([intensity(row) for row in rows], float)
    rates = np.array([row.flops / default_timing(row).seconds for row in rows])  # type: ignore[union-attr]
    edges = np.array([min(at.min(), 0.1) / 2, max(at.max(), gemm / copy) * 3])
    slope = np.geomspace(edges[0], edges[1], 200)
    axes.plot(
        slope, [attainable(x, gemm, copy) / 1e9 for x in slope], color=INK, linewidth=1.5, zorder=1
    )
    axes.axvline(gemm / copy, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    for row, x, y in zip(rows, at, rates, strict=True):
        colour, marker = COLOURS.get(row.op, OTHERS), MARKERS.get(row.what, "s")
        axes.scatter(x, y / 1e9, s=42, marker=marker, color=colour, edgecolor="white", zorder=3)
    _number_convolutions(axes, rows, at, rates / 1e9)
    axes.set(xscale="log", yscale="log", xlim=edges)
    lowest = min(rates.min(), copy * edges[0])
    axes.set_ylim(lowest / 2e9, max(rates.max(), gemm) * 2.5e-9)
    axes.annotate(
        f"matrix product {gemm / 1e9:,.0f} GFLOP/s", (gemm / copy, gemm / 1e9), (6, 5),
        textcoords="offset points", color=INK, fontsize=9,
    )  # fmt: skip
    middle = float(np.sqrt(edges[0] * min(edges[1], gemm / copy)))
    axes.annotate(
        f"copy {copy / 1e9:,.1f} GB/s", (middle, attainable(middle, gemm, copy) / 1e9), (-8, 2),
        textcoords="offset points", ha="right", color=INK, fontsize=9,
    )  # fmt: skip
    batch = max(row.batch for row in rows)
    axes.set_title(f"{machine_name(record)}, batch {batch}", loc="left", color=INK, fontsize=11)
    axes.set_xlabel("floating-point operations per byte moved")
    axes.set_ylabel("GFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    _tidy(axes)
    _roofline_legend(axes, rows)


def _number_convolutions(axes: Axes, rows: list[BenchRow], x: Points, y: Points) -> None:
    """Write the numbers of the convolutions under their points, once for close ones."""
    groups: list[list[int]] = []
    for i in sorted((i for i, row in enumerate(rows) if row.op == "conv2d"), key=x.__getitem__):
        if groups and np.log10(x[i] / x[groups[-1][-1]]) < LABEL_DISTANCE_DECADES:
            groups[-1].append(i)
        else:
            groups.append([i])
    for members in groups:
        numbers = sorted({rows[i].labels[0].split()[-1] for i in members})
        place = float(x[members].mean()), float(y[members].min())
        axes.annotate(
            ", ".join(numbers), place, (0, -15), textcoords="offset points", ha="center",
            fontsize=9, color=INK,
        )  # fmt: skip


def _roofline_legend(axes: Axes, rows: list[BenchRow]) -> None:
    ops = [op for op in COLOURS if any(row.op == op for row in rows)]
    ops += ["others"] * any(row.op not in COLOURS for row in rows)
    handles = [
        Line2D([], [], color=COLOURS.get(op, OTHERS), marker="o", linestyle="", label=op)
        for op in ops
    ]
    handles += [
        Line2D([], [], color=INK, marker=marker, linestyle="", label=what, markerfacecolor="none")
        for what, marker in MARKERS.items()
        if any(row.what == what for row in rows)
    ]
    axes.legend(handles=handles, frameon=False, fontsize=9, loc="lower right")


# bars against peers


def peer_bars(record: BenchRecord) -> Figure | None:
    """Draw how many times as long each peer takes: whole networks, or the longest single cases.

    Parameters
    ----------
    record : BenchRecord

    Returns
    -------
    Figure, or None where no peer was timed.
    """
    rows = [r for r in record.rows if default_timing(r) and peers([r])]
    shown = [r for r in rows if r.op in WHOLE_NETWORKS] or _longest(rows)
    if not shown:
        return None
    peer_names, batches = peers(shown), {row.batch for row in shown if row.batch}
    height = 1.3 + 0.24 * len(shown) * (len(peer_names) + 0.5)
    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes, thickness = figure.subplots(), 0.8 / len(peer_names)
    for i, (name, colour) in enumerate(zip(peer_names, cycle(PEER_COLOURS), strict=False)):
        offset = (i - (len(peer_names) - 1) / 2) * thickness
        _bars(axes, shown, name, offset, thickness, colour)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.5, axes.get_xlim()[0] / 1.1), max(2.0, axes.get_xlim()[1] * 1.25))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.set_yticks(range(len(shown)), [_bar_name(row, len(batches) > 1) for row in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    peer = peer_names[0] if len(peer_names) == 1 else "the peer"
    axes.set_xlabel(f"time of {peer} / our time (to the right of 1 we are faster)")
    batch = f", batch {next(iter(batches))}" if len(batches) == 1 else ""
    which = f": the {len(shown)} longest of {len(rows)}" if len(shown) < len(rows) else ""
    axes.set_title(machine_name(record) + batch + which, loc="left", color=INK, fontsize=11)
    _tidy(axes)
    if len(peer_names) > 1:
        axes.legend(frameon=False, fontsize=9, loc="best")
    return figure


def _longest(rows: list[BenchRow]) -> list[BenchRow]:
    """Return the cases on which most time is spent, in the order of the record."""
    times = {
        row.key: t.seconds * max(row.per_step, 1) for row in rows if (t := default_timing(row))
    }
    kept = sorted(times, key=times.__getitem__)[-MAX_BARS:]
    return [row for row in rows if row.key in kept]


def _bars(
    axes: Axes, rows: list[BenchRow], name: str, offset: float, thickness: float, colour: str
) -> None:
    """Draw one peer's bars, from 1 on, with the quartiles of the ratios as whiskers."""
    # in the legend once, wherever its first bar is
    label: str | None = name
    for i, row in enumerate(rows):
        timing, own = row.timings.get(name), default_timing(row)
        if timing is None or own is None or not timing.timed:
            continue
        low, middle, high = ratio(timing, own)
        y = i + offset
        axes.barh(y, middle - 1, thickness * 0.9, left=1, color=colour, label=label)
        label = None
        axes.plot([low, high], [y, y], color=INK, linewidth=1)
        axes.annotate(
            f"{middle:.2f}", (max(high, 1), y), (5, 0), textcoords="offset points",
            va="center", fontsize=8, color=INK,
        )  # fmt: skip


def _bar_name(row: BenchRow, with_batch: bool) -> str:
    name = f"{row.labels[0]} {row.op}" if row.op in WHOLE_NETWORKS else row.title
    return f"{name}, batch {row.batch}" if row.batch and with_batch else name


# time against batch


def batch_lines(record: BenchRecord) -> Figure | None:
    """Draw the time of a training step and of inference against the batch.

    One panel per network; the grey line is the straight line that fits our times best.
    """
    panels: dict[tuple[str, str], list[BenchRow]] = {}
    for row in record.rows:
        if row.op in WHOLE_NETWORKS and default_timing(row):
            panels.setdefault((row.labels[0], row.op), []).append(row)
    shown = {
        key: sorted(rows, key=lambda r: r.batch) for key, rows in panels.items() if len(rows) > 2
    }
    if not shown:
        return None
    lines = -(-len(shown) // 2)
    figure = Figure(figsize=(10.4, 4.2 * lines), layout="constrained")
    for i, ((network, op), rows) in enumerate(shown.items()):
        axes = figure.add_subplot(lines, 2, i + 1)
        _batch_panel(axes, f"{network}, {_title(op)}", rows)
    return figure


def _title(op: str) -> str:
    return {STEP: "training step", INFERENCE: "inference"}[op]


def _batch_panel(axes: Axes, title: str, rows: list[BenchRow]) -> None:
    x = np.array([row.batch for row in rows])
    y = np.array([default_timing(row).seconds for row in rows])  # type: ignore[union-attr]
    line = fit_line(x, y)
    axes.plot(x, np.polyval(line, x), color=GREY, linewidth=1, zorder=1)
    _points(axes, x, y, "minialex", INK, "o")
    for name, colour in zip(peers(rows), cycle(PEER_COLOURS), strict=False):
        known = [(r.batch, t.seconds) for r in rows if (t := r.timings.get(name)) and t.timed]
        batches, seconds = zip(*known, strict=True)
        _points(axes, batches, seconds, name, colour, "s")
    axes.set_title(
        f"{title}: {line[1] * 1e3:,.0f} ms + {line[0] * 1e3:,.1f} ms per image",
        loc="left",
        fontsize=10,
    )
    axes.set(xlabel="batch", xlim=(0, None), ylim=(0, None))
    axes.set_ylabel("seconds")
    _tidy(axes)
    axes.legend(frameon=False, fontsize=9)


def _points(axes: Axes, x: Any, y: Any, label: str, colour: str, marker: str) -> None:
    axes.plot(x, y, color=colour, marker=marker, markersize=5, linestyle="", label=label, zorder=2)


def fit_line(x: Any, y: Any) -> tuple[float, float]:
    """Return slope and intercept of the straight line through points, by relative error.

    Weighted by 1 / y, so that each point's error counts relative to its own size.
    """
    slope, intercept = np.polyfit(x, y, 1, w=1 / np.asarray(y))
    return float(slope), float(intercept)
