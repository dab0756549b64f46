"""The terms of products of matrices."""

from __future__ import annotations

from minialex.terms.broadcasting import readers, source
from minialex.terms.formula import Arrays, Formula, Index, indices, term


def _linear(a: Arrays, index: Index) -> Formula:
    *rows, o = index
    products = (term(a.cell("x", *rows, i), a.cell("w", o, i)) for i in range(a.shape("w")[1]))
    bias = [term(a.cell("b", o), note="bias")] if "b" in a else []
    return Formula("y", "b[o] + sum over i of x[i] w[o, i]", (*bias, *products))


def _linear_gx(a: Arrays, index: Index) -> Formula:
    *rows, i = index
    over = range(a.shape("w")[0])
    terms = tuple(term(a.cell("gy", *rows, o), a.cell("w", o, i)) for o in over)
    return Formula("gx", "sum over o of gy[o] w[o, i]", terms)


def _linear_gw(a: Arrays, index: Index) -> Formula:
    o, i = index
    terms = tuple(
        term(a.cell("gy", *rows, o), a.cell("x", *rows, i))
        for rows in indices(*map(range, a.shape("x")[:-1]))
    )
    return Formula("gw", "sum over rows n of gy[n, o] x[n, i]", terms)


def _linear_gb(a: Arrays, index: Index) -> Formula:
    over = indices(*map(range, a.shape("gy")[:-1]))
    return Formula(
        "gb", "sum over rows n of gy[n, o]", tuple(term(a.cell("gy", *n, *index)) for n in over)
    )


LINEAR = {"y": _linear, "gx": _linear_gx, "gw": _linear_gw, "gb": _linear_gb}


def _full(a: Arrays, index: Index) -> tuple[Index, int | None, int | None]:
    """Return an output's index as stack, row and column; a vector has no row, or no column."""
    left = list(index)
    n = left.pop() if len(a.shape("b")) > 1 else None
    m = left.pop() if len(a.shape("a")) > 1 else None
    return tuple(left), m, n


def _place(first: int | None, second: int | None) -> Index:
    return tuple(i for i in (first, second) if i is not None)


def _matmul(a: Arrays, index: Index) -> Formula:
    stack, m, n = _full(a, index)
    ia, ib = (source(stack, a.shape(name)[:-2]) for name in "ab")
    terms = tuple(
        term(a.cell("a", *ia, *_place(m, k)), a.cell("b", *ib, *_place(k, n)))
        for k in range(a.shape("a")[-1])
    )
    return Formula("y", "sum over k of a[m, k] b[k, n]", terms)


def _stacks(a: Arrays, name: str, index: Index) -> list[Index]:
    """Return the stacks of the output that read that one of an input."""
    full = a.shape("gy")[: len(a.shape("gy")) - (len(a.shape("a")) > 1) - (len(a.shape("b")) > 1)]
    return list(readers(index, a.shape(name)[:-2], full))


def _matmul_ga(a: Arrays, index: Index) -> Formula:
    rows = len(a.shape("a")) > 1
    own, m, k = index[:-2], (index[-2] if rows else None), index[-1]
    columns = range(a.shape("b")[-1]) if len(a.shape("b")) > 1 else [None]
    terms = []
    for stack in _stacks(a, "a", own):
        for n in columns:
            b = a.cell("b", *source(stack, a.shape("b")[:-2]), *_place(k, n))
            terms.append(term(a.cell("gy", *stack, *_place(m, n)), b))
    return Formula("ga", "sum over n of gy[m, n] b[k, n]", tuple(terms))


def _matmul_gb(a: Arrays, index: Index) -> Formula:
    is_matrix = len(a.shape("b")) > 1
    own, k, n = index[:-2], index[-2 if is_matrix else -1], (index[-1] if is_matrix else None)
    rows = range(a.shape("a")[-2]) if len(a.shape("a")) > 1 else [None]
    terms = []
    for stack in _stacks(a, "b", own):
        for m in rows:
            x = a.cell("a", *source(stack, a.shape("a")[:-2]), *_place(m, k))
            terms.append(term(a.cell("gy", *stack, *_place(m, n)), x))
    return Formula("gb", "sum over m of gy[m, n] a[m, k]", tuple(terms))


MATMUL = {"y": _matmul, "ga": _matmul_ga, "gb": _matmul_gb}
