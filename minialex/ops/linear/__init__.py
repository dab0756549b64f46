"""Fully connected layer.

    y  = x w^T + b
    gx = gy w,  gw = gy^T x,  gb = gy        the last two summed over all axes of gy but the last

saved = (x, w).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import (
    Cost,
    DeferredGradient,
    Gradients,
    Implementation,
    Op,
    Shapes,
    Tensor,
    as_tensor,
)
from minialex.cpu import memory, threads
from minialex.cpu.sharing import slices_per_worker
from minialex.ops._arguments import ITEM_BYTES, check_float
from minialex.ops._windows import store_gradient
from minialex.ops.linear.cuda import IMPLEMENTATIONS


def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple[Array, Array]]:
    """Return x w^T + b, each worker computing some of the features."""
    xp, (O, I) = array_module(x), w.shape
    rows = x.reshape(-1, I)
    y = memory.empty(xp, (len(rows), O), x.dtype)

    def some(features: slice) -> None:
        products = _times_few(w[features], rows.T).T
        xp.add(products, 0 if b is None else b[features], out=y[:, features])

    threads.run(some, _pieces(xp, w, O))
    return y.reshape(*x.shape[:-1], O), (x, w)


def backward(
    gy: Array,
    saved: tuple[Array, Array],
    *,
    needs: tuple[bool, ...] = (True, True, True),
    out: Gradients = (None, None, None),
    may_defer: tuple[bool, ...] = (False, False, False),
) -> tuple[Array | DeferredGradient | None, ...]:
    """Return the gradients of `x`, `w` and `b`; that of `w` is deferred where it is much larger."""
    x, w = saved
    xp, rows, x_rows = array_module(x), gy.reshape(-1, len(w)), x.reshape(-1, w.shape[1])
    gx = gb = None
    gw: Array | DeferredGradient | None = None
    if needs[0]:
        gx = store_gradient(_data_gradient(rows, w).reshape(x.shape), out[0])
    if needs[1]:
        if may_defer[1] and _worth_deferring(xp, rows, x_rows):
            gw = _deferred(rows.copy(), x_rows.copy())
        else:
            gw = out[1] if out[1] is not None else xp.empty(w.shape, w.dtype)
            _weight_gradient(rows, x_rows, gw)
    if needs[2]:
        gb = rows.sum(axis=0, out=out[2])
    return gx, gw, gb


def _worth_deferring(xp: Any, gy: Array, x: Array) -> bool:
    """Return whether the factors of the weights' gradient, which are copied, are far smaller."""
    return xp is np and 8 * (gy.size + x.size) < gy.shape[1] * x.shape[1]


def _deferred(gy: Array, x: Array) -> DeferredGradient:
    """Return the gradient of the weights, to be computed when it is used.

    It is the same products of a few features each, whether somebody looks at the whole or an
    optimizer takes it in rows: bits of a larger product would differ.
    """

    def compute_rows(features: slice, out: Array) -> None:
        rows = range(gy.shape[1])[features]

        def some(lo: int) -> None:
            hi = min(lo + _UNIT, rows.stop)
            _weight_gradient(gy[:, lo:hi], x, out[lo - rows.start : hi - rows.start])

        threads.run(some, rows[::_UNIT])

    return DeferredGradient((gy.shape[1], x.shape[1]), gy.dtype, compute_rows, row_block=_UNIT)


def _data_gradient(gy: Array, w: Array) -> Array:
    xp, I = array_module(gy), w.shape[1]
    gx = memory.empty(xp, (len(gy), I), gy.dtype)

    def some(features: slice) -> None:
        gx[:, features] = _times_few(w[:, features].T, gy.T).T

    threads.run(some, _pieces(xp, w, I))
    return gx


def _weight_gradient(gy: Array, x: Array, gw: Array) -> None:
    xp, (O, I) = array_module(gy), gw.shape
    strips = threads.chunks(I, -(-I // _STRIP) if xp is np and 1 < len(gy) <= _FEW else 1)

    def some(features: slice) -> None:
        for strip in strips:
            _products(gy[:, features].T, x[:, strip], gw[features, strip])

    threads.run(some, _pieces(xp, gw, O))


def _times_few(a: Array, b: Array) -> Array:
    """Return the product of weights `a` and of `b`, which has a column for each row of `x`.

    BLAS copies large matrices into an order that suits it, and that takes as long as multiplying
    them by a few columns. Small ones it multiplies as they lie.
    """
    xp, (M, K), N = array_module(a), a.shape, b.shape[1]
    m, k = (_divisor(size, most) for size, most in zip(a.shape, _TILE, strict=True))
    if xp is not np or not 1 < N <= _COLUMNS or 4 * m * k < prod(_TILE):
        return xp.matmul(a, b)  # type: ignore[no-any-return]
    tiles = a.reshape(M // m, m, K // k, k).transpose(2, 0, 1, 3)
    columns = np.ascontiguousarray(b).reshape(K // k, 1, k, N)
    return (tiles @ columns).sum(axis=0).reshape(M, N)  # type: ignore[no-any-return]


def _divisor(n: int, most: int) -> int:
    """Return the largest divisor of `n` up to `most`."""
    return max(d for d in range(1, most + 1) if n % d == 0)


def _products(a: Array, b: Array, out: Array) -> None:
    """Write the product of matrices to `out`."""
    xp = array_module(a)
    # of a column and a row BLAS makes four passes over the result
    (xp.multiply if len(b) == 1 else xp.matmul)(a, b, out=out)


def _pieces(xp: Any, w: Array, features: int) -> list[slice]:
    """Cut up `features` for the workers: not at all where there are few weights."""
    return slices_per_worker(xp, features) if w.size > _MANY else [slice(features)]


_MANY = 1 << 16

_COLUMNS, _TILE = 32, (64, 256)
"""How many columns are few, and how much of the weights is multiplied by them at a time."""

_UNIT = 64
"""How many features' weights a deferred gradient is computed of at a time."""

_FEW = 64
"""Of how many rows the gradient of the weights, which is written more than once, is the bulk."""

_STRIP = 256
"""How many of its columns are written at a time then, so that they stay in a core's cache."""


def cost(shapes: Shapes, **_: Any) -> Cost:
    """Two operations for each weight and row of `x`, one for each bias."""
    x, w, b = (*shapes, None)[:3]
    assert x is not None
    assert w is not None
    O, I = w
    size = prod(x[:-1]) * O
    flops = 2 * size * I + (size if b else 0)
    return Cost(flops, ITEM_BYTES * (prod(x) + O * I + (O if b else 0) + size))


OP = Op(
    "linear",
    {"plain": Implementation(forward, backward), **IMPLEMENTATIONS},
    cost,
    kernel="register_blocked",
    tensor_cores={"fp32": "tf32x3", "tf32": "tf32"},
)


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
        If an input is not of a floating-point type, or the types differ.
    """
    x, w = as_tensor(x), as_tensor(w)
    b = None if b is None else as_tensor(b)
    check_float("linear", x=x, w=w, b=b)
    if w.ndim != 2:
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
