"""What a contender offers: a function to time, and its result to check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minialex.arrays import Array
from minialex.bench.correctness import Result, Tolerance

STEPS = 3
"""Training steps after which results are compared: enough for a captured graph to be replayed."""


class UnavailableError(Exception):
    """A contender skips a case; the message says why."""


@dataclass
class Workload:
    """What a contender does.

    Attributes
    ----------
    run : callable
        What is timed: one call. On a GPU it need not wait for the result.
    result : callable
        Does the same work once and returns what came out, on the device that it ran on.
    tolerance : Tolerance, optional
        How far that may be off where it is not computed in plain float32.
    """

    run: Callable[[], Any]
    result: Callable[[], list[Result]]
    tolerance: Tolerance | None = None


@dataclass(frozen=True)
class NetworkTask:
    """What a network is to do: the same for all contenders.

    Attributes
    ----------
    network : str
        Weights are those of seed 0.
    images : (N, 3, S, S) float32, on the device
    targets : (N,) int64, on the device
    dropout : float
        0 where results are compared: each contender draws its own masks.
    lr, alpha, eps, momentum, weight_decay : float
        RMSprop's. The learning rate is so small that hundreds of steps on the same batch leave the
        numbers as they were at the start, neither huge nor denormal; it has no effect on the time.
    """

    network: str
    images: Array
    targets: Array
    dropout: float = 0.5
    lr: float = 1e-6
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.9
    weight_decay: float = 5e-4

    @property
    def rmsprop(self) -> dict[str, float]:
        """The optimizer's settings by name."""
        names = "lr", "alpha", "eps", "momentum", "weight_decay"
        return {name: getattr(self, name) for name in names}
