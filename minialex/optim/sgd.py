"""Stochastic gradient descent with momentum, in the form that users of PyTorch know.

g <- g + weight_decay p
b <- momentum b + g              where there is momentum
p <- p - lr b, or p - lr g

    plain    blocks that stay in a core's cache
    kernel   kernels/sgd.cu: one launch, one thread per 16-byte vector
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
    b: Array | None,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    scratch: list[Array],
) -> None:
    """Update parameters and their state in place; without `b` there is no momentum."""
    t = scratch[0]
    g = decayed(p, g, weight_decay, out=t)
    if b is not None:
        b *= momentum
        b += g
        g = b
    array_module(p).multiply(g, lr, out=t)
    p -= t


_kernel = cuda.kernel("sgd.cu", "sgd", optional=("b", "rates", "failed"))


def update_kernel(
    p: Array,
    g: Array,
    b: Array | None,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    counted: Counted | None = None,
) -> None:
    """Update parameters and their state in place; without `b` there is no momentum."""
    launch(_kernel, [p, g, b], lr, weight_decay, momentum, counted=counted)


UPDATE = Routine(
    "sgd", {"plain": in_blocks(update_plain), "kernel": update_kernel}, kernel="kernel"
)


class SGD(Optimizer):
    """Steps against the gradient, or against a decaying sum of gradients.

    Parameters
    ----------
    params : Tensors that require a gradient, or pairs (name, Tensor) as of `named_parameters`
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
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        super().__init__(params, lr)

    def _kept(self) -> list[str]:
        return ["momentum_buffer"] * (self.momentum > 0)

    def _numbers(self) -> dict[str, float]:
        return {"lr": self.lr, "weight_decay": self.weight_decay, "momentum": self.momentum}
