"""The updates over whole arrays, as a textbook has them.

Each changes the parameters `p` and their state in place, given the gradient `g`: arrays of one
shape, NumPy's or CuPy's. State that the settings do not ask for is None.
"""

from __future__ import annotations

from math import sqrt

from minialex.arrays import Array, array_module


def rmsprop(
    p: Array, g: Array, v: Array, m: Array | None, b: Array | None, *,
    lr: float, alpha: float, eps: float, weight_decay: float, momentum: float,
) -> None:  # fmt: skip
    """Step as ``rmsprop.py`` says: without `m` not centered, without `b` without momentum."""
    xp = array_module(p)
    if weight_decay:
        g = g + weight_decay * p
    v[...] = alpha * v + (1 - alpha) * g**2
    variance = v
    if m is not None:
        m[...] = alpha * m + (1 - alpha) * g
        variance = xp.maximum(v - m**2, 0)
    step = g / (xp.sqrt(variance) + eps)
    if b is not None:
        b[...] = momentum * b + step
        step = b
    p -= lr * step


def sgd(
    p: Array, g: Array, b: Array | None, *, lr: float, weight_decay: float, momentum: float
) -> None:
    """Step as ``sgd.py`` says: without `b` without momentum."""
    if weight_decay:
        g = g + weight_decay * p
    if b is not None:
        b[...] = momentum * b + g
        g = b
    p -= lr * g


def adam(
    p: Array, g: Array, m: Array, v: Array, *,
    lr: float, b1: float, b2: float, eps: float, weight_decay: float, t: int,
) -> None:  # fmt: skip
    """Step as ``adam.py`` says; `t` is 1 at the first step."""
    if weight_decay:
        g = g + weight_decay * p
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g**2
    d = array_module(p).sqrt(v) / sqrt(1 - b2**t) + eps
    p -= lr / (1 - b1**t) * (m / d)
