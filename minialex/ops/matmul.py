"""Matrix product, over stacks of matrices with broadcasting.

    y  = a b
    ga = gy b^T,  gb = a^T gy        summed over the axes along which a or b was broadcast

A vector on the left is a row, one on the right a column, and that axis is dropped from y.
saved = (a, b).
"""

from __future__ import annotations

from math import prod

import numpy as np

from minialex.arrays import Array
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensors
from minialex.ops._arguments import ITEM_BYTES, check_broadcast, unbroadcast


def forward(a: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    """Return the matrix product."""
    return a @ b, (a, b)


def backward(gy: Array, saved: tuple[Array, Array], *, needs: tuple[bool, ...]) -> Gradients:
    """Return the gradients of both factors."""
    a, b = saved
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    if b.ndim == 1:
        gy = gy[..., None]
    if a.ndim == 1:
        gy = gy[..., None, :]
    ga = (
        unbroadcast(gy @ columns.swapaxes(-1, -2), rows.shape).reshape(a.shape)
        if needs[0]
        else None
    )
    gb = (
        unbroadcast(rows.swapaxes(-1, -2) @ gy, columns.shape).reshape(b.shape)
        if needs[1]
        else None
    )
    return ga, gb


def cost(shapes: Shapes) -> Cost:
    """Two operations for each product of two elements."""
    a, b = (s or () for s in shapes)
    rows, columns = a[-2:-1] or (1,), b[-1:] if len(b) > 1 else (1,)
    stack = np.broadcast_shapes(a[:-2], b[:-2])
    size = prod(stack) * rows[0] * columns[0]
    return Cost(2 * size * a[-1], ITEM_BYTES * (prod(a) + prod(b) + size))


OP = Op("matmul", {"plain": Implementation(forward, backward)}, cost)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product of `a` (..., M, K) and `b` (..., K, N): (..., M, N), broadcast.

    Raises
    ------
    ValueError
        If the inner sizes differ, either has no axis, or the stacks do not broadcast.
    """
    a, b = as_tensors(a, b)
    inner = b.shape[-2:-1] or b.shape
    if not a.ndim or not b.ndim or a.shape[-1] != inner[0]:
        raise ValueError(f"matmul: the inner sizes of {a.shape} and {b.shape} differ")
    if a.ndim > 2 < b.ndim:
        check_broadcast("matmul: stacks of matrices", a.shape[:-2], b.shape[:-2])
    return OP(a, b)
