"""Stochastic gradient descent with momentum, in the form that users of PyTorch know.

g <- g + weight_decay p
b <- momentum b + g              where there is momentum
p <- p - lr b, or p - lr g
"""

from __future__ import annotations

from collections.abc import Iterable

from minialex.arrays import Array, array_module
from minialex.autograd import Tensor
from minialex.optim.optimizer import Optimizer, decayed


class SGD(Optimizer):
    """Steps against the gradient, or against a decaying sum of gradients.

    Parameters
    ----------
    params : Tensors that require a gradient
    lr : float
        The learning rate.
    momentum : float
    weight_decay : float
        L2 penalty, added to the gradient.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, ["momentum_buffer"] * (momentum > 0))
        self.momentum, self.weight_decay = momentum, weight_decay

    def _update(self, p: Array, g: Array, *state: Array, scratch: list[Array]) -> None:
        xp, t = array_module(p), scratch[0]
        g = decayed(p, g, self.weight_decay, out=t)
        if self.momentum:
            b = state[0]
            b *= self.momentum
            b += g
            g = b
        xp.multiply(g, self.lr, out=t)
        p -= t
