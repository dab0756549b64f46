"""The terms of ops that choose among elements."""

from __future__ import annotations

import math
from typing import Any

from minialex.terms.broadcasting import readers, source
from minialex.terms.formula import CHOICE, Arrays, Formula, Index, Known, Terms, term


def _relu(a: Arrays, index: Index) -> Formula:
    x = a.cell("x", *index)
    negative = x.value < 0
    terms = term(x), term(0.0)
    return Formula("y", "the larger of x and 0", terms, CHOICE, int(negative))


def _relu_gradient(a: Arrays, index: Index) -> Formula:
    x = a.cell("x", *index)
    is_open = not x.value <= 0
    note = f"x is {x.value:g}: " + ("the gate is open" if is_open else "the gate is shut")
    passed = term(a.cell("gy", *index), note=note, shut=not is_open)
    text = "gy where x > 0; at 0 itself any slope from 0 to 1 would do, and 0 is taken"
    return Formula("gx", text, (passed,), gates=(x,))


RELU = {"y": _relu, "gx": _relu_gradient}


def _of_two(text: str, sign: int) -> dict[str, Terms]:
    """Return the terms of the larger of a and b, or for `sign` -1 of the smaller."""

    def y(a: Arrays, index: Index) -> Formula:
        p, q = (a.cell(name, *source(index, a.shape(name))) for name in "ab")
        b_wins = sign * q.value > sign * p.value or math.isnan(q.value)
        return Formula("y", text, (term(p), term(q)), CHOICE, int(b_wins))

    def gradient(name: str, other: str) -> Terms:
        def terms(a: Arrays, index: Index) -> Formula:
            found, gates = [], [a.cell(name, *index)]
            for out in readers(index, a.shape(name), a.shape("gy")):
                mine, its = a.cell(name, *index), a.cell(other, *source(out, a.shape(other)))
                loses = sign * mine.value < sign * its.value
                share = [0.5] if mine.value == its.value else []
                note = f"{mine} is {mine.value:g}, {its} is {its.value:g}"
                found.append(term(*share, a.cell("gy", *out), note=note, shut=loses))
                gates.append(its)
            return Formula(f"g{name}", "gy where it is chosen", tuple(found), gates=tuple(gates))

        return terms

    return {"y": y, "ga": gradient("a", "b"), "gb": gradient("b", "a")}


MAXIMUM = _of_two("the larger of a and b", 1)
MINIMUM = _of_two("the smaller of a and b", -1)


def _where(a: Arrays, index: Index) -> Formula:
    c = a.cell("c", *source(index, a.shape("c")))
    terms = tuple(term(a.cell(name, *source(index, a.shape(name)))) for name in "ab")
    return Formula("y", "a where c, else b", terms, CHOICE, int(not c.value), (c,))


def _where_gradient(name: str, wanted: bool) -> Terms:
    def terms(a: Arrays, index: Index) -> Formula:
        found, gates = [], []
        for out in readers(index, a.shape(name), a.shape("gy")):
            c = a.cell("c", *source(out, a.shape("c")))
            passes = bool(c.value) == wanted
            note = f"{c} is {bool(c.value)}"
            found.append(term(a.cell("gy", *out), note=note, shut=not passes))
            gates.append(c)
        text = f"gy where {name} is chosen"
        return Formula(f"g{name}", text, tuple(found), gates=tuple(gates))

    return terms


WHERE = {"y": _where, "ga": _where_gradient("a", True), "gb": _where_gradient("b", False)}


def _clip(a: Arrays, index: Index, *, min: Any, max: Any) -> Formula:
    x = a.cell("x", *index)
    bounds = [(name, float(v)) for name, v in (("min", min), ("max", max)) if v is not None]
    chosen = 0
    for number, (name, bound) in enumerate(bounds, start=1):
        now = x.value if not chosen else bounds[chosen - 1][1]
        if (name == "min" and now < bound) or (name == "max" and now > bound):
            chosen = number
    terms = term(x), *(term(Known(name, bound)) for name, bound in bounds)
    return Formula("y", "x, no less than min and no more than max", terms, CHOICE, chosen)


def _clip_gradient(a: Arrays, index: Index, *, min: Any, max: Any) -> Formula:
    x = a.cell("x", *index)
    inside = (min is None or x.value >= min) and (max is None or x.value <= max)
    inside &= x.value == x.value
    note = f"x is {x.value:g}, " + ("between the bounds" if inside else "beyond a bound")
    passed = term(a.cell("gy", *index), note=note, shut=not inside)
    return Formula("gx", "gy where min <= x <= max", (passed,), gates=(x,))


CLIP = {"y": _clip, "gx": _clip_gradient}
