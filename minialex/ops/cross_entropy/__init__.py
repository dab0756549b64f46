"""Softmax cross-entropy, fused: from logits to a loss without forming a probability that can be 0.

With l = log_softmax(x), e = label_smoothing and class weights w (1 where none are given),

    loss[n] = -(1 - e) w[t] l[n, t] - e / C sum_c w[c] l[n, c]         t = targets[n]
    gx[n]   = (1 - e) w[t] (p - onehot t) + e / C (p sum_c w[c] - w)   p = softmax(x[n])

Rows whose target is `ignore_index` have no loss and no gradient, whatever is in them. "mean"
divides the sum by the sum of w[t] over the rows that count (by their number without weights); where
none counts, it is 0. A target that is no class makes its row's loss and gradient NaN, and the mean.

saved = (p, targets, w, scale): w is None where none are given; scale is 1 over that sum, () for
"mean", 1 otherwise.

    plain    pass by pass over all logits; what a CPU runs as well
    kernel   kernels/cross_entropy.cu: two passes over each row, and one block to add up the rows
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.autograd import Cost, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import ITEM_BYTES, check_float, whole_number
from minialex.ops.cross_entropy import plain
from minialex.ops.cross_entropy.cuda import KERNEL

REDUCTIONS = "mean", "sum", "none"


def cost(shapes: Shapes, **_: Any) -> Cost:
    """Count softmax and logarithm a logit; each input is read once, a loss a row written."""
    logits = shapes[0] or ()
    moved = sum(prod(s) for s in shapes if s is not None) + logits[0]
    return Cost(5 * prod(logits), ITEM_BYTES * moved)


OP = Op(
    "cross_entropy",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "kernel": KERNEL,
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
        The right class of each row, from 0 to C - 1, or `ignore_index`. On a GPU this is
        not checked, which would mean waiting for the device: the loss of another is NaN.
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
        If shapes do not fit, or a target (on the CPU, where checking costs nothing) is no class.
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
