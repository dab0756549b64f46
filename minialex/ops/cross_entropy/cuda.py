"""cross_entropy as CUDA kernels: kernels/cross_entropy.cu.

Rows are shared out among threads, warps or blocks as those of softmax; one block adds the losses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation
from minialex.ops._cuda import rows
from minialex.ops._cuda.launching import check_counts, contiguous

_forward = cuda.kernel("cross_entropy.cu", "cross_entropy_forward", optional=("w",))
_forward_soft = cuda.kernel("cross_entropy.cu", "cross_entropy_forward_soft", optional=("w",))
_total = cuda.kernel("cross_entropy.cu", "cross_entropy_total")
_backward = cuda.kernel("cross_entropy.cu", "cross_entropy_backward", optional=("w",))
_backward_soft = cuda.kernel("cross_entropy.cu", "cross_entropy_backward_soft", optional=("w",))


def forward(
    x: Array,
    targets: Array,
    w: Array | None,
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss: a number, or one per row for reduction "none"."""
    xp, (N, C) = array_module(x), x.shape
    check_counts("cross_entropy", x=x.size)
    p = xp.empty(x.shape, x.dtype)
    loss, weight = xp.empty((2, N), x.dtype)
    threads, kernel = (
        rows.threads_per_row(N, C, 1),
        _forward if targets.ndim == 1 else _forward_soft,
    )
    kernel(
        *(rows.grid(N, threads), cuda.BLOCK_SIZE),
        *(contiguous(x), _numbers(targets), w if w is None else contiguous(w), p, loss, weight),
        *(N, C, *_params(targets, C, label_smoothing, ignore_index)),
        THREADS_PER_ROW=threads,
    )
    if reduction == "none":
        return loss, (p, targets, w, xp.ones((), x.dtype))
    total, scale = xp.empty((), x.dtype), xp.empty((), x.dtype)
    _total(1, cuda.BLOCK_SIZE, loss, weight, total, scale, N, reduction == "mean")
    return total, (p, targets, w, scale)


def backward(
    gy: Array,
    saved: tuple[Any, ...],
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> Gradients:
    """Return the gradient of the logits; targets and weights have none."""
    p, targets, w, scale = saved
    N, C = p.shape
    gx = array_module(p).empty(p.shape, p.dtype)
    threads = rows.threads_per_row(N, C, 1)
    kernel = _backward if targets.ndim == 1 else _backward_soft
    kernel(
        *(rows.grid(N, threads), cuda.BLOCK_SIZE),
        *(
            contiguous(gy),
            p,
            _numbers(targets),
            w if w is None else contiguous(w),
            contiguous(scale),
            gx,
        ),
        *(N, C, *_params(targets, C, label_smoothing, ignore_index), gy.ndim == 1),
        THREADS_PER_ROW=threads,
    )
    return gx, None, None


def _numbers(targets: Array) -> Array:
    return contiguous(targets if targets.ndim == 2 else targets.astype(np.int64, copy=False))


def _params(targets: Array, C: int, label_smoothing: float, ignore_index: int) -> tuple[Any, ...]:
    """Return what kernels are told of the targets: their two shares and, of classes, `ignore`."""
    shares = 1 - label_smoothing, label_smoothing / max(C, 1)
    return shares if targets.ndim == 2 else (*shares, ignore_index)


KERNEL = Implementation(forward, backward, why_not=cuda.why_not)
