"""Softmax along one axis.

    y  = exp(x - max x) / sum exp(x - max x)       taking the maximum off keeps exp from overflowing
    gx = y (gy - sum gy y)

saved = (y,).

    plain    pass by pass over the whole array
    kernel   kernels/softmax.cu: two passes over each row, by a thread, a warp or a block
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor
from minialex.autograd.operators import answers_numpy
from minialex.ops._arguments import check_float, elementwise_cost, normal_dim
from minialex.ops._cuda import rows


def forward(x: Array, *, dim: int) -> tuple[Array, tuple[Array]]:
    """Return the softmax of `x` along the axis `dim`."""
    if not x.size:
        return x.copy(), (x,)
    y = array_module(x).exp(x - x.max(axis=dim, keepdims=True))
    y /= y.sum(axis=dim, keepdims=True)
    return y, (y,)


def backward(gy: Array, saved: tuple[Array], *, dim: int) -> Gradients:
    """Return y (gy - sum gy y)."""
    (y,) = saved
    return (y * (gy - (gy * y).sum(axis=dim, keepdims=True)),)


OP = Op(
    "softmax",
    {
        "plain": Implementation(forward, backward),
        "kernel": rows.implementation("softmax.cu", "softmax"),
    },
    elementwise_cost(4),
    kernel="kernel",
)


@answers_numpy
def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return positive numbers that sum to 1 along the axis `dim`: exp(x) / sum exp(x).

    Parameters
    ----------
    x : Tensor of any shape, float32, float64 or bfloat16
        Any finite values: nothing overflows.
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
    check_float("softmax", x=x)
    return OP(x, dim=normal_dim(dim, x.ndim, "softmax"))
