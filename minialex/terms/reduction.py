"""The terms of sums and maxima."""

from __future__ import annotations

from minialex.terms.formula import CHOICE, Arrays, Formula, Index, Known, indices, term

Dims = tuple[int, ...]


def _over(index: Index, shape: tuple[int, ...], dims: Dims, keepdim: bool) -> list[Index]:
    """Return the elements of an array of `shape` that fall on an element of the result."""
    left = iter(index)
    ranges = []
    for d, n in enumerate(shape):
        if d in dims:
            ranges.append(range(n))
            if keepdim:
                next(left)
        else:
            i = next(left)
            ranges.append(range(i, i + 1))
    return list(indices(*ranges))


def _onto(index: Index, dims: Dims, keepdim: bool) -> Index:
    """Return the element of the result that an element of x falls on."""
    places = [(d, 0 if d in dims else i) for d, i in enumerate(index)]
    return tuple(i for d, i in places if keepdim or d not in dims)


def _sum(a: Arrays, index: Index, *, dims: Dims, keepdim: bool) -> Formula:
    over = _over(index, a.shape("x"), dims, keepdim)
    return Formula("y", "sum of x", tuple(term(a.cell("x", *i)) for i in over))


def _sum_gradient(a: Arrays, index: Index, *, dims: Dims, keepdim: bool) -> Formula:
    gy = a.cell("gy", *_onto(index, dims, keepdim))
    return Formula("gx", "gy of the sum that x is in", (term(gy),))


SUM = {"y": _sum, "gx": _sum_gradient}


def _max(a: Arrays, index: Index, *, dims: Dims, keepdim: bool) -> Formula:
    cells = [a.cell("x", *i) for i in _over(index, a.shape("x"), dims, keepdim)]
    values = [cell.value for cell in cells]
    first = next((n for n, v in enumerate(values) if v != v), None)
    chosen = values.index(max(values)) if first is None else first
    return Formula("y", "the largest x", tuple(map(term, cells)), CHOICE, chosen)


def _max_gradient(a: Arrays, index: Index, *, dims: Dims, keepdim: bool) -> Formula:
    out = _onto(index, dims, keepdim)
    x, gy, y = a.cell("x", *index), a.cell("gy", *out), a.cell("y", *out)
    among = [a.cell("x", *i) for i in _over(out, a.shape("x"), dims, keepdim)]
    equal = [one.value for one in among].count(y.value)
    is_largest = x.value == y.value
    share = [Known(f"1/{equal}", 1 / equal)] if equal > 1 else [] if equal else [float("nan")]
    note = "it is the largest" if is_largest else f"the largest is {y.value:g}"
    if is_largest and equal > 1:
        note = f"one of {equal} that are the largest"
    passed = term(*share, gy, note=note, shut=bool(equal) and not is_largest)
    text = "gy at the largest, shared among equals"
    return Formula("gx", text, (passed,), gates=tuple(among))


MAX = {"y": _max, "gx": _max_gradient}
