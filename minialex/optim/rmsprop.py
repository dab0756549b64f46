"""RMSprop (Tieleman and Hinton 2012, lecture 6.5), in the form that users of PyTorch know.

g <- g + weight_decay p
v <- alpha v + (1 - alpha) g^2                     the square average, first
m <- alpha m + (1 - alpha) g                       where centered
d <- sqrt(v) + eps, or sqrt(v - m^2) + eps         eps outside the root; v - m^2 taken as 0
                                                   where rounding leaves less
b <- momentum b + g / d                            where there is momentum
p <- p - lr b, or p - lr g / d

    plain    blocks that stay in a core's cache
    kernel   kernels/rmsprop.cu: one launch, one thread per 16-byte vector
"""

from __future__ import annotations

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Routine
from minialex.optim._apply import Counted, decayed, in_blocks, launch
from minialex.optim.arena import Params
from minialex.optim.optimizer import Optimizer


def update_plain(
    p: Array,
    g: Array,
    v: Array,
    m: Array | None,
    b: Array | None,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    scratch: list[Array],
) -> None:
    """Update parameters and their state in place; without `m` not centered, without `b` plain."""
    xp, (t, d) = array_module(p), scratch
    g = decayed(p, g, weight_decay, out=t)
    xp.multiply(g, g, out=d)
    d *= 1 - alpha
    v *= alpha
    v += d
    if m is None:
        xp.sqrt(v, out=d)
    else:
        xp.multiply(g, 1 - alpha, out=d)
        m *= alpha
        m += d
        xp.multiply(m, m, out=d)
        xp.subtract(v, d, out=d)
        xp.maximum(d, 0, out=d)
        xp.sqrt(d, out=d)
    d += eps
    xp.divide(g, d, out=t)
    if b is None:
        t *= lr
    else:
        b *= momentum
        b += t
        xp.multiply(b, lr, out=t)
    p -= t


_kernel = cuda.kernel("rmsprop.cu", "rmsprop", optional=("m", "b", "rates", "failed"))


def update_kernel(
    p: Array,
    g: Array,
    v: Array,
    m: Array | None,
    b: Array | None,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    counted: Counted | None = None,
) -> None:
    """Update parameters and their state in place; without `m` not centered, without `b` plain."""
    numbers = lr, alpha, 1 - alpha, eps, weight_decay, momentum
    launch(_kernel, [p, g, v, m, b], *numbers, counted=counted)


UPDATE = Routine(
    "rmsprop", {"plain": in_blocks(update_plain), "kernel": update_kernel}, kernel="kernel"
)


class RMSprop(Optimizer):
    """Divides each gradient by a running root mean square of itself.

    Parameters
    ----------
    params : Tensors that require a gradient, or pairs (name, Tensor) as of `named_parameters`
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
        self.alpha, self.eps, self.weight_decay = alpha, eps, weight_decay
        self.momentum, self.centered = momentum, centered
        super().__init__(params, lr)

    def _kept(self) -> list[str]:
        asked = {"grad_avg": self.centered, "momentum_buffer": self.momentum > 0}
        return [slot for slot in self.slots if asked.get(slot, True)]

    def _numbers(self) -> dict[str, float]:
        return {
            "lr": self.lr,
            "alpha": self.alpha,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "momentum": self.momentum,
        }
