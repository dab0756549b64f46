"""What the kernels of max_pool2d and avg_pool2d take."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from minialex import cuda
from minialex.ops._cuda.launching import check_counts, check_reach
from minialex.ops._windows import Pair, pooled_size

Shape = tuple[int, ...]

PIXELS_PER_THREAD = 8
"""Neighbours in a column, whose gradients one thread of backward gathers from top to bottom.

It finds the windows over the first by divisions, and those over the next from these: see
``kernels/windows.cuh``.
"""


class PoolShape(NamedTuple):
    """All sizes of a pooling: the struct of that name in ``kernels/windows.cuh``."""

    planes: int
    H: int
    W: int
    KH: int
    KW: int
    OH: int
    OW: int
    sh: int
    sw: int
    ph: int
    pw: int

    @classmethod
    def of(
        cls,
        op: str,
        shape: Shape,
        kernel_size: Pair,
        stride: Pair,
        padding: Pair,
        ceil_mode: bool,
    ) -> PoolShape:
        """Return the sizes of the pooling of images of `shape`.

        Raises
        ------
        ValueError
            If images or windows are larger than the kernels can index.
        """
        (N, C, H, W), (ph, pw) = shape, padding
        OH, OW = pooled_size(shape, kernel_size, stride, padding, ceil_mode)
        check_counts(op, x=prod(shape), y=N * C * OH * OW, window=prod(kernel_size))
        check_reach(op, H + 2 * ph, W + 2 * pw, *kernel_size, *stride)
        return cls(N * C, H, W, *kernel_size, OH, OW, *stride, ph, pw)

    @property
    def backward_threads(self) -> int:
        """How many threads backward has, each with `PIXELS_PER_THREAD` pixels of a column."""
        return self.planes * cuda.blocks(self.H, PIXELS_PER_THREAD) * self.W
