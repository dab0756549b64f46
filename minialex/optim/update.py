"""What an optimizer's step runs: one implementation of its update, and what that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minialex.arrays import Array


@dataclass(frozen=True)
class Update:
    """One implementation of an optimizer's update.

    Parameters
    ----------
    function : ``function(p, g, *state, **numbers)``
        Changes `p` and the state in place: flat arrays of one length.
    takes_deferred : bool
        Whether `g` may be a `DeferredGradient`; for others it is computed first.
    replayable : bool
        Whether it takes ``replay_inputs``, and so can be captured in a CUDA graph.
    writes_shadow : bool
        Whether it takes a `shadow`, to which it writes what becomes of `p`, in bfloat16.
    """

    function: Callable[..., None]
    takes_deferred: bool = False
    replayable: bool = False
    writes_shadow: bool = False

    def __call__(self, *arrays: Any, **numbers: Any) -> None:
        """Run the function."""
        self.function(*arrays, **numbers)


@dataclass(frozen=True)
class ReplayInputs:
    """What a step reads from the device's memory, so that a CUDA graph can replay it.

    Attributes
    ----------
    rates : (groups, 2) float64; (2,) for an `Update`
        What `Optimizer.rates` gives for this step.
    failed : (1,) float64
        Where it is not 0, the step changes nothing.
    """

    rates: Array
    failed: Array

    def of_group(self, i: int) -> ReplayInputs:
        """Return what the update of group `i` reads."""
        return ReplayInputs(self.rates[i], self.failed)
