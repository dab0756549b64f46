"""Fully connected layer.

    y  = x w^T + b
    gx = gy w,  gw = gy^T x,  gb = gy        the last two summed over all axes of gy but the last

saved = (x, w).

    plain       plain.py      the formula on whole arrays, NumPy's or CuPy's
    blocked     blocked.py    the same for a CPU: in parts that stay in cache, on all cores
    naive, tiled, register_blocked, tf32x3, tf32,
    multistage_tf32x3, multistage_tf32                cuda.py: kernels
    bf16                                              bf16.py: kernels
"""

from __future__ import annotations

from math import prod
from typing import Any

from minialex.autograd import Cost, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import ITEM_BYTES, check_float
from minialex.ops.linear import blocked, plain
from minialex.ops.linear.bf16 import IMPLEMENTATION as BF16
from minialex.ops.linear.cuda import IMPLEMENTATIONS as KERNELS


def cost(shapes: Shapes, **_: Any) -> Cost:
    """Return two operations per weight and row of `x`, one per bias and output."""
    x, w, b = (*shapes, None)[:3]
    assert x is not None
    assert w is not None
    O, I = w
    size = prod(x[:-1]) * O
    flops = 2 * size * I + (size if b else 0)
    return Cost(flops, ITEM_BYTES * (prod(x) + O * I + (O if b else 0) + size))


OP = Op(
    "linear",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "blocked": Implementation(blocked.forward, blocked.backward),
        **KERNELS,
        "bf16": BF16,
    },
    cost,
    kernel="register_blocked",
    tensor_cores={"fp32": "tf32x3", "tf32": "tf32", "bf16": "bf16"},
    takes_weights=True,
    # AlexNet's three layers, forward and backward at batch 32, two cores: plain 136 ms, blocked
    # 127 ms; and its weight gradient can be deferred, which saves 200 MiB of a step
    cpu="blocked",
)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Return ``x w^T + b``, a fully connected layer.

    Parameters
    ----------
    x : Tensor (..., I), float32, float64 or bfloat16
        Any number of rows of `I` features.
    w : Tensor (O, I), of the type of `x`; float32 beside bfloat16
    b : Tensor (O,), of the type of `w`, optional

    Returns
    -------
    Tensor (..., O)

    Raises
    ------
    ValueError
        If the shapes do not go together.
    TypeError
        If an input is not of a floating-point type, or the types differ.
    """
    x, w = as_tensor(x), as_tensor(w)
    b = None if b is None else as_tensor(b)
    check_float("linear", x=x, w=w, b=b)
    if w.ndim != 2 or 0 in w.shape:
        raise ValueError(f"linear: w must have the shape (O, I), not {w.shape}")
    O, I = w.shape
    if x.ndim < 1 or x.shape[-1] != I:
        raise ValueError(
            f"linear: x of shape {x.shape} must end in the {I} features that w of shape {w.shape} "
            "takes; flatten x first, or give w as (outputs, inputs)"
        )
    if b is not None and b.shape != (O,):
        raise ValueError(f"linear: b must have the shape ({O},), not {b.shape}")
    return OP(x, w, b)
