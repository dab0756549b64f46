"""The roofline (Williams, Waterman and Patterson 2009): how fast a machine could do some work.

Work of F operations on B bytes takes at least

    max(F / gemm, B / copy)

seconds, where `gemm` and `copy` are the two ceilings: the rate of a large matrix product, and of a
large copy counting bytes read and bytes written. The larger of the two times says which ceiling
binds. Several ops, one after the other, take at least the sum of their times. An op whose bytes
stay in a cache can be faster than a copy through memory: it reaches more than 100 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from minialex.bench.record import BenchRow, Ceilings

GEMM, COPY = "gemm", "copy"


@dataclass(frozen=True)
class Floor:
    """The least time that work can take.

    Attributes
    ----------
    seconds : float
    ceiling : "gemm", "copy" or ""
        Which one binds, for several ops the one that binds for most of the time.
    """

    seconds: float
    ceiling: str


def floor(work: list[tuple[int, int]], gemm: float, copy: float) -> Floor:
    """Return the least time that several (operations, bytes) can take one after the other."""
    spent = {GEMM: 0.0, COPY: 0.0}
    for flops, nbytes in work:
        computing, moving = flops / gemm, nbytes / copy
        spent[GEMM if computing > moving else COPY] += max(computing, moving)
    if not any(spent.values()):
        return Floor(0.0, "")
    return Floor(sum(spent.values()), max(spent, key=spent.__getitem__))


def floor_of(row: BenchRow, ceilings: Ceilings) -> Floor:
    """Return the least time that a call of `row` can take."""
    return floor(row.work, median(ceilings.gemm), median(ceilings.copy))


def share(row: BenchRow, seconds: float, ceilings: Ceilings) -> float | None:
    """Return which share of its ceiling a call of so many seconds reached; None without work."""
    least = floor_of(row, ceilings).seconds
    return least / seconds if least else None


def intensity(row: BenchRow) -> float | None:
    """Return the operations per byte moved; None where either is not known."""
    return row.flops / row.bytes if row.flops and row.bytes else None


def attainable(operations_per_byte: float, gemm: float, copy: float) -> float:
    """Return the operations per second that the roofline allows at so many operations per byte."""
    return min(gemm, copy * operations_per_byte)
