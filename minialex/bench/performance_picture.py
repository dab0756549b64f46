"""A picture of where the time of predicted steps goes, beside their floors."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from minialex.bench.performance_tables import (
    KIND_NAMES,
    PRECISION,
    PYTORCH,
    SHOWN_BATCH,
    by_kind,
    shown_steps,
)
from minialex.bench.predicted_steps import GPU, Steps
from minialex.bench.tables import three_digits

PICTURE = "docs/performance.png"
# a palette for all kinds of colour vision (Okabe and Ito 2008)
_COLOURS = dict(
    zip(
        KIND_NAMES,
        ("#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#8a8a8a"),
        strict=True,
    )
)
_PYTORCH_COLOUR = "#222222"


def picture(steps: Steps) -> Figure:
    """Draw predicted time, floor and PyTorch's estimate of each mode at `SHOWN_BATCH`."""
    there = shown_steps(steps)
    figure = Figure(figsize=(10, 1.6 + 0.75 * max(1, len(there))), layout="constrained")
    axes = figure.subplots()
    for row, step in enumerate(there):
        shares = by_kind(step)
        for which, y, height in ((0, row - 0.16, 0.34), (1, row + 0.17, 0.2)):
            left = 0.0
            for name in KIND_NAMES:
                width = shares[name][which] / 1e3
                alpha = 1.0 if which == 0 else 0.45
                axes.barh(y, width, height, left, color=_COLOURS[name], alpha=alpha, linewidth=0)
                left += width
            label = three_digits(left) if which == 0 else f"floor {three_digits(left)}"
            axes.annotate(label, (left, y), (4, 0), textcoords="offset points", va="center")
        peer = PYTORCH[PRECISION[step.mode]].compiled.get(SHOWN_BATCH)
        if peer is not None:
            axes.plot(peer, [row + 0.36] * 2, color=_PYTORCH_COLOUR, marker="|", linewidth=1.5)
    axes.set_yticks(range(len(there)), [f"{step.mode}\n{PRECISION[step.mode]}" for step in there])
    axes.invert_yaxis()
    axes.set_xlabel(f"ms per step, batch {SHOWN_BATCH}, {GPU}: predicted, not measured")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.08)
    handles = [Patch(color=_COLOURS[name], label=name) for name in KIND_NAMES]
    line = axes.plot([], [], color=_PYTORCH_COLOUR, marker="|", label="PyTorch compiled, estimate")
    figure.legend(handles=[*handles, *line], loc="outside lower center", ncols=4, frameon=False)
    return figure
