"""Dropout (Srivastava et al. 2014; Krizhevsky, Sutskever and Hinton 2012, section 4.2).

    y  = x  / (1 - p) where the element is kept, else 0       "inverted": the test does nothing
    gx = gy / (1 - p) where the element is kept, else 0

Element i, counted in C order, is kept where word i of the Philox stream (seed, offset) is at least
p 2^32. The mask is a function of these numbers, so every implementation draws the same one and
backward draws it again instead of storing it.

saved = ().

    plain    a few blocks of the stream at a time, which stay in a core's cache
    kernel   kernels/dropout.cu: a thread for four elements, its words made on the spot
"""

from __future__ import annotations

from typing import Any

from minialex import cuda, philox
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor
from minialex.cpu import memory, threads
from minialex.cpu.sharing import blocks_per_worker
from minialex.ops._arguments import check_float, elementwise_cost, select
from minialex.ops._cuda.launching import check_counts, packed
from minialex.ops._cuda.tiling import in_vectors
from minialex.philox import Ahead

CACHE, LEAST = 1 << 21, 1 << 20
"""How many bytes of blocks a core makes at a time, and how many are worth a core of their own."""


def threshold(p: float) -> int:
    """Return how many of the 2^32 words drop an element: p 2^32, rounded."""
    return round(p * 2**32)


def scale(p: float) -> float:
    """Return what the elements that are kept are multiplied by; where none is, 0."""
    return 1 / (1 - p) if p < 1 else 0.0


def _drop(x: Array, p: float, seed: int, offset: int | Ahead) -> Array:
    xp, offset = array_module(x), int(offset)
    if p == 1:
        return xp.zeros_like(x)  # type: ignore[no-any-return]
    y = memory.empty(xp, x.shape, x.dtype)
    given, kept = x.reshape(-1), y.reshape(-1)

    def some(parts: list[slice]) -> None:
        for part in parts:
            at = slice(4 * part.start, 4 * part.stop)
            n = len(given[at])
            words = philox.bits(xp, n, seed=seed, offset=offset, block=part.start)
            xp.multiply(given[at], x.dtype.type(scale(p)), out=kept[at])
            select(kept[at], words >= threshold(p), out=kept[at])

    threads.run(some, blocks_per_worker(xp, -(-x.size // 4), philox.BLOCK_BYTES, CACHE, LEAST))
    return y


def forward(x: Array, *, p: float, seed: int, offset: int | Ahead) -> tuple[Array, tuple[Any, ...]]:
    """Return `x` with a share `p` of it set to 0 and the rest scaled up."""
    return _drop(x, p, seed, offset), ()


def backward(
    gy: Array, saved: tuple[Any, ...], *, p: float, seed: int, offset: int | Ahead
) -> Gradients:
    """Do to the gradient what forward did to the input."""
    return (_drop(gy, p, seed, offset),)


_dropout = cuda.kernel("dropout.cu", "dropout", optional=("drawn",))


def _drop_kernel(x: Array, p: float, seed: int, offset: int | Ahead) -> Array:
    check_counts("dropout", x=x.size)
    y: Array = array_module(x).empty(x.shape, x.dtype)
    x = packed(x)
    grid, vectors = cuda.blocks(x.size, 4 * cuda.BLOCK_SIZE), in_vectors((x, 0), (y, 0))
    drawn, ahead = (offset.drawn, offset.ahead) if isinstance(offset, Ahead) else (None, offset)
    _dropout(
        *(grid, cuda.BLOCK_SIZE, x, y, x.size, threshold(p), scale(p), seed, ahead, drawn, vectors)
    )
    return y


def forward_kernel(
    x: Array, *, p: float, seed: int, offset: int | Ahead
) -> tuple[Array, tuple[Any, ...]]:
    """Return `x` with a share `p` of it set to 0 and the rest scaled up."""
    return _drop_kernel(x, p, seed, offset), ()


def backward_kernel(
    gy: Array, saved: tuple[Any, ...], *, p: float, seed: int, offset: int | Ahead
) -> Gradients:
    """Do to the gradient what forward did to the input."""
    return (_drop_kernel(gy, p, seed, offset),)


OP = Op(
    "dropout",
    {
        "plain": Implementation(forward, backward),
        "kernel": Implementation(forward_kernel, backward_kernel, why_not=cuda.why_not),
    },
    elementwise_cost(2),
    kernel="kernel",
)


def dropout(x: Tensor, p: float = 0.5, *, seed: int, offset: int | Ahead) -> Tensor:
    """Set each element to 0 with probability `p`, and divide the others by 1 - p.

    Parameters
    ----------
    x : Tensor of any shape, float32 or float64
    p : float
        From 0 to 1.
    seed, offset : int
        The random stream, from 0 to 2**64 - 1 each (`Ahead` where the offset is counted on the
        device): equal numbers drop equal elements, whatever
        the implementation and the device. `minialex.philox.Generator.draw` hands out fresh ones.

    Raises
    ------
    ValueError
        If `p` is not a probability.
    TypeError
        If `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    check_float("dropout", x=x)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, from 0 to 1, not {p}")
    return OP(x, p=p, seed=seed, offset=offset)
