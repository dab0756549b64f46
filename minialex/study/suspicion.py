"""Which term a wrong number is wrong in: the one change of a term that gives what ran."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations

from minialex.study.explanation import Explanation
from minialex.terms import Arrays, Cell, Factor, Formula, Known, Term
from minialex.terms.formula import CHOICE, SUM

CLEAR = 8.0
"""A change counts if it moves the number by more than so many times what rounding may."""

MAX_CHANCE = 0.01
"""Where so many of the changes that are tried would fit by chance, none is named."""

MAX_TERMS_IN_ANY_CHOICE = 10
"""Of so many terms any choice may have been left out; of more, there are too many choices."""


@dataclass(frozen=True)
class Suspicion:
    """What a number is as if.

    Attributes
    ----------
    terms : tuple of int
        The terms, counted from 1.
    what : str
        What is as if with them: ``left out``.
    """

    terms: tuple[int, ...]
    what: str

    def __str__(self) -> str:
        first, last = self.terms[0], self.terms[-1]
        if len(self.terms) == 1:
            return f"as if term {first} was {self.what}"
        in_a_row = last - first == len(self.terms) - 1
        who = f"{first} to {last}" if in_a_row else ", ".join(map(str, self.terms))
        return f"as if terms {who} were {self.what}"


def suspicion(explanation: Explanation) -> Suspicion | None:
    """Return which term a wrong number is wrong in; None where no one change says it.

    One term that is left out, counted twice, or has the wrong sign; a gate that is open; a loop
    that ends early or starts late, some of a few terms left out; another term chosen; a factor one
    element further along an axis; another count where all are divided by one. Where two different
    changes give the same number none is named.

    Parameters
    ----------
    explanation : Explanation
        Of a number that is not what its terms are.
    """
    formula, run = explanation.formula, explanation.run
    if explanation.agrees or not math.isfinite(explanation.ran - explanation.exact):
        return None
    tiers = [_chosen(formula)] if formula.kind == CHOICE else []
    if formula.kind == SUM:
        tiers = [_one_term(formula), _ends(formula), _some(formula), _counts(explanation)]
        if run is not None:
            tiers.append(_further(formula, run.arrays()))
    for tier in tiers:
        changes = list(tier)
        found = [suspected for by, suspected in changes if _fits(explanation, by)]
        if found:
            clear = len(found) == 1 and not _by_chance(explanation, [by for by, _ in changes])
            return found[0] if clear else None
    return None


def _fits(explanation: Explanation, by: float) -> bool:
    """Return whether a change of the number by so much is what happened to it."""
    off = explanation.ran - explanation.exact
    return abs(by) > CLEAR * explanation.allowed and abs(off - by) <= explanation.allowed


def _by_chance(explanation: Explanation, changes: Sequence[float]) -> bool:
    """Return whether, of so many changes, one may well fit any number."""
    spread = max(changes) - min(changes)
    return len(changes) * 2 * explanation.allowed > MAX_CHANCE * spread > 0


def _chosen(formula: Formula) -> Iterator[tuple[float, Suspicion]]:
    for n, term in enumerate(formula.terms):
        if n != formula.chosen:
            yield term.value - formula.value, Suspicion((n + 1,), "chosen")


def _one_term(formula: Formula) -> Iterator[tuple[float, Suspicion]]:
    for n, term in enumerate(formula.terms, 1):
        if term.shut:
            yield _product(term), Suspicion((n,), "let through")
        else:
            yield -term.value, Suspicion((n,), "left out")
            yield term.value, Suspicion((n,), "counted twice")
            yield -2 * term.value, Suspicion((n,), "of the other sign")


def _ends(formula: Formula) -> Iterator[tuple[float, Suspicion]]:
    """Yield the changes where only the first terms, or the last, count."""
    values = [term.value for term in formula.terms]
    count = len(values)
    for n, rest in enumerate(accumulate(reversed(values)), 1):
        if 1 < n < count:
            yield -rest, Suspicion(tuple(range(count - n + 1, count + 1)), "left out")
    for n, rest in enumerate(accumulate(values), 1):
        if 1 < n < count:
            yield -rest, Suspicion(tuple(range(1, n + 1)), "left out")


def _some(formula: Formula) -> Iterator[tuple[float, Suspicion]]:
    """Yield the changes where several of a few terms are left out, and not all."""
    there = [n for n, term in enumerate(formula.terms) if term.value]
    if len(there) > MAX_TERMS_IN_ANY_CHOICE:
        return
    for count in range(2, len(there)):
        for some in combinations(there, count):
            by = -math.fsum(formula.terms[n].value for n in some)
            yield by, Suspicion(tuple(n + 1 for n in some), "left out")


def _counts(explanation: Explanation) -> Iterator[tuple[float, Suspicion]]:
    """Yield the change where all terms are divided by another whole number than they should be."""
    formula = explanation.formula
    shares = {factor.part for term in formula.terms for factor in term.factors if _is_share(factor)}
    ran = explanation.ran
    if len(shares) == 1 and ran and all(any(map(_is_share, t.factors)) for t in formula.terms):
        share = shares.pop().value
        count = round(formula.value / (ran * share))
        if count > 0:
            terms = tuple(range(1, len(formula.terms) + 1))
            by = formula.value / (share * count) - formula.value
            yield by, Suspicion(terms, f"divided by {count} and not by {round(1 / share)}")


def _is_share(factor: Factor) -> bool:
    """Return whether a factor is one over a whole number that stands in no array."""
    value = factor.part.value if isinstance(factor.part, Known) else 1.0
    return 0 < value < 1 and math.isclose(round(1 / value) * value, 1.0)


def _further(formula: Formula, arrays: Arrays) -> Iterator[tuple[float, Suspicion]]:
    """Yield the changes where one factor is the element before or after, along one axis."""
    for n, term in enumerate(formula.terms, 1):
        for k, factor in enumerate(term.factors):
            if not isinstance(factor.part, Cell) or factor.power != 1 or term.shut:
                continue
            others = math.prod(f.value for i, f in enumerate(term.factors) if i != k)
            for cell in _neighbours(factor.part, arrays):
                by = (cell.value - factor.part.value) * others
                yield by, Suspicion((n,), f"one with {cell} for {factor.part}")


def _neighbours(cell: Cell, arrays: Arrays) -> Iterator[Cell]:
    shape = arrays.shape(cell.array)
    for axis in range(len(shape)):
        for step in (-1, 1):
            index = tuple(i + step * (d == axis) for d, i in enumerate(cell.index))
            if all(0 <= i < n for i, n in zip(index, shape, strict=True)):
                yield arrays.cell(cell.array, *index)


def _product(term: Term) -> float:
    return math.prod(factor.value for factor in term.factors)
