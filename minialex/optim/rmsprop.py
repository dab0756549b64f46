"""RMSprop (Tieleman and Hinton 2012, lecture 6.5), in the form that users of PyTorch know.

g <- g + weight_decay p
v <- alpha v + (1 - alpha) g^2                     the square average, first
m <- alpha m + (1 - alpha) g                       where centered
d <- sqrt(v) + eps, or sqrt(v - m^2) + eps         eps outside the root; v - m^2 taken as 0
                                                   where rounding leaves less
b <- momentum b + g / d                            where there is momentum
p <- p - lr b, or p - lr g / d

    plain      plain.py      over whole arrays
    blocked    blocked.py    in blocks that stay in a core's cache, on all cores
    kernel     cuda.py       kernels/rmsprop.cu: one launch, one thread per 16-byte vector
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
    "rmsprop",
    {
        "plain": Update(plain.rmsprop),
        "blocked": Update(blocked.rmsprop, takes_deferred=True),
        "kernel": Update(cuda.rmsprop, replayable=True, writes_shadow=True),
    },
    # alexnet, two cores: 0.16 s a step; plain 1.2 s
    cpu="blocked",
    kernel="kernel",
)


class RMSprop(Optimizer):
    """Divides each gradient by a running root mean square of itself.

    Parameters
    ----------
    params : Tensors, pairs (name, Tensor) as of `named_parameters`, or dictionaries of groups
        See `ParamGroup`; a group may have each hyperparameter of its own.
    lr : float
        The learning rate.
    alpha : float
        How much of the square average stays at each step, from 0 to 1.
    eps : float
        Keeps the division from growing without bound.
    weight_decay : float
        L2 penalty, added to the gradient.
    momentum : float
    centered : bool
        Divide by the running standard deviation instead (Graves 2013, section 4.2).
    """

    update = UPDATE
    slots = "square_avg", "grad_avg", "momentum_buffer"

    def __init__(
        self,
        params: Params,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def _slots_of(self, group: Mapping[str, Any]) -> list[str]:
        asked = {"grad_avg": group["centered"], "momentum_buffer": group["momentum"] > 0}
        return [slot for slot in self.slots if asked.get(slot, True)]

    def _numbers(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        names = "lr", "alpha", "eps", "weight_decay", "momentum"
        return {name: group[name] for name in names}
