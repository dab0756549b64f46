"""How an update goes over slices of the arena: in blocks of array operations, or in launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, address_of, array_module
from minialex.autograd import DeferredGradient
from minialex.cpu import threads

BLOCK = 128 * 1024
"""A block of each array and the scratch stay in cache together; in smaller ones, an operation is
so short that cores wait for each other's Python more than they compute."""

ROWS = 4 * BLOCK
"""How much of a deferred gradient is computed at a time: matrix products want more than a block."""

MOST = 1 << 30
"""The numbers of one launch: kernels index with 32 bits."""

VECTOR = 16
"""The bytes of each array that a thread takes, as in ``kernels/arena.cuh``."""

Update = Callable[..., None]


def in_blocks(update: Update) -> Update:
    """Return an update that works in a core's cache on the CPU, and on the whole on a GPU.

    `update` is called with slices of the arrays, the numbers, and ``scratch=[a, b]``: two arrays
    as long as the slices are. A deferred gradient is computed some rows at a time.
    """

    def whole(
        p: Array, g: Array | DeferredGradient, *state: Array | None, **numbers: float
    ) -> None:
        on_cpu = isinstance(p, np.ndarray)
        block, parts = (BLOCK, threads.cores()) if on_cpu else (p.size, 1)
        if isinstance(g, DeferredGradient):
            some = partial(_rows, update, p, g, state, numbers)
            threads.run(some, _units(g, threads.chunks(-(-g.shape[0] // g.row_block), parts)))
        else:
            some = partial(_blocks, update, [p, g, *state], numbers, block)
            threads.run(some, threads.chunks(p.size, parts))

    return whole


def _units(g: DeferredGradient, parts: list[slice]) -> list[slice]:
    """Return the rows that some of the units of `g` are."""
    unit, rows = g.row_block, g.shape[0]
    return [slice(part.start * unit, min(part.stop * unit, rows)) for part in parts]


def _rows(
    update: Update,
    p: Array,
    g: DeferredGradient,
    state: Sequence[Array | None],
    numbers: dict[str, float],
    part: slice,
) -> None:
    """Update one thread's rows; their gradient is computed some whole units at a time."""
    width = prod(g.shape[1:])
    step = max(1, ROWS // (width * g.row_block)) * g.row_block
    computed = array_module(p).empty(step * width, p.dtype)
    for lo in range(part.start, part.stop, step):
        hi = min(lo + step, part.stop)
        some = computed[: (hi - lo) * width]
        g.compute_rows(slice(lo, hi), some.reshape(hi - lo, *g.shape[1:]))
        here = _cut([p, *state], slice(lo * width, hi * width))
        _blocks(update, [here[0], some, *here[1:]], numbers, BLOCK, slice(0, some.size))


def _blocks(
    update: Update,
    flat: Sequence[Array | None],
    numbers: dict[str, float],
    block: int,
    part: slice,
) -> None:
    """Update one thread's part, a block at a time."""
    p: Any = flat[0]
    scratch = [array_module(p).empty(block, p.dtype) for _ in range(2)]
    for lo in range(part.start, part.stop, block):
        hi = min(lo + block, part.stop)
        update(*_cut(flat, slice(lo, hi)), **numbers, scratch=[s[: hi - lo] for s in scratch])


@dataclass(frozen=True)
class Counted:
    """What a step reads where it runs, so that it can be replayed there with the same arguments.

    Attributes
    ----------
    rates : (2,) float64
        What `Optimizer.rates` gives for this step.
    failed : (1,) float64
        Where it is not 0, the step changes nothing.
    """

    rates: Array
    failed: Array


def launch(
    kernel: cuda.Kernel, flat: Sequence[Array | None], *numbers: float, counted: Counted | None
) -> None:
    """Run a kernel of ``kernels/arena.cuh`` over 1-D arrays of one length."""
    read = (None, None) if counted is None else (counted.rates, counted.failed)
    there = [a for a in flat if a is not None]
    size, itemsize = there[0].size, there[0].dtype.itemsize
    vectors = all(address_of(a) % VECTOR == 0 for a in there)
    for lo in range(0, size, MOST):
        n = min(MOST, size - lo)
        grid = cuda.blocks(n, cuda.BLOCK_SIZE * VECTOR // itemsize)
        kernel(grid, cuda.BLOCK_SIZE, *_cut(flat, slice(lo, lo + n)), *read, *numbers, n, vectors)


def _cut(flat: Sequence[Array | None], part: slice) -> list[Array | None]:
    return [None if a is None else a[part] for a in flat]


def decayed(p: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """Return g + weight_decay p, in `out`; `g` itself where there is no decay."""
    if not weight_decay:
        return g
    xp = array_module(p)
    xp.multiply(p, weight_decay, out=out)
    out += g
    return out
