"""From a wrong gradient to the likely mistake: where it is, what it comes from, what it looks like.

Every guess is a transformation of the right gradient that gives the wrong one, or a set of
elements that alone are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check.numeric import Derivative, Elements, elements, unit_vector

PARTS = 8
"""Into how many parts a search cuts what is left."""

EXPLAINED = 256
"""Up to so many elements are looked at one by one to explain a failure."""

SAMPLE = 64
"""Of more, so many."""

Along = Callable[[Array], Derivative]


def at(place: Sequence[Any]) -> str:
    """Return a place as people write it."""
    return "[" + ", ".join(str(int(i)) for i in place) + "]"


def explain(
    g: Array, truth: Elements, along: Along, rounding: float, place: tuple[Any, ...]
) -> tuple[str, ...]:
    """Return lines about `g`, whose worst element is at `place`, given the right gradient."""
    known = np.isfinite(truth.value) & ~truth.kink
    off = known & ~(np.abs(g - truth.value) <= rounding + truth.uncertainty)
    return (
        f"worst at {at(place)}: got {g[place]:.9g}, it must be {truth.value[place]:.9g}",
        f"{int(off.sum())} of {int(known.sum())} elements looked at are off",
        _field(along(unit_vector(g.shape, place)).moved),
        f"first guess: {first(g, truth, off, rounding)}",
    )


def search(g: Array, along: Along, rounding: float) -> tuple[str, ...]:
    """Return lines about `g`, known to be wrong, where the right gradient is not known whole.

    The elements are cut into parts, and the part that is most wrong is cut again.
    """
    part = np.arange(g.size)
    while part.size > 1:
        part = max(np.array_split(part, min(PARTS, part.size)), key=_wrongness(g, along))
    which = np.arange(g.size)
    if g.size > EXPLAINED:
        drawn = np.random.default_rng(g.size).choice(g.size, SAMPLE, replace=False)
        which = np.append(drawn, part)
    truth = elements(along, g.shape, map(int, which))
    return explain(g, truth, along, rounding, np.unravel_index(int(part[0]), g.shape))


def _wrongness(g: Array, along: Along) -> Callable[[Array], float]:
    rng = np.random.default_rng(g.size)

    def wrongness(part: Array) -> float:
        v = np.zeros(g.shape)
        v.reshape(-1)[part] = rng.standard_normal(part.size)
        d = along(v)
        return abs(float((g * v).sum()) - d.value) if np.isfinite(d.value) else 0.0

    return wrongness


def _field(moved: Array) -> str:
    """Return in words which outputs an element moves, and so where its gradient comes from."""
    if not moved.any():
        return "it comes from no output: the right gradient is 0"
    if not moved.ndim:
        return "it comes from the one output"
    ends = [(int(i.min()), int(i.max())) for i in moved.nonzero()]
    box = ", ".join(f"{low}" if low == high else f"{low}:{high + 1}" for low, high in ends)
    return f"it comes from {int(moved.sum())} of {moved.size} outputs, in [{box}]"


# Guesses ------------------------------------------------------------------------------------------


def first(g: Array, truth: Elements, off: Array, rounding: float) -> str:
    """Return the first guess that fits."""
    known = np.isfinite(truth.value) & ~truth.kink
    tolerance = float(rounding + np.max(truth.uncertainty[known], initial=0))
    for guess in (_nothing, _factor, _offset, _overwritten, _edge):
        text = guess(g, truth, known, off, tolerance)
        if text:
            return text
    if known.all():
        for name, candidate in _transformed(truth.value):
            if candidate.shape == g.shape and _same(g, candidate, tolerance):
                return name
    return "no simple relation to the right gradient; compare the formulas term by term"


def _same(a: Array, b: Array, tolerance: float) -> bool:
    scale = float(np.abs(b).max(initial=0))
    return bool(np.abs(a - b).max(initial=0) <= 4 * tolerance + 1e-6 * scale)


def _nothing(g: Array, truth: Elements, known: Array, off: Array, tolerance: float) -> str:
    return "" if g.any() else "the gradient is zero everywhere: it was never written"


def _factor(g: Array, truth: Elements, known: Array, off: Array, tolerance: float) -> str:
    G = truth.value[known]
    if G.size < 2 or not G.any():
        return ""
    factor = float((g[known] * G).sum() / (G * G).sum())
    near_one = abs(factor - 1) < 1e-6
    if near_one or abs(factor) < 1e-6 or not _same(g[known], factor * G, tolerance):
        return ""
    if abs(factor + 1) < 1e-3:
        return "the sign is wrong"
    shown = f"{1 / factor:.4g} times too small" if abs(factor) < 1 else f"{factor:.4g} times too large"
    return f"a factor is missing or one too many: every element is {shown}"


def _offset(g: Array, truth: Elements, known: Array, off: Array, tolerance: float) -> str:
    shift = g[known] - truth.value[known]
    middle = float(np.median(shift)) if shift.size > 1 else 0.0
    if not abs(middle) > 2 * tolerance or np.abs(shift - middle).max() > 4 * tolerance:
        return ""
    return f"the same number, {middle:.3g}, is added to every element"


def _overwritten(g: Array, truth: Elements, known: Array, off: Array, tolerance: float) -> str:
    shared = truth.fan > 1
    if not (known & ~shared).any() or not off.any() or off[~shared].any():
        return ""
    # of several contributions one is left
    if off.sum() < 0.5 * (known & shared & (truth.value != 0)).sum():
        return ""
    return "only elements that feed several outputs are off: `=` where it must be `+=`?"


def _edge(g: Array, truth: Elements, known: Array, off: Array, tolerance: float) -> str:
    for axis in range(g.ndim):
        length = g.shape[axis]
        lines = np.moveaxis(off, axis, 0).reshape(length, -1).any(axis=1)
        if length > 1 and lines[-1] and not lines[:-1].any():
            return f"only the last element along axis {axis} is off: a loop that ends one too early?"
        if length > 1 and lines[0] and not lines[1:].any():
            return f"only the first element along axis {axis} is off: a loop that starts one too late?"
        if length > 3 and lines[0] and lines[-1] and not lines[1:-1].any():
            return f"only the ends of axis {axis} are off: a window or its padding off by one?"
    return ""


def _transformed(G: Array) -> Iterator[tuple[str, Array]]:
    """Yield what mistakes make of the right gradient."""
    if G.ndim >= 2:
        yield "the last two axes are transposed: a filter or matrix transposed?", G.swapaxes(-1, -2)
        yield "the last two axes are flipped: a filter turned by 180 degrees?", G[..., ::-1, ::-1]
        yield "the first two axes are transposed: a filter or matrix transposed?", G.swapaxes(0, 1)
        yield (
            "the elements are in the order of the transpose: a matrix transposed?",
            np.ascontiguousarray(G.T).reshape(G.shape),
        )
    for axis in range(G.ndim):
        yield f"axis {axis} is flipped", np.flip(G, axis)
        for shift in (1, -1):
            yield f"off by one along axis {axis}: the window?", _shifted(G, axis, shift)
        for shift in range(1, G.shape[axis]):
            name = f"rotated by {shift} along axis {axis}: groups, or an offset, mixed up?"
            yield name, np.roll(G, shift, axis)
        mean = G.mean(axis=axis, keepdims=True)
        total = mean * G.shape[axis]
        name = f"along axis {axis} every element has the"
        yield f"{name} mean: a wrong axis?", np.broadcast_to(mean, G.shape)
        yield f"{name} sum: a wrong axis?", np.broadcast_to(total, G.shape)


def _shifted(G: Array, axis: int, shift: int) -> Array:
    moved = np.roll(G, shift, axis)
    np.moveaxis(moved, axis, 0)[0 if shift > 0 else -1] = 0
    return moved
