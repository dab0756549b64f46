"""Adam (Kingma and Ba 2015, algorithm 1), with weight decay added to the gradient.

g <- g + weight_decay p
m <- b1 m + (1 - b1) g
v <- b2 v + (1 - b2) g^2
p <- p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)        at step t = 1, 2, ...

    plain      plain.py      over whole arrays
    blocked    blocked.py    in blocks that stay in a core's cache, on all cores
    kernel     cuda.py       kernels/adam.cu: one launch, one thread per 16-byte vector
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
    "adam",
    {
        "plain": Update(plain.adam),
        "blocked": Update(blocked.adam, takes_deferred=True),
        "kernel": Update(cuda.adam, replayable=True, writes_shadow=True),
    },
    # alexnet, two cores: 0.19 s a step; plain 2.1 s
    cpu="blocked",
    kernel="kernel",
)


class Adam(Optimizer):
    """Steps along a running mean of the gradient over a running root mean square of it.

    As in PyTorch the step `t` is a parameter's own: one that had no gradient took no step.

    Parameters
    ----------
    params : Tensors, pairs (name, Tensor) as of `named_parameters`, or dictionaries of groups
        See `ParamGroup`; a group may have each hyperparameter of its own.
    lr : float
        The learning rate.
    betas : (float, float)
        How much of the mean and of the mean square stays at each step, from 0 to 1.
    eps : float
        Keeps the division from growing without bound.
    weight_decay : float
        L2 penalty, added to the gradient.
    """

    update = UPDATE
    slots = "exp_avg", "exp_avg_sq"
    depends_on_steps = True

    def __init__(
        self,
        params: Params,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _numbers(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        b1, b2 = group["betas"]
        numbers = {name: group[name] for name in ("lr", "eps", "weight_decay")}
        return {**numbers, "b1": b1, "b2": b2, "t": t}

    def _rates(self, group: Mapping[str, Any], lr: float, step: int) -> tuple[float, float]:
        """Return the learning rate and the root that correct for a start at zero."""
        b1, b2 = group["betas"]
        return cuda.adam_rates(lr, b1, b2, step + 1)
