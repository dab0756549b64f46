"""A number taken apart: terms to be added up, factors to be multiplied, each with its place.

Every number that an op gives is a `Formula`: a sum of products, a choice among numbers, or a
function of some. Its factors stand in arrays, are known beforehand, or are formulas of their own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.arrays import Array

Index = tuple[int, ...]

FUNCTIONS: dict[str, Callable[..., float]] = {
    "exp": math.exp,
    "log": lambda x: math.log(x) if x > 0 else math.nan if x < 0 or x != x else -math.inf,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)),
    "absolute": abs,
    "power": lambda x, p: float(np.power(x, p)),
}
"""The functions of numbers that formulas have, by the names of their ops."""


@dataclass(frozen=True)
class Cell:
    """An element of an array.

    Attributes
    ----------
    array : str
        What the formula calls the array: ``x`` or ``gy``.
    index : tuple of int
    value : float
    is_outside : bool
        Whether it lies beyond the array's border, in the padding, and is 0.
    """

    array: str
    index: Index
    value: float
    is_outside: bool = False

    def __str__(self) -> str:
        return f"{self.array}[{', '.join(map(str, self.index))}]" if self.index else self.array


@dataclass(frozen=True)
class Known:
    """A number that stands in no array: a parameter, or one that follows from indices."""

    name: str
    value: float

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Factor:
    """A number to a power."""

    part: Cell | Known | Formula
    power: float = 1.0

    @property
    def value(self) -> float:
        """The number."""
        base = self.part.value
        if self.power == 1:
            return base
        with np.errstate(all="ignore"):
            return float(np.power(np.float64(base), self.power))

    @property
    def cancelled(self) -> float:
        """How many times its rounding is larger than that of a number that nothing cancelled in."""
        if not isinstance(self.part, Formula) or not self.part.value:
            return 1.0
        return max(1.0, abs(self.power) * self.part.size / abs(self.part.value))

    def __str__(self) -> str:
        return f"{self.part}" if self.power == 1 else f"{self.part}^{self.power:g}"


@dataclass(frozen=True)
class Term:
    """A product.

    Attributes
    ----------
    factors : tuple of Factor
    note : str
        What is to be said of it: ``padding``.
    shut : bool
        Whether a gate is shut, so that it counts for nothing, be it infinite.
    """

    factors: tuple[Factor, ...]
    note: str = ""
    shut: bool = False

    @property
    def value(self) -> float:
        """The product."""
        return 0.0 if self.shut else math.prod(factor.value for factor in self.factors)

    @property
    def size(self) -> float:
        """Its size, larger by as much as cancelled within a factor."""
        return abs(self.value) * max((factor.cancelled for factor in self.factors), default=1.0)

    def __str__(self) -> str:
        return " ".join(map(str, self.factors))


SUM, CHOICE = "sum", "choice"
"""What a formula does with its terms, where it is not a function of them."""


@dataclass(frozen=True)
class Formula:
    """A number as what it is put together from.

    Attributes
    ----------
    name : str
        What it is called: ``y[0, 3]``, or ``s``.
    text : str
        The formula in letters.
    terms : tuple of Term
    kind : str
        "sum", "choice", or the name of a function of the terms; see `FUNCTIONS`.
    chosen : int
        The number of the term that a choice takes.
    gates : tuple of Cell
        Elements that decide which terms count, and are no factors.
    """

    name: str
    text: str
    terms: tuple[Term, ...]
    kind: str = SUM
    chosen: int = 0
    gates: tuple[Cell, ...] = ()

    @functools.cached_property
    def value(self) -> float:
        """The number, in float64; sums are rounded once."""
        values = [term.value for term in self.terms]
        if self.kind == CHOICE:
            return values[self.chosen]
        if self.kind != SUM:
            return FUNCTIONS[self.kind](*values)
        return math.fsum(values) if all(map(math.isfinite, values)) else float(np.sum(values))

    @functools.cached_property
    def size(self) -> float:
        """What is added up, before any of it cancels: rounding is a share of that."""
        value, sizes = abs(self.value), [term.size for term in self.terms]
        if self.kind == SUM:
            return max(value, float(np.sum(sizes)))
        if self.kind == "exp":
            return value * max(1.0, sizes[0])
        if self.kind == "log":
            return max(value, sizes[0] / abs(self.terms[0].value or 1.0))
        return max(value, *sizes)

    @property
    def operations(self) -> int:
        """How many numbers are multiplied or added."""
        inner = (f.part for t in self.terms for f in t.factors if isinstance(f.part, Formula))
        return sum(len(t.factors) for t in self.terms) + sum(part.operations for part in inner)

    def cells(self) -> Iterator[Cell]:
        """Yield the elements of arrays that it is made of, those of inner formulas too."""
        for n in range(len(self.terms)):
            yield from self.cells_of(n)

    def cells_of(self, n: int) -> Iterator[Cell]:
        """Yield those of term number `n`."""
        for factor in self.terms[n].factors:
            if isinstance(factor.part, Cell):
                yield factor.part
            elif isinstance(factor.part, Formula):
                yield from factor.part.cells()

    def __str__(self) -> str:
        return self.name


Part = Cell | Known | Formula | Factor | float


def term(*parts: Part, note: str = "", shut: bool = False) -> Term:
    """Return the product of parts."""
    return Term(tuple(_factor(part) for part in parts), note, shut)


def _factor(part: Part) -> Factor:
    if isinstance(part, Factor):
        return part
    return Factor(Known(f"{part:g}", part) if isinstance(part, float | int) else part)


def inverse(part: Cell | Known | Formula, power: float = 1.0) -> Factor:
    """Return one over a part, to a power."""
    return Factor(part, -power)


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of one call, by the names that formulas have for them.

    They are the inputs by the names of the op's arguments, the output ``y`` and, where gradients
    are asked for, ``gy``.
    """

    arrays: Mapping[str, Array | None]

    def __getitem__(self, name: str) -> Array:
        found = self.arrays[name]
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: str) -> bool:
        return self.arrays.get(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return self[name].shape

    def cell(self, name: str, *index: int) -> Cell:
        """Return an element."""
        return Cell(name, tuple(map(int, index)), float(self[name][index]))


Terms = Callable[..., Formula]
"""``terms(arrays, index, **params)``: the formula of the element at `index`."""


def indices(*ranges: Sequence[int] | range) -> Iterator[Index]:
    """Yield all choices of one number from each range, the last changing first."""
    shape = tuple(map(len, ranges))
    for place in np.ndindex(shape):
        yield tuple(r[i] for r, i in zip(ranges, place, strict=True))
