"""Random rounding: what becomes of gradients when each op is off by a few rounding errors.

Every result and every gradient of an op is multiplied by one plus a few roundoffs of random size
and sign, and how far that moves the gradients is seen (Monte Carlo arithmetic: Parker 1997, "Monte
Carlo arithmetic: exploiting randomness in floating-point arithmetic", UCLA CSD-970002). That shows
what no op by itself does: results that cancel in the next op, gradients that cancel in a sum, and
choices, such as the larger of two, that are made within the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minialex.arrays import Array, device_of, extent_of, is_array, to_device
from minialex.autograd.graph import Node
from minialex.autograd.op import Call, record_calls
from minialex.check import noise
from minialex.check.case import is_float

RUNS = 8
"""How many runs the movement is seen in; the largest counts."""

ROUNDOFFS = 4.0
"""How many roundoffs each number is off by, about."""

SAFETY = 4.0
"""How many times the movement explains an error."""


class RandomRounding(list[Call]):
    """Calls of ops, whose results and gradients are off by a few times `unit` of themselves."""

    def __init__(self, rng: np.random.Generator, unit: float) -> None:
        super().__init__()
        self.rng, self.share = rng, ROUNDOFFS * unit

    def append(self, call: Call) -> None:
        """Round what the call gave, in place; views of what it was given are left alone.

        So is what cannot be written to.
        """
        y = call.y
        if not is_float(y) or not getattr(y.flags, "writeable", True):
            return
        if any(a is not None and _overlap(a, y) for a in call.inputs):
            return
        if call.node is not None:
            # now and then as it was: a backward may compare it with what it was given
            own = self.rounded if self.rng.random() < 0.5 else _copy
            call.node.saved = tuple(
                own(a) if _in_memory(a) and _overlap(a, y) else a for a in call.node.saved
            )
        y[...] = self.rounded(y)

    def round_node(self, node: Node) -> None:
        """Have the backward of `node` give rounded gradients."""
        backward = node.backward

        def rounded_backward(*args: Any, **params: Any) -> tuple[Array | None, ...]:
            found = backward(*args, **params)
            return tuple(None if g is None else self.rounded(g) for g in found)

        node.backward = rounded_backward

    def rounded(self, a: Array) -> Array:
        """Return `a`, each number off by a random share of itself."""
        factors = 1 + self.share * noise.factors(a.shape, self.rng)
        return a * to_device(np.asarray(factors, a.dtype), device_of(a))


def _copy(a: Array) -> Array:
    return a.copy()


def _in_memory(a: Any) -> bool:
    """Return whether `a` is an array, and no number that NumPy has made of one."""
    return is_array(a) and not isinstance(a, np.generic)


def _overlap(a: Array, b: Array) -> bool:
    (start, stop), (first, past) = extent_of(a), extent_of(b)
    return start < past and first < stop


def moved(
    run: Callable[[RandomRounding], Sequence[Array]],
    here: Sequence[Array],
    rng: np.random.Generator,
    dtype: np.dtype[Any],
) -> list[Array]:
    """Return how far from `here` it is, at most, what `run` gives, calls rounded as in `dtype`."""
    largest = [np.zeros(a.shape) for a in here]
    for each in rng.spawn(RUNS):
        rounding = RandomRounding(each, noise.unit(dtype))
        with np.errstate(all="ignore"):
            with record_calls(rounding):
                found = run(rounding)
            # NaN, where a comparison of what was saved was undone, says nothing
            apart = (np.abs(a - b) for a, b in zip(found, here, strict=True))
            largest = list(map(np.fmax, largest, apart))
    return largest
