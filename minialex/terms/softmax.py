"""The terms of softmax and its logarithm."""

from __future__ import annotations

from minialex.terms.formula import Arrays, Cell, Formula, Index, inverse, term


def _line(a: Arrays, name: str, index: Index, dim: int) -> list[Cell]:
    """Return the elements along `dim` that go with one."""
    place = list(index)
    found = []
    for j in range(a.shape(name)[dim]):
        place[dim] = j
        found.append(a.cell(name, *place))
    return found


def _exponential(x: Cell, top: Cell) -> Formula:
    """Return e to the power of an element, less the largest: at most 1."""
    less = Formula(f"{x} - {top}", "x - max", (term(x), term(-1.0, top)))
    return Formula(f"e^({x} - {top})", "e^(x - max)", (term(less),), "exp")


Total = tuple[Cell, Formula]


def total_along(a: Arrays, index: Index, dim: int) -> Total:
    """Return the largest of the line that x at `index` is in, and the sum of the exponentials."""
    line = _line(a, "x", index, dim)
    top = max(line, key=lambda cell: cell.value)
    terms = tuple(term(_exponential(x, top)) for x in line)
    return top, Formula("total", "sum over j of e^(x[j] - max)", terms)


def probability(a: Arrays, index: Index, dim: int) -> Formula:
    """Return the softmax along `dim` of x at `index`."""
    top, total = total_along(a, index, dim)
    own = _exponential(a.cell("x", *index), top)
    name = f"p[{', '.join(map(str, index))}]"
    return Formula(name, "e^(x[c] - max) / total", (term(own, inverse(total)),))


def log_probability(a: Arrays, index: Index, along: Total) -> Formula:
    """Return its logarithm, given what `total_along` gives for its line."""
    top, total = along
    log = Formula("log total", "log total", (term(total),), "log")
    name = f"log p[{', '.join(map(str, index))}]"
    terms = term(a.cell("x", *index)), term(-1.0, top), term(-1.0, log)
    return Formula(name, "x[c] - max - log total", terms)


def _softmax_gradient(a: Arrays, index: Index, *, dim: int) -> Formula:
    y = a.cell("y", *index)
    others = zip(_line(a, "gy", index, dim), _line(a, "y", index, dim), strict=True)
    terms = (term(y, a.cell("gy", *index)), *(term(-1.0, y, gy, yj) for gy, yj in others))
    return Formula("gx", "y[c] gy[c] - y[c] sum over j of gy[j] y[j]", terms)


SOFTMAX = {"y": lambda a, index, *, dim: probability(a, index, dim), "gx": _softmax_gradient}


def _log_softmax_gradient(a: Arrays, index: Index, *, dim: int) -> Formula:
    y = a.cell("y", *index)
    p = Formula("p", "e^y", (term(y),), "exp")
    others = (term(-1.0, p, gy) for gy in _line(a, "gy", index, dim))
    text = "gy[c] - p[c] sum over j of gy[j]"
    return Formula("gx", text, (term(a.cell("gy", *index)), *others))


LOG_SOFTMAX = {
    "y": lambda a, index, *, dim: log_probability(a, index, total_along(a, index, dim)),
    "gx": _log_softmax_gradient,
}
