"""How many threads reduce a row of numbers: the host's half of ``kernels/softmax.cuh``."""

from __future__ import annotations

from math import prod

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda.launching import check_counts, contiguous

ONE_THREAD, WARP, BLOCK = 1, 32, cuda.BLOCK_SIZE
"""How many threads may reduce a row together: THREADS_PER_ROW in the kernels."""

MAX_NUMBERS_PER_THREAD = 8
"""Rows of so many numbers are short enough for one thread each."""

MAX_NUMBERS_PER_WARP = 1024
"""Longer rows take a block each, however many rows there are."""

ROWS_THAT_FILL_A_GPU = 4096
"""With one warp per row, so many rows keep an H100 busy; with fewer, a row of many numbers is worth
a block."""


def threads_per_row(rows: int, C: int, inner: int) -> int:
    """Return how many threads reduce each of `rows` rows, of `C` numbers that lie `inner` apart.

    Weighed up by arithmetic, not measured. Only the shape decides, so that results are the same
    bits on every device.
    """
    if inner > 1 or C <= MAX_NUMBERS_PER_THREAD:
        return ONE_THREAD
    fills = C <= MAX_NUMBERS_PER_WARP and rows >= ROWS_THAT_FILL_A_GPU
    return WARP if C <= 4 * WARP or fills else BLOCK


def grid(rows: int, threads: int) -> int:
    """Return how many blocks there are where `threads` threads reduce each of `rows` rows."""
    return cuda.blocks(rows, BLOCK // threads)


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
        threads = threads_per_row(rows, C, inner)
        operands = map(contiguous, arrays)
        kernel(grid(rows, threads), BLOCK, *operands, out, rows, C, inner, THREADS_PER_ROW=threads)
        return out

    def forward(x: Array, *, dim: int) -> tuple[Array, tuple[Array]]:
        """Return y."""
        y = launch(forward_kernel, dim, x)
        return y, (y,)

    def backward(gy: Array, saved: tuple[Array], *, dim: int) -> Gradients:
        """Return gx."""
        return (launch(backward_kernel, dim, gy, *saved),)

    return Implementation(forward, backward, why_not=cuda.why_not)
