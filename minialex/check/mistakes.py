"""Definitions with one thing changed, as people change them by mistake, to compare numbers with.

Each says what is changed, and gives any element as it then is. Where wrong numbers are those, and
the right ones are not, that is what they are, whatever the code looks like that made them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check.written_out import WrittenOut
from minialex.terms import Arrays, Cell, Formula
from minialex.terms.formula import SUM, Index

MAX_TERMS = 2048
"""Of numbers that are put together from more terms than this nothing is asked: it takes seconds."""

MAX_ELEMENTS, MAX_TERMS_IN_ALL = 64, 20_000
"""A change is compared at up to so many elements, which have up to so many terms together."""

MIN_TOLD_APART = 2
"""At so many elements, at least, a change must give the wrong numbers and not the right ones."""

MAX_NAMED = 2
"""Where more changes than this give the same numbers, none is named."""

Element = Callable[[Index], float]


@dataclass(frozen=True)
class Mistake:
    """One thing that is changed, and what an element is then."""

    said: str
    element: Element


@dataclass(frozen=True)
class Numbers:
    """Numbers at some elements, in question: what they are, and what they must be."""

    places: Sequence[Index]
    got: Sequence[float]
    right: Sequence[float]
    tolerance: float

    def are(self, element: Element) -> bool:
        """Return whether they are what `element` gives, and the right ones are not."""
        told_apart = missing = 0
        for place, got, right in zip(self.places, self.got, self.right, strict=True):
            try:
                value = element(place)
            except (ArithmeticError, LookupError, ValueError):
                # it lies where no array reaches: what is found there no definition says
                missing += 1
                if 4 * missing > len(self.places):
                    return False
                continue
            if not abs(value - got) <= self.tolerance:
                return False
            told_apart += not abs(value - right) <= 2 * self.tolerance
        return told_apart >= MIN_TOLD_APART

    def are_right(self, element: Element) -> bool:
        """Return whether `element` gives the right ones."""
        together = zip(self.places, self.right, strict=True)
        return all(abs(element(place) - right) <= self.tolerance for place, right in together)


def named(of: WrittenOut, off: Array, known: Array, g: Array, right: Array, tol: float) -> str:
    """Return which changes of a definition give the numbers `g`; nothing where none is sure.

    Parameters
    ----------
    of : WrittenOut
        The definition.
    off, known : arrays of bool
        Where `g` is off, and where something right is known.
    g, right : arrays
    tol : float
        How far off rounding may have put an element.
    """
    places = _drawn(off, known)
    if len(places) < MIN_TOLD_APART:
        return ""
    try:
        first = of.formula(places[0])
    except (LookupError, TypeError):
        # an op of the user's own that has the name of another
        return ""
    terms = max(1, first.operations // 2)
    if terms > MAX_TERMS:
        return ""
    places = places[: max(MIN_TOLD_APART, MAX_TERMS_IN_ALL // terms)]
    got, must_be = ([float(a[place]) for place in places] for a in (g, right))
    numbers = Numbers(places, got, must_be, tol)
    found = [m.said for m in changes(of) if numbers.are(m.element)]
    if first.kind == SUM and any(len(of.formula(place).terms) > 1 for place in places[:8]):
        # of parts that fit, all are the same but in words
        found += itertools.islice((m.said for m in parts(of) if numbers.are(m.element)), 1)
    if not found or len(found) > MAX_NAMED:
        return ""
    return "; or ".join(found) if numbers.are_right(lambda at: of.formula(at).value) else ""


def _drawn(off: Array, known: Array) -> list[Index]:
    """Return some elements, those that are off and those that are right by turns."""
    rng = np.random.default_rng(off.size)
    sides = [rng.permutation(np.flatnonzero(known & some)) for some in (off, ~off)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*sides))
    drawn = itertools.islice((n for n in turns if n is not None), MAX_ELEMENTS)
    return [tuple(map(int, np.unravel_index(n, off.shape))) for n in drawn]


def changes(of: WrittenOut) -> Iterator[Mistake]:
    """Yield the definition with a parameter, an array or an axis changed."""
    yield from _settings(of)
    yield from _arrays(of)
    yield from _axes(of)


def _with(of: WrittenOut, said: str, **changed: Any) -> Mistake:
    other = dataclasses.replace(of, **changed)
    return Mistake(said, lambda index: other.formula(index).value)


# Parameters ---------------------------------------------------------------------------------------

_FORGOTTEN: dict[str, Any] = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "label_smoothing": 0.0,
}
"""What a parameter is that is not passed on."""

_PAIRS = "kernel_size", "stride", "padding", "dilation", "output_size"
"""Parameters that are a number for the height and one for the width."""


def _settings(of: WrittenOut) -> Iterator[Mistake]:
    """Yield the definition with other parameters."""
    params = of.params
    pairs = {name: params[name] for name in _PAIRS if name in params}
    for name, given in params.items():
        others = _other_pairs(name, params) if name in pairs else _other_values(name, of)
        for value, reasons in others.items():
            said = f"as with {name} {_text(value)} for {_text(given)}: {' or '.join(reasons)}?"
            yield _with(of, said, params={**params, name: value})
    unequal = {name: pair[::-1] for name, pair in pairs.items() if pair[0] != pair[1]}
    if len(unequal) > 1:
        said = f"as with height and width swapped in {' and '.join(unequal)}"
        yield _with(of, said, params={**params, **unequal})


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def _other_pairs(name: str, params: Mapping[str, Any]) -> dict[Any, list[str]]:
    """Return what a pair may be by mistake, with the reasons."""
    given = params[name]
    height, width = given
    found: dict[Any, list[str]] = {}

    def add(value: tuple[int, int], reason: str) -> None:
        if value != given:
            found.setdefault(value, []).append(reason)

    none = _FORGOTTEN.get(name)
    if none is not None:
        add((none, none), "forgotten")
        for value, side in (((none, width), "height"), ((height, none), "width")):
            if value not in found:
                add(value, f"forgotten along the {side}")
    add((width, height), "height's and width's swapped")
    add((height, height), "height's for width's")
    add((width, width), "width's for height's")
    if name == "stride" and "kernel_size" in params:
        add(params["kernel_size"], "the window's size")
    return found


def _other_values(name: str, of: WrittenOut) -> dict[Any, list[str]]:
    """Return what a parameter that is no pair may be by mistake, with the reasons."""
    given = of.params[name]
    if name == "count_include_pad":
        return {not given: [f"{'without' if given else 'with'} the padding"]}
    if name == "alpha" and "size" in of.params:
        return {given / of.params["size"]: ["of a mean, not a sum"]}
    if name == "dim":
        axes = len(of.arrays.shape("gy"))
        return {d: ["a wrong axis"] for d in range(axes) if d != given % axes}
    return {_FORGOTTEN[name]: ["forgotten"]} if given != _FORGOTTEN.get(name, given) else {}


# Arrays, and axes ---------------------------------------------------------------------------------


def _arrays(of: WrittenOut) -> Iterator[Mistake]:
    """Yield the definition with a filter flipped or transposed, or without an array."""
    for name in ("w", "a", "b"):
        array = of.arrays.arrays.get(name)
        if array is not None and array.ndim == 1:
            # a bias, or the weights of classes
            yield _with(of, f"as without {name}", arrays=_replaced(of.arrays, name, None))
        if array is None or array.ndim < 2:
            continue
        if name == "w" and array.ndim == 4:
            for axes, along in (((2,), "height"), ((3,), "width"), ((2, 3), "height and width")):
                flipped = functools.partial(np.flip, axis=axes)
                yield _moved(of, name, f"flipped along its {along}", flipped)
        if array.shape[-1] == array.shape[-2]:
            yield _moved(of, name, "transposed", lambda a: a.swapaxes(-1, -2))


def _replaced(arrays: Arrays, name: str, array: Array | None) -> Arrays:
    return Arrays({**arrays.arrays, name: array})


def _moved(of: WrittenOut, name: str, how: str, move: Callable[[Array], Array]) -> Mistake:
    """Return the definition with an array's elements elsewhere; of its own gradient, those."""
    array = of.arrays[name]
    if of.which != f"g{name}":
        arrays = _replaced(of.arrays, name, move(array))
        return _with(of, f"as with {name} {how}", arrays=arrays)
    numbers = move(np.arange(array.size).reshape(array.shape))

    def element(index: Index) -> float:
        there = np.unravel_index(numbers[index], array.shape)
        return of.formula(tuple(map(int, there))).value

    return Mistake(f"as with the gradient of {name} {how}", element)


def _axes(of: WrittenOut) -> Iterator[Mistake]:
    """Yield normalisation over windows along another axis than the channels."""
    if "size" not in of.params:
        return
    for axis in (0, 2, 3):
        swapped = {
            name: None if a is None else a.swapaxes(1, axis) for name, a in of.arrays.arrays.items()
        }
        other = dataclasses.replace(of, arrays=Arrays(swapped))
        said = f"as with windows along axis {axis} for 1, the channels: a wrong axis?"
        yield Mistake(said, functools.partial(_in_swapped, other, axis))


def _in_swapped(of: WrittenOut, axis: int, index: Index) -> float:
    place = list(index)
    place[1], place[axis] = place[axis], place[1]
    return of.formula(tuple(place)).value


# Sums ---------------------------------------------------------------------------------------------

_LEFT = "as with the terms of {} alone: `=` for `+=`, or others left out?"
_LEFT_OUT = "as without the terms of {}: a loop that"

Counted = tuple[Mapping[str, Index], float, bool]
"""The elements of arrays in a term, its value, and whether it counts: no padding, no shut gate."""


def parts(of: WrittenOut) -> Iterator[Mistake]:
    """Yield sums of which a part alone is left, and sums without one.

    What is left has the last, or first, element of an array along some axes of those that are in
    the sum; what is left out has the last or first that there is.
    """
    counted = functools.cache(lambda index: _counted(of.formula(index)))
    shapes = {n: of.arrays.shape(n) for n in ("gy", "w", "x", "a", "b") if n in of.arrays}
    for name, shape in shapes.items():
        for axes, end, said in _ends(name, shape):
            for all_count in (False, True):
                yield Mistake(_LEFT.format(said), _Left(name, axes, end, all_count).of(counted))
    for name, shape in shapes.items():
        for axes, end, said in _ends(name, shape):
            key = tuple((shape[d] + end) % shape[d] for d in axes)
            when = "ends one too early" if end else "starts one too late"
            yield Mistake(
                f"{_LEFT_OUT.format(said)} {when}?", _LeftOut(name, axes, key).of(counted)
            )


def _ends(name: str, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], int, str]]:
    """Yield axes, whether their last elements are meant (-1), and what these are called."""
    long = tuple(d for d, n in enumerate(shape) if n > 1)
    for end, which in ((-1, "last"), (0, "first")):
        if name == "gy" and len(shape) == 4:
            yield (2, 3), end, f"the {which} window"
        for d in long:
            yield (d,), end, f"the {which} {name} along axis {d}"
        if len(long) > 1:
            yield long, end, f"the {which} {name}"


@dataclass(frozen=True)
class _Left:
    """The terms with the last (-1) or first (0) elements of an array along some axes."""

    array: str
    axes: tuple[int, ...]
    end: int
    all_count: bool

    def of(self, counted: Callable[[Index], Sequence[Counted]]) -> Element:
        """Return what a sum is with these alone."""
        return lambda index: self._value(counted(index))

    def _value(self, terms: Sequence[Counted]) -> float:
        keyed, rest = [], 0.0
        for cells, value, counts in terms:
            if self.array not in cells:
                rest += value
            elif counts or self.all_count:
                keyed.append((tuple(cells[self.array][d] for d in self.axes), value))
        if not keyed:
            return rest
        end = max(keyed)[0] if self.end else min(keyed)[0]
        return rest + math.fsum(value for key, value in keyed if key == end)


@dataclass(frozen=True)
class _LeftOut:
    """The terms with other elements of an array than one, along some axes."""

    array: str
    axes: tuple[int, ...]
    key: Index

    def of(self, counted: Callable[[Index], Sequence[Counted]]) -> Element:
        """Return what a sum is with them alone."""
        return lambda index: self._value(counted(index))

    def _value(self, terms: Sequence[Counted]) -> float:
        kept = (
            value
            for cells, value, _ in terms
            if self.array not in cells
            or any(cells[self.array][d] != i for d, i in zip(self.axes, self.key, strict=True))
        )
        return math.fsum(kept)


def _counted(formula: Formula) -> list[Counted]:
    """Return the terms of a sum."""
    found: list[Counted] = []
    for term in formula.terms:
        cells = [f.part for f in term.factors if isinstance(f.part, Cell)]
        counts = not term.shut and not any(cell.is_outside for cell in cells)
        found.append(({cell.array: cell.index for cell in cells}, term.value, counts))
    return found
