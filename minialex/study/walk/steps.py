"""What a walk through the backward pass writes down: one record per op that runs."""

from __future__ import annotations

from dataclasses import dataclass

from minialex.arrays import Array
from minialex.autograd import Call


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
