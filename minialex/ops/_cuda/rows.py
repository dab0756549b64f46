"""How rows of numbers are shared out among threads: the host's half of ``kernels/softmax.cuh``."""

from __future__ import annotations

from math import prod

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, packed

THREADS, WARP, BLOCK = 1, 32, cuda.BLOCK_SIZE
"""Threads that may take a row together, THREADS_PER_ROW in the kernels."""

SHORT = 8
"""Numbers of a row that one thread may as well take alone."""

LONG = 1024
"""Numbers of a row that are too many for a warp."""

BUSY_WARPS = 4096
"""Warps, each with its row, that keep an H100 busy."""


def team(rows: int, C: int, inner: int) -> int:
    """Return how many threads take each of `rows` rows, of `C` numbers that lie `inner` apart.

    Weighed up by arithmetic, not measured; the shape decides alone, so that results are the same
    bits on every device.
    """
    if inner > 1 or C <= SHORT:
        return THREADS
    return WARP if C <= 4 * WARP or (C <= LONG and rows >= BUSY_WARPS) else BLOCK


def grid(rows: int, team: int) -> int:
    """Return how many blocks have enough teams for all rows."""
    return cuda.blocks(rows, BLOCK // team)


def implementation(file: str, op: str) -> Implementation:
    """Return the kernels of an op along one axis, which saves its output."""
    forward_kernel = cuda.kernel(file, f"{op}_forward")
    backward_kernel = cuda.kernel(file, f"{op}_backward")

    def launch(kernel: cuda.Kernel, dim: int, *arrays: Array) -> Array:
        """Run `kernel` on arrays of one shape and return what it writes."""
        shape = arrays[0].shape
        check_counts(op, x=prod(shape))
        out: Array = array_module(arrays[0]).empty(shape, arrays[0].dtype)
        C, inner = shape[dim], prod(shape[dim + 1 :])
        rows = prod(shape[:dim]) * inner
        threads = team(rows, C, inner)
        given = map(packed, arrays)
        kernel(grid(rows, threads), BLOCK, *given, out, rows, C, inner, THREADS_PER_ROW=threads)
        return out

    def forward(x: Array, *, dim: int) -> tuple[Array, tuple[Array]]:
        """Return y."""
        y = launch(forward_kernel, dim, x)
        return y, (y,)

    def backward(gy: Array, saved: tuple[Array], *, dim: int) -> Gradients:
        """Return gx."""
        return (launch(backward_kernel, dim, gy, *saved),)

    return Implementation(forward, backward, why_not=cuda.why_not)
