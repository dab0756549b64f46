"""Logarithm of the softmax along one axis, without forming the softmax.

    y  = x - max x - log sum exp(x - max x)
    gx = gy - exp(y) sum gy

saved = (y,).

    plain    pass by pass over the whole array
    kernel   kernels/log_softmax.cu: two passes over each row, by a thread, a warp or a block
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor
from minialex.autograd.operators import answers_numpy
from minialex.ops._arguments import check_float, elementwise_cost, normal_dim
from minialex.ops._cuda import rows


def forward(x: Array, *, dim: int) -> tuple[Array, tuple[Array]]:
    """Return the log-softmax of `x` along the axis `dim`."""
    if not x.size:
        return x.copy(), (x,)
    xp = array_module(x)
    y = x - x.max(axis=dim, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=dim, keepdims=True))
    return y, (y,)


def backward(gy: Array, saved: tuple[Array], *, dim: int) -> Gradients:
    """Return gy - exp(y) sum gy."""
    (y,) = saved
    return (gy - array_module(y).exp(y) * gy.sum(axis=dim, keepdims=True),)


OP = Op(
    "log_softmax",
    {
        "plain": Implementation(forward, backward),
        "kernel": rows.implementation("log_softmax.cu", "log_softmax"),
    },
    elementwise_cost(4),
    kernel="kernel",
)


@answers_numpy
def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return the logarithm of `softmax` along the axis `dim`, accurate where that is close to 0.

    Parameters
    ----------
    x : Tensor of any shape, float32, float64 or bfloat16
    dim : int
        One axis.

    Raises
    ------
    TypeError
        If `x` is not of a floating-point type, or `dim` not one whole number.
    ValueError
        If `x` has no such axis.
    """
    x = as_tensor(x)
    check_float("log_softmax", x=x)
    return OP(x, dim=normal_dim(dim, x.ndim, "log_softmax"))
