"""What a walk through the backward pass writes down: one record per op that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.autograd import Call

SAME = 1e-12
"""Numbers that differ by no more than this, of their size or at all, differ by rounding."""


@dataclass(frozen=True, eq=False)
class Contribution:
    """A gradient that an op gives to one of its inputs.

    Attributes
    ----------
    input : int
        Which input.
    to : str
        The name of the value that it is.
    gradient : array of the input's shape
    before : array or None
        What had come before; None where this is the first.
    after : array
        What there is now.
    """

    input: int
    to: str
    gradient: Array
    before: Array | None
    after: Array

    def record(self) -> dict[str, Any]:
        """Return the contribution as JSON has it."""
        return {
            "input": self.input,
            "to": self.to,
            "gradient": listed(self.gradient),
            "before": self.before if self.before is None else listed(self.before),
            "after": listed(self.after),
        }


@dataclass(frozen=True, eq=False)
class BackwardStep:
    """One op that runs backward. Arrays are copies on the host.

    Attributes
    ----------
    number : int
        From 1.
    op, name : str
        The op, and the value that it made.
    gy : array
        The gradient of that value, as hooks leave it.
    arrived : array or None
        The gradient before the hooks, where there are any.
    contributions : tuple of Contribution
        One for each input that gets a gradient.
    left : dict from name to array
        What stands in `grad` after this step, of those in which it changed.
    replaced : bool
        Whether another backward ran in place of the op's own.
    call : Call or None
        The op's forward, where it was recorded.
    """

    number: int
    op: str
    name: str
    gy: Array
    arrived: Array | None
    contributions: tuple[Contribution, ...]
    left: dict[str, Array]
    replaced: bool
    call: Call | None

    def record(self) -> dict[str, Any]:
        """Return the step as JSON has it; the op's forward is left out."""
        return {
            "number": self.number,
            "op": self.op,
            "name": self.name,
            "gy": listed(self.gy),
            "arrived": self.arrived if self.arrived is None else listed(self.arrived),
            "contributions": [one.record() for one in self.contributions],
            "left": {name: listed(g) for name, g in self.left.items()},
            "replaced": self.replaced,
        }


@dataclass(frozen=True, eq=False)
class BackwardPass:
    """What `walk` saw.

    Attributes
    ----------
    start : str
        The name of the value that it began at.
    gradient : array
        The gradient that it began with.
    steps : tuple of BackwardStep
    grads : dict from name to array
        What ``Tensor.backward`` would leave in `grad` of leaves, and of what retains its gradient.
    """

    start: str
    gradient: Array
    steps: tuple[BackwardStep, ...]
    grads: dict[str, Array]

    def record(self) -> dict[str, Any]:
        """Return the pass as JSON has it."""
        return {
            "start": self.start,
            "gradient": listed(self.gradient),
            "steps": [step.record() for step in self.steps],
            "grads": {name: listed(g) for name, g in self.grads.items()},
        }


def listed(a: Array) -> dict[str, Any]:
    """Return an array as JSON has it: its shape, and its elements in nested lists."""
    return {"shape": list(a.shape), "data": a.tolist()}


def number(value: float) -> str:
    """Return a number in four digits, 0 without a sign."""
    return f"{value + 0.0:.4g}"


def written(a: Array) -> str:
    """Return an array as NumPy prints it, its numbers in four digits and in columns."""
    width = max((len(number(v)) for v in a.reshape(-1).tolist()), default=0)

    def aligned(value: Any) -> str:
        return number(value).rjust(width)

    return np.array2string(a, separator=", ", formatter={"float_kind": aligned}, max_line_width=100)
