"""What the optimizers share: the arena, and one blocked pass over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from minialex import arrays, threads
from minialex.arrays import Array
from minialex.autograd import Tensor
from minialex.optim.arena import Arena

# a block of each array and the scratch stay in cache together; in smaller ones, an operation is so
# short that cores wait for each other's Python more than they compute
BLOCK = 128 * 1024


class Optimizer:
    """Changes parameters after each backward.

    Attributes
    ----------
    lr : float
        The learning rate of the next step. Assign it to follow a schedule.
    steps : int
        How many steps were taken.
    arena : Arena
    """

    def __init__(self, params: Iterable[Tensor], lr: float, slots: Sequence[str]) -> None:
        if not lr >= 0:
            raise ValueError(f"{type(self).__name__}: lr must not be negative, but is {lr}")
        self.lr, self.steps = lr, 0
        self.arena = Arena(params, slots)

    @property
    def params(self) -> list[Tensor]:
        """The parameters, in the order given."""
        return self.arena.params

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward starts afresh."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; leave the others, and their state, alone."""
        self.steps += 1
        for span in self.arena.spans():
            self._update_span(span)

    def _update_span(self, span: slice) -> None:
        flat = [self.arena.data, self.arena.grad, *self.arena.state.values()]
        if not isinstance(flat[0], np.ndarray):
            with arrays.on_device(arrays.device_of(flat[0])) as xp:
                part = [a[span] for a in flat]
                self._update(*part, scratch=[xp.empty_like(part[0]), xp.empty_like(part[0])])
            return
        parts = threads.chunks(span.stop - span.start, threads.cores())
        threads.run(partial(self._update_blocks, flat, span.start), parts)

    def _update_blocks(self, flat: list[Array], start: int, part: slice) -> None:
        """Update one thread's part, a block at a time."""
        scratch = [np.empty(BLOCK, flat[0].dtype) for _ in range(2)]
        stop = start + part.stop
        for lo in range(start + part.start, stop, BLOCK):
            hi = min(lo + BLOCK, stop)
            self._update(*(a[lo:hi] for a in flat), scratch=[s[: hi - lo] for s in scratch])

    def _update(self, p: Array, g: Array, *state: Array, scratch: list[Array]) -> None:
        """Update a stretch of parameters and their state in place, from its gradient."""
        raise NotImplementedError


def decayed(p: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """Return g + weight_decay p, in `out`; `g` itself where there is no decay."""
    if not weight_decay:
        return g
    xp = arrays.array_module(p)
    xp.multiply(p, weight_decay, out=out)
    out += g
    return out
