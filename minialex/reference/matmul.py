"""Definition of the matrix product."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def matmul(a: Array, b: Array) -> Array:
    """y[..., m, n] = sum_k a[..., m, k] b[..., k, n]."""
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    stack = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows = np.broadcast_to(rows, stack + rows.shape[-2:])
    columns = np.broadcast_to(columns, stack + columns.shape[-2:])
    y = np.zeros((*stack, rows.shape[-2], columns.shape[-1]))
    for i in np.ndindex(stack):
        for m in range(y.shape[-2]):
            for n in range(y.shape[-1]):
                for k in range(rows.shape[-1]):
                    y[(*i, m, n)] += rows[(*i, m, k)] * columns[(*i, k, n)]
    if a.ndim == 1:
        y = y[..., 0, :]
    return y[..., 0] if b.ndim == 1 else y
