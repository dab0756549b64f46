"""RMSprop (Tieleman and Hinton 2012, lecture 6.5), in the form that users of PyTorch know.

g <- g + weight_decay p
v <- alpha v + (1 - alpha) g^2                     the square average, first
m <- alpha m + (1 - alpha) g                       where centered
d <- sqrt(v) + eps, or sqrt(v - m^2) + eps         eps outside the root
b <- momentum b + g / d                            where there is momentum
p <- p - lr b, or p - lr g / d
"""

from __future__ import annotations

from collections.abc import Iterable

from minialex.arrays import Array, array_module
from minialex.autograd import Tensor
from minialex.optim.optimizer import Optimizer, decayed


class RMSprop(Optimizer):
    """Divides each gradient by a running root mean square of itself.

    Parameters
    ----------
    params : Tensors that require a gradient
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

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        slots = ["square_avg"] + ["grad_avg"] * centered + ["momentum_buffer"] * (momentum > 0)
        super().__init__(params, lr, slots)
        self.alpha, self.eps, self.weight_decay = alpha, eps, weight_decay
        self.momentum, self.centered = momentum, centered

    def _update(self, p: Array, g: Array, *state: Array, scratch: list[Array]) -> None:
        xp, (t, d), (v, *rest) = array_module(p), scratch, state
        g = decayed(p, g, self.weight_decay, out=t)
        xp.multiply(g, g, out=d)
        d *= 1 - self.alpha
        v *= self.alpha
        v += d
        if self.centered:
            m = rest[0]
            xp.multiply(g, 1 - self.alpha, out=d)
            m *= self.alpha
            m += d
            xp.multiply(m, m, out=d)
            xp.subtract(v, d, out=d)
            xp.sqrt(d, out=d)
        else:
            xp.sqrt(v, out=d)
        d += self.eps
        xp.divide(g, d, out=t)
        if self.momentum:
            b = rest[-1]
            b *= self.momentum
            b += t
            xp.multiply(b, self.lr, out=t)
        else:
            t *= self.lr
        p -= t
