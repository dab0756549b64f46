"""local_response_norm in array operations: the window's sum as shifted arrays, added up.

s[c]  = k + alpha sum_{|j-c| <= size//2} x[j]^2
y[c]  = x[c] s[c]^-beta
gx[c] = gy[c] s[c]^-beta - 2 alpha beta x[c] sum_{|j-c| <= size//2} gy[j] x[j] s[j]^(-beta-1)
"""

from __future__ import annotations

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients


def forward(
    x: Array, *, size: int, alpha: float, beta: float, k: float
) -> tuple[Array, tuple[Array, Array]]:
    """Return `x` divided by (k + alpha times the sum of squares nearby) to the power beta."""
    s = k + alpha * window_sum(x * x, size)
    return x * s**-beta, (x, s)


def backward(
    gy: Array, saved: tuple[Array, Array], *, size: int, alpha: float, beta: float, k: float
) -> Gradients:
    """Return the gradient of each channel: its own term, and one from every window it is in."""
    x, s = saved
    nearby = window_sum(gy * x * s ** (-beta - 1), size)
    return (gy * s**-beta - 2 * alpha * beta * x * nearby,)


def window_sum(v: Array, size: int) -> Array:
    """Return, for each channel of `v` (N, C, H, W), the sum over the `size` channels around it."""
    C = v.shape[1]
    half = min(size // 2, C)
    padded = array_module(v).pad(v, ((0, 0), (half, half), (0, 0), (0, 0)))
    return sum(padded[:, d : d + C] for d in range(2 * half + 1))  # type: ignore[no-any-return]
