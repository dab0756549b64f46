"""What the kernels of max_pool2d and avg_pool2d take."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from minialex import cuda
from minialex.ops._cuda.launching import check_counts, check_reach
from minialex.ops._windows import Pair, output_length

Shape = tuple[int, ...]

ROWS = 8
"""How many pixels of a column a thread of backward walks down: see ``kernels/windows.cuh``."""


class Pool(NamedTuple):
    """All sizes of a pooling, in the order in which kernels take them."""

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
    def of(cls, op: str, shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair) -> Pool:
        """Return the sizes of the pooling of images of `shape`.

        Raises
        ------
        ValueError
            If images or windows are larger than the kernels can index.
        """
        (N, C, H, W), (ph, pw) = shape, padding
        OH, OW = (output_length(*s) for s in zip((H, W), kernel_size, stride, padding, strict=True))
        check_counts(op, x=prod(shape), y=N * C * OH * OW, window=prod(kernel_size))
        check_reach(op, H + 2 * ph, W + 2 * pw, *kernel_size, *stride)
        return cls(N * C, H, W, *kernel_size, OH, OW, *stride, ph, pw)

    @property
    def walks(self) -> int:
        """The threads of backward, each with `ROWS` pixels of a column."""
        return self.planes * cuda.blocks(self.H, ROWS) * self.W
