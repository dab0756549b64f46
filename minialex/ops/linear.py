"""Fully connected layer.

    y  = x w^T + b
    gx = gy w,  gw = gy^T x,  gb = gy        the last two summed over all axes of gy but the last

saved = (x, w).
"""

from __future__ import annotations

from math import prod
from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._shapes import ITEM_BYTES
from minialex.ops._windows import check_float, delivered


def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple[Array, Array]]:
    """Return x w^T + b."""
    O, I = w.shape
    y = x.reshape(-1, I) @ w.T
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], O), (x, w)


def backward(
    gy: Array,
    saved: tuple[Array, Array],
    *,
    needs: tuple[bool, ...] = (True, True, True),
    out: Gradients = (None, None, None),
) -> Gradients:
    """Return the gradients of `x`, `w` and `b`."""
    x, w = saved
    xp = array_module(x)
    O, I = w.shape
    rows = gy.reshape(-1, O)
    gx = delivered((rows @ w).reshape(x.shape), out[0]) if needs[0] else None
    gw = xp.matmul(rows.T, x.reshape(-1, I), out=out[1]) if needs[1] else None
    gb = rows.sum(axis=0, out=out[2]) if needs[2] else None
    return gx, gw, gb


def cost(shapes: Shapes, **_: Any) -> Cost:
    """Two operations for each weight and row of `x`, one for each bias."""
    x, w, b = (*shapes, None)[:3]
    assert x is not None
    assert w is not None
    O, I = w
    size = prod(x[:-1]) * O
    flops = 2 * size * I + (size if b else 0)
    return Cost(flops, ITEM_BYTES * (prod(x) + O * I + (O if b else 0) + size))


OP = Op("linear", {"array": Implementation(forward, backward)}, cost)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Return ``x w^T + b``, a fully connected layer.

    Parameters
    ----------
    x : Tensor (..., I), float32 or float64
        Any number of rows of `I` features.
    w : Tensor (O, I), of the type of `x`
    b : Tensor (O,), of the type of `x`, optional

    Returns
    -------
    Tensor (..., O)

    Raises
    ------
    ValueError
        If the shapes do not go together.
    TypeError
        If `x` is not of a floating-point type, or the types differ.
    """
    x, w = as_tensor(x), as_tensor(w)
    check_float("linear", "x", x)
    if w.ndim != 2:
        raise ValueError(f"linear: w must have the shape (O, I), not {w.shape}")
    O, I = w.shape
    if x.ndim < 1 or x.shape[-1] != I:
        raise ValueError(
            f"linear: x of shape {x.shape} must end in the {I} features that w of shape {w.shape} "
            "takes; flatten x first, or give w as (outputs, inputs)"
        )
    if b is not None and as_tensor(b).shape != (O,):
        raise ValueError(f"linear: b must have the shape ({O},), not {as_tensor(b).shape}")
    return OP(x, w, b)
