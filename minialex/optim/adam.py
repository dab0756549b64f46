"""Adam (Kingma and Ba 2015, algorithm 1), with weight decay added to the gradient.

g <- g + weight_decay p
m <- b1 m + (1 - b1) g
v <- b2 v + (1 - b2) g^2
p <- p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)        at step t = 1, 2, ...

    plain    blocks that stay in a core's cache
    kernel   kernels/adam.cu: one launch, one thread per 16-byte vector
"""

from __future__ import annotations

from math import sqrt

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Routine
from minialex.optim._apply import Counted, decayed, in_blocks, launch
from minialex.optim.arena import Params
from minialex.optim.optimizer import Optimizer


def update_plain(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    t: int,
    scratch: list[Array],
) -> None:
    """Update parameters and their state in place, at step `t`, the first being 1."""
    xp, (s, d) = array_module(p), scratch
    g = decayed(p, g, weight_decay, out=s)
    xp.multiply(g, 1 - b1, out=d)
    m *= b1
    m += d
    xp.multiply(g, g, out=d)
    d *= 1 - b2
    v *= b2
    v += d
    xp.sqrt(v, out=d)
    d /= sqrt(1 - b2**t)
    d += eps
    xp.divide(m, d, out=s)
    s *= lr / (1 - b1**t)
    p -= s


def _rates(lr: float, b1: float, b2: float, t: int) -> tuple[float, float]:
    """Return by what the kernel multiplies at step `t`, and by what it divides the root."""
    return lr / (1 - b1**t), sqrt(1 - b2**t)


_kernel = cuda.kernel("adam.cu", "adam", optional=("rates", "failed"))


def update_kernel(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    t: int,
    counted: Counted | None = None,
) -> None:
    """Update parameters and their state in place, at step `t`, the first being 1."""
    numbers = *_rates(lr, b1, b2, t), b1, 1 - b1, b2, 1 - b2, eps, weight_decay
    launch(_kernel, [p, g, m, v], *numbers, counted=counted)


UPDATE = Routine(
    "adam", {"plain": in_blocks(update_plain), "kernel": update_kernel}, kernel="kernel"
)


class Adam(Optimizer):
    """Steps along a running mean of the gradient over a running root mean square of it.

    Parameters
    ----------
    params : Tensors that require a gradient, or pairs (name, Tensor) as of `named_parameters`
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

    def __init__(
        self,
        params: Params,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def rates(self, step: int, lr: float) -> tuple[float, float]:
        """Return the learning rate and the root that correct for a start at zero."""
        return _rates(lr, *self.betas, step + 1)

    def _numbers(self) -> dict[str, float]:
        b1, b2 = self.betas
        return {
            "lr": self.lr,
            "b1": b1,
            "b2": b2,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "t": self.steps,
        }
