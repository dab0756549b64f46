"""linear as in a textbook.

    y  = x w^T + b
    gx = gy w
    gw = gy^T x     summed over rows
    gb = gy         summed over rows

All axes of x and gy but the last are taken as one, of rows.
"""

from typing import Any

from minialex.arrays import Array


def forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Any]:
    """Return x w^T + b."""
    y = x @ w.T
    return y if b is None else y + b, (x, w)


def backward(gy: Array, saved: Any, *, needs: Any = (True, True, True)) -> Any:
    """Return the gradients of `x`, `w` and `b`."""
    x, w = saved
    gy_rows, x_rows = gy.reshape(-1, len(w)), x.reshape(-1, w.shape[1])
    gx = gy @ w if needs[0] else None
    gw = gy_rows.T @ x_rows if needs[1] else None
    gb = gy_rows.sum(axis=0) if needs[2] else None
    return gx, gw, gb
