"""Softmax cross-entropy, fused: from logits to a loss without forming a probability that can be 0.

With l = log_softmax(x), e = label_smoothing and class weights w (1 where none are given),

    loss[n] = -(1 - e) w[t] l[n, t] - e / C sum_c w[c] l[n, c]         t = targets[n]
    gx[n]   = (1 - e) w[t] (p - onehot t) + e / C (p sum_c w[c] - w)   p = softmax(x[n])

Rows whose target is `ignore_index` have no loss and no gradient, whatever is in them. "mean"
divides the sum by the sum of w[t] over the rows that count (by their number without weights); where
none counts, it is 0. A target that is no class makes its row's loss and gradient NaN, and the mean.

saved = (p, targets, w, scale): w is None where none are given; scale is 1 over that sum, () for
"mean", 1 otherwise.

    plain    pass by pass over all logits
    kernel   kernels/cross_entropy.cu: two passes over each row, and one block to add up the rows
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex import cuda
from minialex.arrays import Array, array_module
from minialex.autograd import Cost, Gradients, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import ITEM_BYTES, check_float, whole_number
from minialex.ops._cuda import rows
from minialex.ops._cuda.launching import check_counts, packed

REDUCTIONS = "mean", "sum", "none"


def forward(
    x: Array,
    targets: Array,
    w: Array | None,
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss: a number, or one a row for reduction "none"."""
    xp, (N, C) = array_module(x), x.shape
    counts, t, wt = _targets(x, targets, w, ignore_index)
    shifted = x - x.max(axis=1, keepdims=True)
    p = xp.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    log_p = shifted
    log_p -= xp.log(total)
    loss = -(1 - label_smoothing) * wt * log_p[xp.arange(N), t]
    if label_smoothing:
        loss -= label_smoothing / C * (log_p.sum(axis=1) if w is None else log_p @ w)
    loss = xp.where(counts, loss, x.dtype.type(0))
    weight = wt.sum()
    scale = 1 / xp.where(weight == 0, 1, weight) if reduction == "mean" else xp.ones((), x.dtype)
    scale = scale.astype(x.dtype, copy=False)
    return loss if reduction == "none" else loss.sum() * scale, (p, targets, w, scale)


def _targets(
    x: Array, targets: Array, w: Array | None, ignore_index: int
) -> tuple[Array, Array, Array]:
    """Return which rows of `x` count, a target that is a class in each, and its weight.

    The weight is 0 where a row does not count, and NaN where it counts and its target is no class.
    """
    xp, C = array_module(x), x.shape[1]
    counts, known = targets != ignore_index, (targets >= 0) & (targets < C)
    t = xp.where(known, targets, 0)
    weight = xp.ones(t.shape, x.dtype) if w is None else w[t]
    number = x.dtype.type
    return counts, t, xp.where(counts, xp.where(known, weight, number(np.nan)), number(0))


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
    xp, (N, C) = array_module(p), p.shape
    counts, t, wt = _targets(p, targets, w, ignore_index)
    row = gy * scale
    gx = p * ((1 - label_smoothing) * wt * row)[:, None]
    gx[xp.arange(N), t] -= (1 - label_smoothing) * wt * row
    if label_smoothing:
        w = xp.ones(C, p.dtype) if w is None else w
        gx += xp.broadcast_to(label_smoothing / C * row, N)[:, None] * (p * w.sum() - w)
    gx[~counts] = 0
    return gx.astype(p.dtype, copy=False), None, None


_forward = cuda.kernel("cross_entropy.cu", "cross_entropy_forward", optional=("w",))
_total = cuda.kernel("cross_entropy.cu", "cross_entropy_total")
_backward = cuda.kernel("cross_entropy.cu", "cross_entropy_backward", optional=("w",))


def forward_kernel(
    x: Array,
    targets: Array,
    w: Array | None,
    *,
    label_smoothing: float,
    ignore_index: int,
    reduction: str,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss: a number, or one a row for reduction "none"."""
    xp, (N, C) = array_module(x), x.shape
    check_counts("cross_entropy", x=x.size)
    p = xp.empty(x.shape, x.dtype)
    loss, weight = xp.empty((2, N), x.dtype)
    threads, params = rows.team(N, C, 1), _params(C, label_smoothing, ignore_index)
    _forward(
        *(rows.grid(N, threads), cuda.BLOCK_SIZE),
        *(packed(x), _numbers(targets), w if w is None else packed(w), p, loss, weight),
        *(N, C, *params),
        THREADS_PER_ROW=threads,
    )
    if reduction == "none":
        return loss, (p, targets, w, xp.ones((), x.dtype))
    total, scale = xp.empty((), x.dtype), xp.empty((), x.dtype)
    _total(1, cuda.BLOCK_SIZE, loss, weight, total, scale, N, reduction == "mean")
    return total, (p, targets, w, scale)


def backward_kernel(
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
    threads, params = rows.team(N, C, 1), _params(C, label_smoothing, ignore_index)
    _backward(
        *(rows.grid(N, threads), cuda.BLOCK_SIZE),
        *(packed(gy), p, _numbers(targets), w if w is None else packed(w), packed(scale), gx),
        *(N, C, *params, gy.ndim == 1),
        THREADS_PER_ROW=threads,
    )
    return gx, None, None


def _numbers(targets: Array) -> Array:
    return packed(targets.astype(np.int64, copy=False))


def _params(C: int, label_smoothing: float, ignore_index: int) -> tuple[float, float, int]:
    """Return what kernels are told of the targets: sharp, even and ignore."""
    return 1 - label_smoothing, label_smoothing / max(C, 1), ignore_index


def cost(shapes: Shapes, **_: Any) -> Cost:
    """Count softmax and logarithm a logit; each input is read once, a loss a row written."""
    logits = shapes[0] or ()
    moved = sum(prod(s) for s in shapes if s is not None) + logits[0]
    return Cost(5 * prod(logits), ITEM_BYTES * moved)


OP = Op(
    "cross_entropy",
    {
        "plain": Implementation(forward, backward),
        "kernel": Implementation(forward_kernel, backward_kernel, why_not=cuda.why_not),
    },
    cost,
    kernel="kernel",
)


def cross_entropy(
    logits: Tensor,
    targets: Any,
    *,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy between the softmax of `logits` and the `targets`.

    Parameters
    ----------
    logits : Tensor (N, C), float32 or float64
        Any finite values: nothing overflows.
    targets : integer Tensor or array (N,)
        The right class of each row, from 0 to C - 1, or `ignore_index`. On a GPU nobody looks
        whether it is one of these, which would take waiting for the GPU: the loss is then NaN.
    weight : array (C,), optional
        How much each class counts; not negative. A constant: it gets no gradient.
    label_smoothing : float
        From 0 to 1: the share of the target spread evenly over all classes
        (Szegedy et al. 2016, section 7).
    ignore_index : int
        Rows with this target have no loss and no gradient.
    reduction : "mean", "sum" or "none"
        The mean is weighted: divided by the sum of the weights of the rows' classes.

    Returns
    -------
    Tensor () or, for "none", (N,).

    Raises
    ------
    ValueError
        If shapes do not fit, or a target (on the CPU, where looking costs nothing) is no class.
    TypeError
        If the logits are not of a floating-point type, the targets or `ignore_index` no integers,
        or `weight` requires a gradient.
    """
    logits, targets = as_tensor(logits), as_tensor(targets)
    ignore_index = whole_number("cross_entropy", "ignore_index", ignore_index)
    _check(logits, targets, label_smoothing, ignore_index, reduction)
    if weight is not None:
        weight = as_tensor(weight).astype(logits.dtype).to(logits.device)
        if weight.requires_grad:
            raise TypeError("cross_entropy: weight gets no gradient; give weight.detach()")
        if weight.shape != logits.shape[1:]:
            raise ValueError(f"cross_entropy: weight is {weight.shape}, not {logits.shape[1:]}")
    return OP(
        logits,
        # a copy: the caller may fill the array anew before backward
        Tensor(targets.data.astype(np.int64)).to(logits.device),
        weight,
        label_smoothing=float(label_smoothing),
        ignore_index=ignore_index,
        reduction=reduction,
    )


def _check(
    logits: Tensor, targets: Tensor, label_smoothing: float, ignore_index: int, reduction: str
) -> None:
    check_float("cross_entropy", logits=logits)
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            "cross_entropy: logits must be (N, C) and targets (N,), "
            f"not {logits.shape} and {targets.shape}"
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets must be integers, not {targets.dtype}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing is a share from 0 to 1, not {label_smoothing}"
        )
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"cross_entropy: reduction is one of {', '.join(REDUCTIONS)}, not {reduction!r}"
        )
    if isinstance(targets.data, np.ndarray):
        t, C = targets.data, logits.shape[1]
        wrong = t[((t < 0) | (t >= C)) & (t != ignore_index)]
        if wrong.size:
            raise ValueError(f"cross_entropy: target {wrong[0]} is no class: there are {C}, from 0")
