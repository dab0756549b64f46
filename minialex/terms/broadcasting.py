"""Which elements meet where arrays are broadcast."""

from __future__ import annotations

from collections.abc import Iterator

from minialex.terms.formula import Index, indices


def source(index: Index, shape: tuple[int, ...]) -> Index:
    """Return the element of an array of `shape` that an element of the result reads."""
    own = index[len(index) - len(shape) :]
    return tuple(0 if n == 1 else i for i, n in zip(own, shape, strict=True))


def readers(index: Index, shape: tuple[int, ...], result: tuple[int, ...]) -> Iterator[Index]:
    """Yield the elements of the result that read that element of an array of `shape`."""
    new = len(result) - len(shape)
    ranges = [range(n) for n in result[:new]]
    for i, n, out in zip(index, shape, result[new:], strict=True):
        ranges.append(range(out) if n == 1 else range(i, i + 1))
    yield from indices(*ranges)
