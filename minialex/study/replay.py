"""A thread's sum done again, from the numbers that it read, in the order in which it read them."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np

from minialex.cuda.emulator.system import processor_flags
from minialex.study.explanation import Explanation
from minialex.study.thread_reads import ThreadRead
from minialex.terms import Cell, Term
from minialex.terms.formula import SUM


@dataclass(frozen=True)
class Replay:
    """A sum done again.

    Attributes
    ----------
    value : float or None
        What came out, in the order that gives the bits that were written, if one does.
    order : str
        In which order that was; or why the order cannot be seen.
    """

    value: float | None
    order: str

    @property
    def same_bits(self) -> bool:
        """Whether it gives what was written."""
        return self.value is not None


@dataclass(frozen=True)
class _Addend:
    """A product of two numbers, or one alone, and the first index of what it is of."""

    a: float
    b: float | None
    group: int


def _by_image(addends: Sequence[_Addend]) -> list[list[_Addend]]:
    return [list(some) for _, some in groupby(addends, key=lambda one: one.group)]


_ORDERS: dict[str, Callable[[Sequence[_Addend]], Sequence[Sequence[_Addend]]]] = {
    "one product after another, in the order of its reads": lambda addends: [addends],
    "each image summed up by itself, and then added": _by_image,
}
"""How the kernels of the package that sum up in one thread do it."""


def replayed(
    explanation: Explanation, reads: Sequence[ThreadRead], cells: Sequence[Cell | None]
) -> Replay:
    """Add up what a thread read, and say whether that gives what it wrote.

    Parameters
    ----------
    explanation : Explanation
        Of what it wrote.
    reads : sequence of ThreadRead
        In order.
    cells : sequence of Cell or None
        The elements of the formula's arrays that they are of.
    """
    formula = explanation.formula
    if formula.kind != SUM:
        return Replay(None, "it is no sum")
    if not all(map(_is_plain, formula.terms)):
        return Replay(None, "its terms are no products of two elements")
    if not formula.terms and explanation.ran == 0:
        return Replay(0.0, "nothing is added up")
    if any(not read.candidates and read.bits for read in reads):
        return Replay(None, "it adds up numbers that threads had computed before")
    if any(read.candidates and cell is None for read, cell in zip(reads, cells, strict=True)):
        return Replay(None, "it reads what is no element of the op's arrays")
    addends = _addends(explanation, reads, cells)
    if not addends:
        return Replay(None, "its reads do not pair up: numbers stay in registers")
    for order, grouped in _ORDERS.items():
        value = _total(grouped(addends), explanation.dtype)
        if value == explanation.ran:
            return Replay(value, order)
    return Replay(None, "no order of its reads gives the bits: numbers stay in registers")


def _is_plain(term: Term) -> bool:
    """Return whether a term is an element, or a product of two."""
    return len(term.factors) <= 2 and all(
        isinstance(factor.part, Cell) and factor.power == 1 for factor in term.factors
    )


def _addends(
    explanation: Explanation, reads: Sequence[ThreadRead], cells: Sequence[Cell | None]
) -> list[_Addend]:
    """Return products in the order of the reads, two by two; nothing where they do not pair up."""
    formula = explanation.formula
    alone = {
        (cell.array, cell.index)
        for n, term in enumerate(formula.terms)
        if len(term.factors) == 1
        for cell in formula.cells_of(n)
    }
    found: list[_Addend] = []
    waiting: ThreadRead | None = None
    group = 0
    for read, cell in zip(reads, cells, strict=True):
        # a zero that stands for an element outside belongs to what came before
        group = cell.index[0] if cell is not None and cell.index else group
        if cell is not None and (cell.array, cell.index) in alone:
            found.append(_Addend(read.value, None, group))
        elif waiting is None:
            waiting = read
        else:
            found.append(_Addend(waiting.value, read.value, group))
            waiting = None
    return found if waiting is None else []


def _total(groups: Sequence[Sequence[_Addend]], dtype: np.dtype[Any]) -> float:
    total = 0.0
    for n, group in enumerate(groups):
        start = 0.0 if len(groups) > 1 else total
        for one in group:
            start = _added(start, one, dtype)
        total = start if n == 0 else float(dtype.type(total) + dtype.type(start))
    return total


def _added(total: float, one: _Addend, dtype: np.dtype[Any]) -> float:
    """Return the sum after one addend, rounded as the emulated kernels round here."""
    if not all(math.isfinite(n) for n in (total, one.a, one.b or 0.0)):
        return math.nan
    if one.b is None:
        return float(dtype.type(total) + dtype.type(one.a))
    if not _fuses():
        return float(dtype.type(total) + dtype.type(one.a) * dtype.type(one.b))
    return _rounded(Fraction(one.a) * Fraction(one.b) + Fraction(total), dtype)


def _fuses() -> bool:
    """Return whether emulated kernels round a product together with the sum that follows it."""
    return platform.machine() in ("aarch64", "arm64") or "-mfma" in processor_flags()


def _rounded(exact: Fraction, dtype: np.dtype[Any]) -> float:
    """Return a number rounded once to `dtype`."""
    near = float(exact)
    if dtype == np.float64 or Fraction(near) == exact:
        return float(dtype.type(near))
    # to odd: rounding to float64 first then does not move what lies half-way in float32
    if np.float64(near).view(np.int64) & 1 == 0:
        near = math.nextafter(near, math.inf if exact > Fraction(near) else -math.inf)
    return float(dtype.type(near))
