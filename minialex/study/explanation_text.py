"""An explanation in words and numbers, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from minialex.study.explanation import Explanation
from minialex.terms import Factor, Formula, Term
from minialex.wording import counted


def lines(found: Explanation, title: str, top: int) -> Iterator[str]:
    """Yield the lines of an explanation.

    Parameters
    ----------
    found : Explanation
    title : str
        What was asked for.
    top : int
        How many terms to show at most, the largest first.
    """
    place = f"[{', '.join(map(str, found.index))}]" if found.index else ""
    yield f"{title} = {found.ran:.9g}"
    yield f"  {found.which}{place} of {found.maker}, in {found.dtype}"
    yield f"  {found.which} = {found.formula.text}"
    yield ""
    yield from _terms(found.formula, top)
    yield ""
    yield from _agreement(found)


def _terms(formula: Formula, top: int) -> Iterator[str]:
    order = sorted(range(len(formula.terms)), key=lambda i: -_weight(formula, i))
    shown = order[:top]
    rows = [_row(formula, i) for i in shown]
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(3)]
    for i, (text, numbers, value) in zip(shown, rows, strict=True):
        note = formula.terms[i].note
        cells = text.ljust(widths[0]), numbers.ljust(widths[1]), value.rjust(widths[2])
        yield f"  {i + 1:>5}  {'  '.join(cells)}{f'   {note}' if note else ''}".rstrip()
    left = len(order) - len(shown)
    if left:
        rest = sum(formula.terms[i].value for i in order[top:] if formula.kind == "sum")
        together = f", {rest:.6g} together" if formula.kind == "sum" else ""
        yield f"         and {counted(left, 'smaller term')}{together}"
    padding = sum(term.note == "padding" for term in formula.terms)
    if padding:
        yield f"         {padding} of {len(formula.terms)} are padding"


def _weight(formula: Formula, i: int) -> float:
    chosen = formula.kind == "choice" and i == formula.chosen
    value = abs(formula.terms[i].value)
    return math.inf if chosen or math.isnan(value) else value


def _row(formula: Formula, i: int) -> tuple[str, str, str]:
    """Return a term in letters, in numbers, and its value."""
    term = formula.terms[i]
    mark = " <- this" if formula.kind == "choice" and i == formula.chosen else ""
    if term.shut:
        return _letters(term), "shut", f"= 0{mark}"
    return _letters(term), _numbers(term), f"= {term.value:.6g}{mark}"


def _letters(term: Term) -> str:
    return " ".join(map(str, term.factors)) or "1"


def _numbers(term: Term) -> str:
    return " x ".join(_number(factor) for factor in term.factors)


def _number(factor: Factor) -> str:
    value = f"{factor.part.value:.6g}"
    value = f"({value})" if value.startswith("-") else value
    return value if factor.power == 1 else f"{value}^{factor.power:g}"


def _agreement(found: Explanation) -> Iterator[str]:
    kind = {"sum": "the sum of the terms", "choice": "the choice"}.get(found.formula.kind, "that")
    yield f"  {kind} is {found.exact:.12g}; {_who(found)} made {found.ran:.9g} of it:"
    if math.isinf(found.digits):
        yield "  the same number"
        return
    apart = abs(found.exact - found.ran)
    verdict = "as far as rounding may put them" if found.agrees else "FURTHER THAN ROUNDING MAY"
    yield (
        f"  {apart:.2g} apart, {found.allowed:.2g} is allowed: {verdict}; "
        f"{found.digits:.1f} digits agree"
    )


def _who(found: Explanation) -> str:
    return "autograd" if found.run is None else found.run.implementation
