"""Optimizers' kernels where the rate lies in memory, and where a step is held back."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import optim
from minialex.arrays import Array
from minialex.autograd import Tensor
from minialex.optim import ReplayInputs

OPTIMIZERS: dict[str, Any] = {
    "rmsprop": lambda p: optim.RMSprop(p, 0.1, 0.7, 0.3, 0.4, momentum=0.6, centered=True),
    "sgd": lambda p: optim.SGD(p, 0.1, momentum=0.6, weight_decay=0.4),
    "adam": lambda p: optim.Adam(p, 0.1, (0.6, 0.9), 0.3, 0.4),
}


def _stepped(name: str, *, in_memory: bool, failed: bool = False) -> list[Array]:
    """Return parameters and state after two steps, the second held back where `failed`."""
    rng = np.random.default_rng(3)
    p = Tensor(rng.standard_normal(37, np.float32), requires_grad=True)
    optimizer = OPTIMIZERS[name]([p])
    for step, lr in enumerate((0.1, 0.02)):
        p.grad = rng.standard_normal(37, np.float32)
        held = failed and step == 1
        [group] = optimizer.param_groups
        group["lr"], optimizer.param_steps = lr, [step]
        rates = np.array(optimizer.rates(step)), np.array([float(held)])
        if in_memory:
            # by value, a rate and a number of steps that could not be missed
            group["lr"], optimizer.param_steps = 1e3, [7]
        if in_memory or not held:
            optimizer.step(ReplayInputs(*rates) if in_memory else None)
    arena = optimizer.arena
    return [arena.data.copy(), *(a.copy() for a in arena.state.values())]


def check_replay_inputs(name: str) -> None:
    """Hold a kernel to what it does with the same numbers by value, to the bit.

    Raises
    ------
    AssertionError
        If they differ, or a step that is held back changes anything.
    """
    for failed in False, True:
        got = _stepped(name, in_memory=True, failed=failed)
        want = _stepped(name, in_memory=False, failed=failed)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
