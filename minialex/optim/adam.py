"""Adam (Kingma and Ba 2015, algorithm 1), with weight decay added to the gradient.

g <- g + weight_decay p
m <- b1 m + (1 - b1) g
v <- b2 v + (1 - b2) g^2
p <- p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)        at step t = 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from minialex.arrays import Array, array_module
from minialex.autograd import Tensor
from minialex.optim.optimizer import Optimizer, decayed


class Adam(Optimizer):
    """Steps along a running mean of the gradient over a running root mean square of it.

    Parameters
    ----------
    params : Tensors that require a gradient
    lr : float
        The learning rate.
    betas : (float, float)
        How much of the mean and of the mean square stays at each step, from 0 to 1.
    eps : float
        Keeps the division from growing without bound.
    weight_decay : float
        L2 penalty, added to the gradient.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, ["exp_avg", "exp_avg_sq"])
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def _update(self, p: Array, g: Array, *state: Array, scratch: list[Array]) -> None:
        xp, (t, d), (m, v), (b1, b2) = array_module(p), scratch, state, self.betas
        g = decayed(p, g, self.weight_decay, out=t)
        xp.multiply(g, 1 - b1, out=d)
        m *= b1
        m += d
        xp.multiply(g, g, out=d)
        d *= 1 - b2
        v *= b2
        v += d
        xp.sqrt(v, out=d)
        d /= sqrt(1 - b2**self.steps)
        d += self.eps
        xp.divide(m, d, out=t)
        t *= self.lr / (1 - b1**self.steps)
        p -= t
