"""linear as the CPU's engine: each core computes some features.

For a batch of few rows the products are bound by memory: BLAS would copy (pack) all weights, and go
over their gradient twice. Hence the tiles and strips below.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import DeferredGradient, Gradients
from minialex.cpu import memory, threads
from minialex.cpu.sharing import MULTIPLICATIONS_PER_BYTE, slices_per_worker
from minialex.ops._windows import store_gradient

SKINNY_COLUMNS = 32
"""Up to how many rows of a batch, columns of the product's right matrix, weights come in tiles.

In tiles the product of 4096 x 9216 weights with 32 rows takes a fifth less time, with 64 a third
more.
"""

TILE_SHAPE = (64, 256)
"""The weights in a tile at most: few enough for BLAS to multiply them without packing."""

STRIP_MIN_ROWS, STRIP_MAX_ROWS = 2, 64
"""From how many to how many rows of a batch the gradient of the weights is computed in strips.

Of one row it is an outer product, which BLAS is not asked for. Of 8 rows a deferred gradient takes
half the time in strips, of 32 three quarters; of 64 they gain nothing. (4096 x 9216, one core.)
"""

STRIP_COLUMNS = 256
"""How many columns of the gradient of the weights are computed at a time, to stay in L1 or L2."""

DEFERRED_ROW_BLOCK = 64
"""How many rows of a deferred gradient, the weights of one feature each, are computed at a time."""

DEFERRED_MIN_RATIO = 8
"""How many times larger than its factors, which are copied, a gradient is for it to be deferred."""


def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple[Array, Array]]:
    """Return x w^T + b."""
    xp, (O, I) = array_module(x), w.shape
    rows = x.reshape(-1, I)
    y = memory.empty(xp, (len(rows), O), x.dtype)

    def compute_features(features: slice) -> None:
        products = _tall_skinny_matmul(w[features], rows.T).T
        xp.add(products, 0 if b is None else b[features], out=y[:, features])

    threads.run(compute_features, _feature_slices(xp, w, O, len(rows)))
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
    return xp is np and DEFERRED_MIN_RATIO * (gy.size + x.size) < gy.shape[1] * x.shape[1]


def _deferred(gy: Array, x: Array) -> DeferredGradient:
    """Return the gradient of the weights, to be computed when it is used.

    It is the same products of a few features each, whether the whole is read or an optimizer takes
    it in rows: a larger product would have other bits.
    """

    def compute_rows(features: slice, out: Array) -> None:
        rows = range(gy.shape[1])[features]

        def compute_block(lo: int) -> None:
            hi = min(lo + DEFERRED_ROW_BLOCK, rows.stop)
            _weight_gradient(gy[:, lo:hi], x, out[lo - rows.start : hi - rows.start])

        threads.run(compute_block, rows[::DEFERRED_ROW_BLOCK])

    shape = gy.shape[1], x.shape[1]
    return DeferredGradient(shape, gy.dtype, compute_rows, row_block=DEFERRED_ROW_BLOCK)


def _data_gradient(gy: Array, w: Array) -> Array:
    xp, I = array_module(gy), w.shape[1]
    gx = memory.empty(xp, (len(gy), I), gy.dtype)

    def compute_features(features: slice) -> None:
        gx[:, features] = _tall_skinny_matmul(w[:, features].T, gy.T).T

    threads.run(compute_features, _feature_slices(xp, w, I, len(gy)))
    return gx


def _weight_gradient(gy: Array, x: Array, gw: Array) -> None:
    """Write gy^T x to `gw`, in strips of columns where BLAS would go over it more than once.

    It clears the result and then adds products to it. A block of a deferred gradient, say 64 x 9216
    floats, is 2.4 MB, so both passes go beyond L2. A strip of 64 x 256 is 64 KB and still in cache
    when products are added to it:

        gw[:, 0:256], gw[:, 256:512], ...  =  gy^T x[:, 0:256], gy^T x[:, 256:512], ...
    """
    xp, (O, I) = array_module(gy), gw.shape
    in_strips = xp is np and STRIP_MIN_ROWS <= len(gy) <= STRIP_MAX_ROWS
    strips = threads.chunks(I, -(-I // STRIP_COLUMNS) if in_strips else 1)

    def compute_features(features: slice) -> None:
        for strip in strips:
            _matmul_out(gy[:, features].T, x[:, strip], gw[features, strip])

    threads.run(compute_features, _feature_slices(xp, gw, O, len(gy)))


def _tall_skinny_matmul(a: Array, b: Array) -> Array:
    """Return the product of weights `a` and of `b`, which has one column per row of `x`.

    BLAS packs large matrices: it copies them into an order that suits it, and that takes as long as
    multiplying them by a few columns. Small ones it multiplies without, so `a` is multiplied in
    tiles. Of `a` (128, 512) and tiles of (64, 256), with `b` in two halves of 256 rows:

        product = [a00  a01] [b0]  =  [a00 b0]  +  [a01 b1]
                  [a10  a11] [b1]     [a10 b0]     [a11 b1]
    """
    xp, (M, K), N = array_module(a), a.shape, b.shape[1]
    m, k = (_largest_divisor(n, most) for n, most in zip(a.shape, TILE_SHAPE, strict=True))
    # a size whose divisors are all small gives many tiny tiles, which cost more than packing
    tiny = 4 * m * k < TILE_SHAPE[0] * TILE_SHAPE[1]
    if xp is not np or not 1 < N <= SKINNY_COLUMNS or tiny:
        return xp.matmul(a, b)  # type: ignore[no-any-return]
    tiles = a.reshape(M // m, m, K // k, k).transpose(2, 0, 1, 3)
    columns = np.ascontiguousarray(b).reshape(K // k, 1, k, N)
    return (tiles @ columns).sum(axis=0).reshape(M, N)  # type: ignore[no-any-return]


def _largest_divisor(n: int, most: int) -> int:
    """Return the largest divisor of `n` up to `most`."""
    return max(d for d in range(1, most + 1) if n % d == 0)


def _matmul_out(a: Array, b: Array, out: Array) -> None:
    """Write the product of matrices to `out`."""
    xp = array_module(a)
    # of a column and a row BLAS makes four passes over the result
    (xp.multiply if len(b) == 1 else xp.matmul)(a, b, out=out)


def _feature_slices(xp: Any, w: Array, features: int, rows: int) -> list[slice]:
    """Return some features for each worker: each weight is read, and multiplied by some rows."""
    bytes_per_weight = w.itemsize + rows / MULTIPLICATIONS_PER_BYTE
    return slices_per_worker(xp, features, w.size / max(1, features) * bytes_per_weight)
