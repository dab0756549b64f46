"""From wrong numbers to the likely mistake: where it is, what it comes from, what it looks like.

Every guess is a transformation of the right gradient, or output, that gives the wrong one, or a
set of elements that alone are wrong. One says nothing rather than what might not be so. `GUESSES`
are asked in order; a user who knows more adds a function of `Clues` to them.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check import noise
from minialex.check.case import is_float
from minialex.check.clues import Clues, Evidence, GuessFunction
from minialex.check.derivatives import Derivative, ElementwiseDerivatives, elements, unit_vector
from minialex.check.numeric import DerivativeProblem

SEARCH_PARTS = 8
"""Into how many parts a search cuts what is left."""

MAX_ELEMENTS_EXPLAINED = 100
"""Up to so many elements are looked at one by one to explain a failure."""

SAMPLED_ELEMENTS = 24
"""Of more, so many."""

MIN_SAMPLED_ELEMENTS = 8
"""Where the function takes long, so many."""

MIN_WRONG_FOR_A_PATTERN = 3
"""How many elements must be off before their places say something."""

MAX_ELEMENTS_SHIFTED = 1 << 24
"""Where trying every shift along an axis would copy more numbers than this, none is tried."""

FLOAT32_NOISE = 2.0**-18
"""How far off float32 may have made a sum, as a share of the largest element."""

STEPPED_OVER, NOT_SEEN = 2.0**-12, 2.0**-40
"""By which share of themselves numbers change so that float32 sees it, and so that float64 does."""

Along = Callable[[Array], Derivative]


def at(place: Sequence[Any]) -> str:
    """Return a place as people write it."""
    return "[" + ", ".join(str(int(i)) for i in place) + "]"


def differ(got: float, want: float) -> str:
    """Return both numbers, with as many digits as it takes to tell them apart."""
    shown = ".17g" if f"{got:.9g}" == f"{want:.9g}" else ".9g"
    return f"got {got:{shown}}, it must be {want:{shown}}"


def explain(
    g: Array,
    truth: ElementwiseDerivatives,
    along: Along,
    rounding: float,
    place: tuple[Any, ...] | None = None,
    evidence: Evidence | None = None,
) -> tuple[str, ...]:
    """Return lines about `g`, given the right gradient.

    `along` differentiates along a direction, and `place` is the worst element, if that is known.
    """
    if place is None:
        error = np.where(truth.kink, 0.0, np.abs(g - truth.value))
        place = np.unravel_index(int(np.nan_to_num(error).argmax()), g.shape)
    known = np.isfinite(truth.value) & ~truth.kink
    off = known & ~(np.abs(g - truth.value) <= rounding + truth.uncertainty)
    return (
        f"worst at {at(place)}: {differ(g[place], truth.value[place])}",
        f"{int(off.sum())} of {int(known.sum())} elements looked at are off",
        receptive_field(along(unit_vector(g.shape, place)).depends),
        f"first guess: {first(g, truth, off, rounding, evidence)}",
    )


def search(
    g: Array,
    along: Along,
    rounding: float,
    sample: int = SAMPLED_ELEMENTS,
    evidence: Evidence | None = None,
) -> tuple[str, ...]:
    """Return lines about `g`, known to be wrong, where the right gradient is not known whole.

    The elements are cut into parts, and the part that is most wrong is cut again. `sample`
    elements besides are drawn at random and looked at.
    """
    part = np.arange(g.size)
    while part.size > 1:
        part = max(np.array_split(part, min(SEARCH_PARTS, part.size)), key=_wrongness(g, along))
    drawn = np.random.default_rng(g.size).choice(g.size, min(g.size, sample), replace=False)
    truth = elements(along, g.shape, map(int, np.append(drawn, part)))
    place = np.unravel_index(int(part[0]), g.shape)
    return explain(g, truth, along, rounding, place, evidence)


def _wrongness(g: Array, along: Along) -> Callable[[Array], float]:
    rng = np.random.default_rng(g.size)

    def wrongness(part: Array) -> float:
        v = np.zeros(g.shape)
        v.reshape(-1)[part] = rng.standard_normal(part.size)
        d = along(v)
        return abs(float((g * v).sum()) - d.value) if np.isfinite(d.value) else 0.0

    return wrongness


def receptive_field(depends: Array) -> str:
    """Describe which outputs depend on an element, and so where its gradient comes from."""
    if not depends.any():
        return "it comes from no output: the right gradient is 0"
    if not depends.ndim:
        return "it comes from the one output"
    ends = [(int(i.min()), int(i.max())) for i in depends.nonzero()]
    return f"it comes from {int(depends.sum())} of {depends.size} outputs, in [{_spans(ends)}]"


def sources(problem: DerivativeProblem, place: tuple[Any, ...]) -> str:
    """Describe which elements of the inputs the output at `place` is made from."""
    made_from = []
    for k, x in enumerate(problem.inputs):
        box = _box(problem, k, place) if x is not None and is_float(x) and x.size else None
        if box is not None:
            name = problem.name(k)
            made_from.append(f"{name} in [{_spans(box)}]" if box else name)
    return f"it is made from {', '.join(made_from) or 'no number of any input'}"


def _box(
    problem: DerivativeProblem, k: int, place: tuple[Any, ...]
) -> list[tuple[int, int]] | None:
    """Return the first and last index, along each axis, of what the output depends on."""
    x = problem.input(k)
    finite = np.where(np.isfinite(x), x, 0.0)
    push = (1 + np.abs(finite).max()) * np.random.default_rng(x.size).uniform(1, 2, x.shape)

    def reaches(axis: int, part: slice) -> bool:
        rest = (slice(None),) * (x.ndim - 1 - axis)
        where: tuple[Any, ...] = (..., part, *rest) if x.ndim else ()
        pushed = x.copy()
        pushed[where] = finite[where] + push[where]
        after, before = problem.with_input(k, pushed)[place], problem.y[place]
        return not np.array_equal(after, before, equal_nan=True)

    if not reaches(0, slice(None)):
        return None
    box = []
    for axis, n in enumerate(x.shape):
        # the more of an axis is pushed, from either end, the sooner that reaches the output
        first = bisect.bisect_left(range(n), True, key=lambda i: reaches(axis, slice(i + 1)))
        left = bisect.bisect_left(range(n), True, key=lambda i: reaches(axis, slice(n - 1 - i, n)))
        box.append((first, n - 1 - left))
    return box


def _spans(box: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{low}" if low == high else f"{low}:{high + 1}" for low, high in box)


# Guesses ------------------------------------------------------------------------------------------


def _nothing(clues: Clues) -> str:
    return "" if clues.g.any() else "it is zero everywhere: was it never written?"


def _factor(clues: Clues) -> str:
    g, G = clues.g[clues.known], clues.truth.value[clues.known]
    if np.count_nonzero(G) < 2:
        return ""
    factor = float((g * G).sum() / (G * G).sum())
    near_one = abs(factor - 1) < 1e-6
    if near_one or abs(factor) < 1e-6 or not clues.same(g, factor * G):
        return ""
    if abs(factor + 1) < 1e-3:
        return "the sign is wrong"
    small = abs(factor) < 1
    if abs(factor - 1) < 1e-3:
        off_by = f"{abs(factor - 1):.2g} of itself too {'small' if small else 'large'}"
        return f"a constant is not exact: every element is {off_by}"
    shown = f"{1 / factor if small else factor:.4g} times too {'small' if small else 'large'}"
    return f"a factor is missing or one too many: every element is {shown}"


def _offset(clues: Clues) -> str:
    shift = clues.g[clues.known] - clues.truth.value[clues.known]
    middle = float(np.median(shift)) if shift.size > 1 else 0.0
    spread = np.abs(shift - middle).max(initial=0)
    if not abs(middle) > 2 * clues.tolerance or spread > 4 * clues.tolerance:
        return ""
    return f"the same number, {middle:.3g}, is added to every element"


def _changed_definition(clues: Clues) -> str:
    return clues.changed_definition()


def _overwritten(clues: Clues) -> str:
    known, off, fan_out = clues.known, clues.off, clues.truth.fan_out
    shared = fan_out > np.min(fan_out, initial=fan_out.max(), where=fan_out > 0)
    if not (known & ~shared).any() or not off.any() or off[~shared].any():
        return ""
    # most of them: of several contributions one is left
    if off.sum() < 0.5 * (known & shared & (clues.truth.value != 0)).sum():
        return ""
    return "only elements that feed more outputs than others are off: `=` where it must be `+=`?"


def _one(clues: Clues) -> str:
    off = clues.off
    if off.sum() != 1 or off.size == 1:
        return ""
    ends = {0: "the first element", off.size - 1: "the last element"}
    return f"{ends.get(int(off.argmax()), 'one element')} alone is off: a loop's end, or an index?"


def _edge(clues: Clues) -> str:
    off = clues.off
    if off.sum() < MIN_WRONG_FOR_A_PATTERN:
        return ""
    for axis, length in enumerate(off.shape):
        where = set(np.flatnonzero(np.moveaxis(off, axis, 0).reshape(length, -1).any(axis=1)))
        if length > 2 and where == {length - 1}:
            return f"only the last of axis {axis} is off: a loop that ends one too early?"
        if length > 2 and where == {0}:
            return f"only the first of axis {axis} is off: a loop that starts one too late?"
        if length > 3 and where == {0, length - 1}:
            return f"only the ends of axis {axis} are off: a window or its padding off by one?"
    return ""


def _moved(clues: Clues) -> str:
    g = clues.g
    if clues.known.all() and g.size * sum(g.shape) <= MAX_ELEMENTS_SHIFTED:
        for name, part, candidate in _transformed(g, clues.truth.value):
            if candidate.shape == part.shape and clues.same(part, candidate):
                return name
    return ""


def _transformed(g: Array, G: Array) -> Iterator[tuple[str, Array, Array]]:
    """Yield what a mistake makes of the right gradient `G`, beside the part of `g` it explains."""
    if G.ndim >= 2:
        yield "the last two axes are transposed: a filter or matrix?", g, G.swapaxes(-1, -2)
        yield "the last two axes are flipped: a filter flipped?", g, G[..., ::-1, ::-1]
        yield "the first two axes are transposed: a filter or matrix?", g, G.swapaxes(0, 1)
        rows = np.ascontiguousarray(G.T).reshape(G.shape)
        yield "the elements are in the order of the transpose: a matrix transposed?", g, rows
    for axis in range(G.ndim):
        yield f"axis {axis} is flipped", g, np.flip(G, axis)
        for one, other in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            name = f"off by one along axis {axis}: a window, or its padding?"
            yield name, _part(g, one, axis), _part(G, other, axis)
            if axis < G.ndim - 1:
                axes = f"axes {axis} and {axis + 1}"
                part, shifted = _part(g, one, axis, axis + 1), _part(G, other, axis, axis + 1)
                yield f"off by one along {axes}: a window, or its padding?", part, shifted
        # by one, either way, has a name already
        for shift in range(2, G.shape[axis] - 1):
            name = f"rotated by {shift} along axis {axis}: groups, or an offset, mixed up?"
            yield name, g, np.roll(G, shift, axis)
        mean = G.mean(axis=axis, keepdims=True)
        same = f"along axis {axis} every element has the"
        yield f"{same} mean: a wrong axis?", g, np.broadcast_to(mean, G.shape)
        yield f"{same} sum: a wrong axis?", g, np.broadcast_to(mean * G.shape[axis], G.shape)


def _part(a: Array, part: slice, *axes: int) -> Array:
    """Return `a` cut to `part` along `axes`."""
    index = [part if axis in axes else slice(None) for axis in range(a.ndim)]
    return a[tuple(index)]


def _not_linear(clues: Clues) -> str:
    """Compare what becomes of twice the cotangent, and of a sum of two."""
    if not clues.repeats or clues.evidence is None:
        return ""
    if clues.apart(clues.again(2.0), 2 * clues.g):
        return "it is not linear in gy: for 2 gy it is not twice as large"
    share = np.random.default_rng(0).uniform(-1, 2, clues.evidence.problem.gy.shape)
    if clues.apart(clues.again(share) + clues.again(1 - share), clues.g):
        return "it is not linear in gy: for a + b it is not the sum of those for a and b"
    return ""


def _float32(clues: Clues) -> str:
    """Ask whether float64 is off by noise of float32's size, and changes in steps of that size."""
    G = np.where(clues.known, clues.truth.value, 0.0)
    error = np.where(clues.known, np.abs(clues.g - G), 0.0)
    most = 0.75 * np.count_nonzero(G)
    if not clues.repeats or clues.evidence is None or clues.evidence.rerun is None:
        return ""
    narrow = clues.evidence.rerun.dtype != np.float64 or most < MIN_WRONG_FOR_A_PATTERN
    if narrow or clues.off.sum() < most or error.max() > FLOAT32_NOISE * np.abs(G).max():
        return ""
    by_inputs = [clues.again(perturb=_perturbing(share)) for share in (STEPPED_OVER, NOT_SEEN)]
    factors = noise.factors(clues.evidence.problem.gy.shape, np.random.default_rng(0))
    by_gy = [clues.again(1 + share * factors) for share in (STEPPED_OVER, NOT_SEEN)]
    for far, near in (by_inputs, by_gy):
        moved = far != clues.g
        if moved.sum() >= most and (near == clues.g)[moved].mean() >= 0.75:
            return "as if computed in float32: a cast, or an array of that type, on the way?"
    return ""


def _perturbing(share: float) -> noise.Perturb:
    return functools.partial(noise.perturbed, rng=np.random.default_rng(0), share=share)


def _another_input(clues: Clues) -> str:
    g = clues.g.reshape(-1)[clues.looked_at]
    for name, G in clues.other_inputs():
        if clues.same(g, G):
            return f"it is the gradient of {name}: are two of them in the wrong order?"
    return ""


def _one_row(clues: Clues) -> str:
    g = clues.g.reshape(-1)[clues.looked_at]
    for name, G in clues.rows_alone():
        if clues.same(g, G):
            return f"it is what the {name} of the output gives alone: is a sum over rows missing?"
    return ""


GUESSES: list[GuessFunction] = [
    _nothing,
    _factor,
    _offset,
    _changed_definition,
    _one,
    _overwritten,
    _edge,
    _moved,
    _not_linear,
    _float32,
    _another_input,
    _one_row,
]
"""What is asked, in this order: what costs most stands last."""


def first(
    g: Array,
    truth: ElementwiseDerivatives,
    off: Array,
    rounding: float,
    evidence: Evidence | None = None,
) -> str:
    """Return the first guess that fits."""
    known = np.isfinite(truth.value) & ~truth.kink
    tolerance = float(rounding + np.max(truth.uncertainty[known], initial=0))
    clues = Clues(g, truth, known, off, tolerance, evidence)
    found = (guess(clues) for guess in GUESSES)
    return next(
        filter(None, found),
        "no simple relation to what is right; compare the formulas term by term",
    )
