"""The terms of pooling: a choice, or a mean, over each window."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from minialex.terms.formula import CHOICE, Arrays, Formula, Index, Known, term

Pair = tuple[int, int]


def _span(i: int, size: int, kernel: int, stride: int, padding: int) -> range:
    """Return the rows of the image that window i has, along one axis."""
    start = i * stride - padding
    return range(max(start, 0), min(start + kernel, size))


def _windows(at: int, size: int, outputs: int, kernel: int, stride: int, padding: int) -> list[int]:
    """Return the windows that an element of the image is in, along one axis."""
    return [i for i in range(outputs) if at in _span(i, size, kernel, stride, padding)]


def _inside(a: Arrays, index: Index, kernel: Pair, stride: Pair, padding: Pair) -> Iterator[Index]:
    """Yield the elements of the image in a window, row by row."""
    n, c, *place = index
    spans = [
        _span(i, size, *along)
        for i, size, along in zip(
            place, a.shape("x")[2:], zip(kernel, stride, padding, strict=True), strict=True
        )
    ]
    for h, w in product(*spans):
        yield n, c, h, w


def _around(a: Arrays, index: Index, kernel: Pair, stride: Pair, padding: Pair) -> Iterator[Index]:
    """Yield the windows that an element of the image is in."""
    n, c, *place = index
    both = zip(place, a.shape("x")[2:], a.shape("gy")[2:], strict=True)
    along = zip(kernel, stride, padding, strict=True)
    found = [_windows(*where, *how) for where, how in zip(both, along, strict=True)]
    for i, j in product(*found):
        yield n, c, i, j


def _argmax(values: list[float]) -> int:
    """Return which wins: the first of the largest; what is not a number is larger than all."""
    no_numbers = [k for k, v in enumerate(values) if v != v]
    return no_numbers[-1] if no_numbers else values.index(max(values))


def _max(
    a: Arrays, index: Index, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Formula:
    cells = [a.cell("x", *i) for i in _inside(a, index, kernel_size, stride, padding)]
    chosen = _argmax([cell.value for cell in cells])
    text = "the largest x of the window; of equal ones the first"
    return Formula("y", text, tuple(map(term, cells)), CHOICE, chosen)


def _max_gradient(
    a: Arrays, index: Index, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Formula:
    terms, gates = [], []
    for out in _around(a, index, kernel_size, stride, padding):
        window = [a.cell("x", *i) for i in _inside(a, out, kernel_size, stride, padding)]
        largest = window[_argmax([cell.value for cell in window])]
        wins = largest.index == index
        tie = ", as large and before it" if largest.value == a.cell("x", *index).value else ""
        note = "it won" if wins else f"lost to {largest}{tie}"
        gates += window
        terms.append(term(a.cell("gy", *out), note=note, shut=not wins))
    return Formula("gx", "sum of gy over the windows that it won", tuple(terms), gates=tuple(gates))


MAX_POOL2D = {"y": _max, "gx": _max_gradient}


def _divisor(
    a: Arrays, out: Index, kernel: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> int:
    """Return how many elements a window's mean is taken over."""
    if not count_include_pad:
        return len(list(_inside(a, out, kernel, stride, padding)))
    H, W = a.shape("x")[2:]
    rows = min(kernel[0], H + 2 * padding[0] - out[2] * stride[0])
    return rows * min(kernel[1], W + 2 * padding[1] - out[3] * stride[1])


def _avg(
    a: Arrays, index: Index, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool,
) -> Formula:  # fmt: skip
    number = _divisor(a, index, kernel_size, stride, padding, count_include_pad)
    share = Known(f"1/{number}", 1 / number)
    inside = _inside(a, index, kernel_size, stride, padding)
    return Formula(
        "y", "the mean of the window", tuple(term(share, a.cell("x", *i)) for i in inside)
    )


def _avg_gradient(
    a: Arrays, index: Index, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool,
) -> Formula:  # fmt: skip
    terms = []
    for out in _around(a, index, kernel_size, stride, padding):
        number = _divisor(a, out, kernel_size, stride, padding, count_include_pad)
        terms.append(term(Known(f"1/{number}", 1 / number), a.cell("gy", *out)))
    return Formula("gx", "sum of gy over the windows that it is in, by their sizes", tuple(terms))


AVG_POOL2D = {"y": _avg, "gx": _avg_gradient}


def _cell(i: int, size: int, cells: int) -> range:
    """Return the rows of cell i of a grid of so many over the image, along one axis."""
    return range(i * size // cells, -(-(i + 1) * size // cells))


def _adaptive(a: Arrays, index: Index, *, output_size: Pair) -> Formula:
    n, c, *place = index
    spans = [_cell(*one) for one in zip(place, a.shape("x")[2:], output_size, strict=True)]
    number = len(spans[0]) * len(spans[1])
    share = Known(f"1/{number}", 1 / number)
    terms = tuple(term(share, a.cell("x", n, c, h, w)) for h, w in product(*spans))
    return Formula("y", "the mean of a cell of the grid", terms)


def _adaptive_gradient(a: Arrays, index: Index, *, output_size: Pair) -> Formula:
    n, c, *place = index
    sizes, terms = a.shape("x")[2:], []
    found = [
        [i for i in range(cells) if at in _cell(i, size, cells)]
        for at, size, cells in zip(place, sizes, output_size, strict=True)
    ]
    for i, j in product(*found):
        rows, columns = (_cell(*one) for one in zip((i, j), sizes, output_size, strict=True))
        number = len(rows) * len(columns)
        terms.append(term(Known(f"1/{number}", 1 / number), a.cell("gy", n, c, i, j)))
    return Formula("gx", "sum of gy over the cells that it is in, by their sizes", tuple(terms))


ADAPTIVE_AVG_POOL2D = {"y": _adaptive, "gx": _adaptive_gradient}
