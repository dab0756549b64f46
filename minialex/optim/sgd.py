"""Stochastic gradient descent with momentum, in the form that users of PyTorch know.

g <- g + weight_decay p
b <- momentum b + g              where there is momentum
p <- p - lr b, or p - lr g

    plain      plain.py      over whole arrays
    blocked    blocked.py    in blocks that stay in a core's cache, on all cores
    kernel     cuda.py       kernels/sgd.cu: one launch, one thread per 16-byte vector
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minialex.autograd import Routine
from minialex.optim import blocked, cuda, plain
from minialex.optim.optimizer import Optimizer
from minialex.optim.param_groups import Params
from minialex.optim.update import Update

UPDATE = Routine(
    "sgd",
    {
        "plain": Update(plain.sgd),
        "blocked": Update(blocked.sgd, takes_deferred=True),
        "kernel": Update(cuda.sgd, replayable=True, writes_shadow=True),
    },
    # alexnet, two cores: 0.12 s a step; plain 0.6 s
    cpu="blocked",
    kernel="kernel",
)


class SGD(Optimizer):
    """Steps against the gradient, or against a decaying sum of gradients.

    Parameters
    ----------
    params : Tensors, pairs (name, Tensor) as of `named_parameters`, or dictionaries of groups
        See `ParamGroup`; a group may have each hyperparameter of its own.
    lr : float
        The learning rate.
    momentum : float
    weight_decay : float
        L2 penalty, added to the gradient.
    """

    update = UPDATE
    slots = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: float = 0.001,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def _slots_of(self, group: Mapping[str, Any]) -> list[str]:
        return ["momentum_buffer"] * (group["momentum"] > 0)

    def _numbers(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        return {name: group[name] for name in ("lr", "weight_decay", "momentum")}
