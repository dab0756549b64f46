"""An explanation as lines of text, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from minialex.study.difference import Difference
from minialex.study.explanation import Explanation
from minialex.study.suspicion import suspicion
from minialex.study.writing_thread import WritingThread
from minialex.terms import Factor, Formula, Term
from minialex.terms.formula import CHOICE, SUM
from minialex.wording import counted, enumerated

MAX_CELLS = 4
"""So many elements are named that a thread should have read."""


def lines(
    found: Explanation,
    title: str,
    top: int,
    difference: Difference | None = None,
    thread: WritingThread | None = None,
) -> Iterator[str]:
    """Yield the lines of an explanation.

    Parameters
    ----------
    found : Explanation
    title : str
        What was asked for.
    top : int
        How many terms to show at most, the largest first.
    difference : Difference, optional
        What the checker's differences make of it.
    thread : WritingThread, optional
        The thread of a CUDA kernel that wrote it.
    """
    place = f"[{', '.join(map(str, found.index))}]" if found.index else ""
    yield f"{title} = {found.ran:.9g}"
    yield f"  {found.which}{place} of {found.maker}, in {found.dtype}"
    yield f"  {found.which} = {found.formula.text}"
    yield ""
    yield from _terms(found.formula, top)
    yield ""
    yield from _agreement(found)
    if difference is not None:
        yield from _of_difference(difference)
    if thread is not None:
        yield from _of_thread(thread, is_sum=found.formula.kind == SUM)


def _terms(formula: Formula, top: int) -> Iterator[str]:
    order = sorted(range(len(formula.terms)), key=lambda i: -_weight(formula, i))
    shown = order[:top]
    rows = [_row(formula, i) for i in shown]
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(3)]
    for i, (text, numbers, value) in zip(shown, rows, strict=True):
        chosen = formula.kind == CHOICE and i == formula.chosen
        note = "<- this" if chosen else formula.terms[i].note
        cells = text.ljust(widths[0]), numbers.ljust(widths[1]), value.rjust(widths[2])
        yield f"  {i + 1:>5}  {'  '.join(cells)}{f'   {note}' if note else ''}".rstrip()
    if not formula.terms:
        yield "         nothing: no part of it comes here"
    left = len(order) - len(shown)
    if left:
        rest = sum(formula.terms[i].value for i in order[top:] if formula.kind == "sum")
        together = f", {rest:.6g} together" if formula.kind == "sum" else ""
        yield f"         and {counted(left, 'smaller term')}{together}"
    padding = sum(term.note == "padding" for term in formula.terms)
    if padding:
        yield f"         {padding} of {len(formula.terms)} are padding"


def _weight(formula: Formula, i: int) -> float:
    chosen = formula.kind == CHOICE and i == formula.chosen
    value = abs(formula.terms[i].value)
    return math.inf if chosen or math.isnan(value) else value


def _row(formula: Formula, i: int) -> tuple[str, str, str]:
    """Return a term in letters, in numbers, and its value."""
    term = formula.terms[i]
    if term.shut:
        return _letters(term), "shut", "= 0"
    # -0 is 0 to a reader
    return _letters(term), _numbers(term), f"= {term.value + 0.0:.6g}"


def _letters(term: Term) -> str:
    return " ".join(map(str, term.factors)) or "1"


def _numbers(term: Term) -> str:
    return " x ".join(_number(factor) for factor in term.factors)


def _number(factor: Factor) -> str:
    value = f"{factor.part.value:.6g}"
    value = f"({value})" if value.startswith("-") else value
    return value if factor.power == 1 else f"{value}^{factor.power:g}"


def _agreement(found: Explanation) -> Iterator[str]:
    kind = "the choice" if found.formula.kind == CHOICE else "the terms"
    if found.formula.kind == SUM:
        kind = "the sum of the terms, added up without rounding"
    who = "autograd" if found.run is None else found.run.implementation
    yield f"  {kind}: {found.exact + 0.0:.12g}"
    if found.digits == math.inf:
        yield f"  {who} made {found.ran:.9g} of it: the same number"
        return
    apart = abs(found.exact - found.ran)
    verdict = (
        f"{_digits(found.digits)} agree, as far as rounding lets them ({found.allowed:.2g})"
        if found.agrees
        else f"WRONG: {apart:.3g} apart, and rounding allows {found.allowed:.2g}"
    )
    yield f"  {who} made {found.ran:.9g} of it: {verdict}"
    suspected = suspicion(found)
    if suspected is not None:
        yield f"  it is {suspected}"


def _digits(digits: float) -> str:
    return f"{digits:.1f} digits"


def _of_difference(found: Difference) -> Iterator[str]:
    if found.is_kink:
        low, high = found.value - found.uncertainty, found.value + found.uncertainty
        yield (
            f"  differences of the forward pass: it has a kink here, from one side about {low:.6g} "
            f"and from the other {high:.6g}; the definition takes one of what lies between"
        )
        return
    digits = "the same number" if found.digits == math.inf else f"{_digits(found.digits)} agree"
    verdict = (
        f"{digits}, it is known to {found.uncertainty:.1g}"
        if found.agrees
        else f"WRONG: that is known to {found.uncertainty:.1g}"
    )
    yield f"  differences of the forward pass, in float64: {found.value:.9g}: {verdict}"


def _of_thread(found: WritingThread, is_sum: bool) -> Iterator[str]:
    before = list(dict.fromkeys(found.launches[:-1]))
    yield (
        f"  written by {found.kernel}, block {_triple(found.block)} of {_triple(found.grid)}, "
        f"thread {_triple(found.thread)} of {_triple(found.block_size)}"
        + (f", after {', '.join(before)}" if before else "")
    )
    who = "no other thread writes there" if found.writers == 1 else f"{found.writers} threads do"
    several = f"; it writes {found.written:,} numbers in all" if found.written > 1 else ""
    yield f"    {who}{several}"
    yield f"    {_reads(found)}"
    if found.missing and not found.missing_in_block and not found.made_before:
        yield f"    it does not read {enumerated([str(cell) for cell in found.missing], MAX_CELLS)}"
        if found.others:
            yield f"    it reads {enumerated([str(cell) for cell in found.others], MAX_CELLS)}"
    if found.uncertain:
        yield (
            f"    {found.uncertain:,} of its reads may be of one or another element: they have the "
            "same bits"
        )
    if found.is_cut:
        yield "    the block did more than is recorded"
    if is_sum:
        yield f"    {_order(found)}"


def _reads(found: WritingThread) -> str:
    """Return a sentence about what the thread read."""
    how = " through shared memory" if found.through_shared else ""
    count = len(found.factors) + len(found.missing)
    said = [f"it reads {len(found.factors):,} of the {count:,} factors{how}"] if count else []
    if count and found.reads_the_factors:
        said = [f"it reads {counted(len(found.factors), 'factor')}{how}: all that count"]
    if found.missing:
        near, far = found.missing_in_block, len(found.missing) - found.missing_in_block
        said += [f"{near:,} came by way of other threads of its block"] * bool(near)
        said += [f"{far:,} by way of other blocks or launches"] * bool(far)
    if found.others:
        said.append(f"{counted(len(found.others), 'other element')} for other numbers")
    said += [f"{array}, which {kernel} wrote" for array, kernel in found.made_before.items()]
    if found.computed:
        said.append(f"{counted(found.computed, 'number')} that threads of its block computed")
    return "; ".join(said) or "no factor is to be read"


def _order(found: WritingThread) -> str:
    if found.replay.same_bits:
        return f"added up again, {found.replay.order}: the same bits"
    return f"the order of its sum cannot be seen: {found.replay.order}"


def _triple(numbers: tuple[int, int, int]) -> str:
    return f"({', '.join(map(str, numbers))})"
