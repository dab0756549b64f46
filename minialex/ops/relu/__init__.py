"""Rectified linear unit (Krizhevsky, Sutskever and Hinton 2012, section 3.1).

    y  = max(x, 0)
    gx = 0 where y = 0, else gy          the subgradient at x = 0 is 0

NaN passes through forward, and the gradient at NaN through backward, as in PyTorch. Backward needs
the output alone, so the input can be freed.

saved = (y,), for "blocked" one bit per element instead.

    plain    array operations, as above
    blocked  blocks that stay in a core's cache, on all cores
    kernel   kernels/relu.cu: one thread per 16-byte vector
"""

from __future__ import annotations

from minialex.autograd import Implementation, Op, Tensor, as_tensor
from minialex.ops._arguments import check_float, elementwise_cost
from minialex.ops.relu import blocked, plain
from minialex.ops.relu.cuda import KERNEL

OP = Op(
    "relu",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "blocked": Implementation(blocked.forward, blocked.backward, own_saved=True),
        "kernel": KERNEL,
    },
    elementwise_cost(1),
    kernel="kernel",
    # a step of (128, 64, 55, 55) takes a sixth of the time of plain, most of it saved in backward,
    # and what is kept for backward takes 1/32 of the memory
    cpu="blocked",
)


def relu(x: Tensor) -> Tensor:
    """Return max(x, 0) for each element.

    Parameters
    ----------
    x : Tensor of any shape, float32, float64 or bfloat16

    Returns
    -------
    Tensor of the shape and type of `x`. Its gradient at x = 0 is 0, at NaN the cotangent's.

    Raises
    ------
    TypeError
        If `x` is not of a floating-point type.
    """
    x = as_tensor(x)
    check_float("relu", x=x)
    return OP(x)
