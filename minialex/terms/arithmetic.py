"""The terms of element-by-element ops; a gradient has one for each element that read the input."""

from __future__ import annotations

from collections.abc import Callable

from minialex.terms.broadcasting import readers, source
from minialex.terms.formula import Arrays, Formula, Index, Term, Terms, inverse, term

Gradient = Callable[[Arrays, Index, Index], Term]
"""``gradient(arrays, output index, input index)``: what one output's gradient gives."""


def _of_two(text: str, y: Callable[[Arrays, Index, Index], tuple[Term, ...]]) -> Terms:
    """Return the terms of an op of a and b."""

    def terms(a: Arrays, index: Index) -> Formula:
        ia, ib = source(index, a.shape("a")), source(index, a.shape("b"))
        return Formula("y", text, y(a, ia, ib))

    return terms


def _back(name: str, text: str, gradient: Gradient) -> Terms:
    """Return the terms of the gradient of an input, added up over what it was broadcast to."""

    def terms(a: Arrays, index: Index) -> Formula:
        over = readers(index, a.shape(name), a.shape("gy"))
        return Formula(f"g{name}", text, tuple(gradient(a, out, index) for out in over))

    return terms


def _other(a: Arrays, name: str, out: Index) -> Index:
    return source(out, a.shape(name))


ADD = {
    "y": _of_two("a + b", lambda a, i, j: (term(a.cell("a", *i)), term(a.cell("b", *j)))),
    "ga": _back("a", "sum of gy", lambda a, o, i: term(a.cell("gy", *o))),
    "gb": _back("b", "sum of gy", lambda a, o, i: term(a.cell("gy", *o))),
}

SUBTRACT = {
    "y": _of_two("a - b", lambda a, i, j: (term(a.cell("a", *i)), term(-1.0, a.cell("b", *j)))),
    "ga": _back("a", "sum of gy", lambda a, o, i: term(a.cell("gy", *o))),
    "gb": _back("b", "sum of -gy", lambda a, o, i: term(-1.0, a.cell("gy", *o))),
}

MULTIPLY = {
    "y": _of_two("a b", lambda a, i, j: (term(a.cell("a", *i), a.cell("b", *j)),)),
    "ga": _back(
        "a", "sum of gy b", lambda a, o, i: term(a.cell("gy", *o), a.cell("b", *_other(a, "b", o)))
    ),
    "gb": _back(
        "b", "sum of gy a", lambda a, o, i: term(a.cell("gy", *o), a.cell("a", *_other(a, "a", o)))
    ),
}


def _over_b(a: Arrays, out: Index, index: Index) -> Term:
    return term(a.cell("gy", *out), inverse(a.cell("b", *_other(a, "b", out))))


def _minus_a_over_b2(a: Arrays, out: Index, index: Index) -> Term:
    b = inverse(a.cell("b", *index), 2)
    return term(-1.0, a.cell("gy", *out), a.cell("a", *_other(a, "a", out)), b)


DIVIDE = {
    "y": _of_two("a / b", lambda a, i, j: (term(a.cell("a", *i), inverse(a.cell("b", *j))),)),
    "ga": _back("a", "sum of gy / b", _over_b),
    "gb": _back("b", "sum of -gy a / b^2", _minus_a_over_b2),
}


def _power(a: Arrays, index: Index) -> Formula:
    i, j = source(index, a.shape("x")), source(index, a.shape("p"))
    return Formula("y", "x^p", (term(a.cell("x", *i)), term(a.cell("p", *j))), "power")


def _power_slope(a: Arrays, out: Index, index: Index) -> Term:
    p = a.cell("p", *_other(a, "p", out))
    if p.value == 0:
        return term(a.cell("gy", *out), 0.0, note="x^0 is 1 whatever x is")
    less = Formula("p - 1", "p - 1", (term(p), term(-1.0)))
    slope = Formula("x^(p - 1)", "x^(p - 1)", (term(a.cell("x", *index)), term(less)), "power")
    return term(a.cell("gy", *out), p, slope)


def _exponent_slope(a: Arrays, out: Index, index: Index) -> Term:
    x = a.cell("x", *_other(a, "x", out))
    gy, y = a.cell("gy", *out), a.cell("y", *out)
    if x.value == 0 and a.cell("p", *index).value >= 0:
        return term(gy, 0.0, note="0^p is the same whatever p is")
    return term(gy, y, Formula("log x", "log x", (term(x),), "log"))


POWER = {
    "y": _power,
    "gx": _back("x", "sum of gy p x^(p - 1)", _power_slope),
    "gp": _back("p", "sum of gy y log x", _exponent_slope),
}


def _of_one(
    kind: str, text: str, slope: str, *gradient: Callable[[Arrays, Index], Term]
) -> dict[str, Terms]:
    """Return the terms of a function of one number, whose gradient is the sum of some."""

    def y(a: Arrays, index: Index) -> Formula:
        return Formula("y", text, (term(a.cell("x", *index)),), kind)

    def gx(a: Arrays, index: Index) -> Formula:
        return Formula("gx", slope, tuple(one(a, index) for one in gradient))

    return {"y": y, "gx": gx}


def _gy_y(a: Arrays, i: Index) -> Term:
    return term(a.cell("gy", *i), a.cell("y", *i))


def _minus_gy_y2(a: Arrays, i: Index) -> Term:
    return term(-1.0, a.cell("gy", *i), a.cell("y", *i), a.cell("y", *i))


def _sign(a: Arrays, i: Index) -> Term:
    x = a.cell("x", *i)
    sign = float(x.value > 0) - float(x.value < 0) if x.value == x.value else x.value
    return term(sign, a.cell("gy", *i), note=f"{x} is {_side(x.value)}")


def _side(x: float) -> str:
    return "above 0" if x > 0 else "below 0" if x < 0 else "0" if x == 0 else "no number"


EXP = _of_one("exp", "e^x", "gy y", _gy_y)
LOG = _of_one(
    "log", "log x", "gy / x", lambda a, i: term(a.cell("gy", *i), inverse(a.cell("x", *i)))
)
SQRT = _of_one(
    *("sqrt", "sqrt x", "gy / (2 y)"),
    lambda a, i: term(0.5, a.cell("gy", *i), inverse(a.cell("y", *i))),
)
TANH = _of_one("tanh", "tanh x", "gy (1 - y^2)", lambda a, i: term(a.cell("gy", *i)), _minus_gy_y2)
SIGMOID = _of_one("sigmoid", "1 / (1 + e^-x)", "gy y (1 - y)", _gy_y, _minus_gy_y2)
ABSOLUTE = _of_one("absolute", "|x|", "gy times the sign of x", _sign)

NEGATIVE = {
    "y": lambda a, index: Formula("y", "-x", (term(-1.0, a.cell("x", *index)),)),
    "gx": lambda a, index: Formula("gx", "-gy", (term(-1.0, a.cell("gy", *index)),)),
}
