"""Softmax cross-entropy, fused: from logits to a loss without forming a probability that can be 0.

With l = log_softmax(x), p = softmax(x), e = label_smoothing and class weights w (1 where none are
given), the loss of a row whose target is a class t, and its gradient:

    loss[n] = -(1 - e) w[t] l[n, t] - e / C sum_c w[c] l[n, c]         t = targets[n]
    gx[n]   = (1 - e) w[t] (p - onehot t) + e / C (p sum_c w[c] - w)

and where its target is a probability q for each class:

    loss[n] = -sum_c s[c] l[n, c]                                      s = w ((1 - e) q + e / C)
    gx[n]   = p sum_c s[c] - s                                         q = targets[n]

Rows whose target is `ignore_index` have no loss and no gradient, whatever is in them. "mean"
divides the sum by the sum of w[t] over the rows that count (by their number without weights, and
for probabilities); where none counts, it is 0. A target that is no class makes its row's loss and
gradient NaN, and the mean.

saved = (p, targets, w, scale): w is None where none are given; scale is 1 over that sum, () for
"mean", 1 otherwise.

    plain    pass by pass over all logits; what a CPU runs as well
    kernel   kernels/cross_entropy.cu: two passes over each row, and one block to add up the rows;
             kernels of their own for probabilities
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minialex.arrays import CPU
from minialex.autograd import Cost, Implementation, Op, Shapes, Tensor, as_tensor
from minialex.ops._arguments import ITEM_BYTES, check_float, real_number, whole_number
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
    weight: Any = None,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross-entropy between the softmax of `logits` and the `targets`.

    Parameters
    ----------
    logits : Tensor (N, C), float32, float64 or bfloat16
        Any finite values: nothing overflows.
    targets : integer Tensor or array (N,), or Tensor or array (N, C) of floats
        The right class of each row, from 0 to C - 1, or `ignore_index`. On a GPU this is
        not checked, which would mean waiting for the device: the loss of another is NaN.
        Or, for each row, how probable each class is; that these sum to 1 is not checked. They are
        constants: they get no gradient.
    weight : array (C,), optional
        How much each class counts: finite and not negative, which is checked on the CPU (PyTorch
        takes any). A constant: it gets no gradient. A class of weight 0 adds nothing to the loss,
        however improbable it is (PyTorch: NaN at -inf).
    label_smoothing : float
        From 0 to 1: the share of the target spread evenly over all classes
        (Szegedy et al. 2016, section 7).
    ignore_index : int
        Rows with this target have no loss and no gradient. Not for probabilities.
    reduction : "mean", "sum" or "none"
        The mean is weighted: divided by the sum of the weights of the rows' classes; but that of
        probabilities by the number of rows. It is 0 where no row counts (PyTorch: NaN).

    Returns
    -------
    Tensor () or, for "none", (N,).

    Raises
    ------
    ValueError
        If shapes do not fit, there are no classes, a setting is out of its range, or a target or
        weight is, where it is on the CPU and checking costs nothing.
    TypeError
        If the logits are not of a floating-point type, the targets of the wrong one, `ignore_index`
        no integer, or `weight` or the targets require a gradient.
    """
    logits, targets = as_tensor(logits), as_tensor(targets)
    settings = checked_settings("cross_entropy", ignore_index, reduction, label_smoothing)
    _check(logits, targets, settings["ignore_index"])
    if weight is not None:
        weight = checked_weight("cross_entropy", weight).astype(logits.dtype).to(logits.device)
        if weight.shape != logits.shape[1:]:
            raise ValueError(f"cross_entropy: weight is {weight.shape}, not {logits.shape[1:]}")
    kind = logits.dtype if targets.ndim == 2 else np.int64
    return OP(
        logits,
        # a copy: the caller may fill the array anew before backward
        Tensor(_constant("cross_entropy", "targets", targets).data.astype(kind)).to(logits.device),
        weight,
        **settings,
    )


def checked_settings(
    owner: str, ignore_index: Any, reduction: str, label_smoothing: Any
) -> dict[str, Any]:
    """Return the settings of the loss, each as it is computed with; `owner` is for messages."""
    ignore_index = whole_number(owner, "ignore_index", ignore_index)
    label_smoothing = real_number(owner, "label_smoothing", label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{owner}: label_smoothing is a share from 0 to 1, not {label_smoothing}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"{owner}: reduction is one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    return {
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": label_smoothing,
    }


def checked_weight(owner: str, weight: Any) -> Tensor:
    """Return how much each class counts as a Tensor; `owner` is for messages."""
    w = _constant(owner, "weight", as_tensor(weight))
    if w.ndim != 1:
        raise ValueError(f"{owner}: weight is {w.shape}; give a number for each class")
    wrong = w.data[~((w.data >= 0) & (w.data < np.inf))] if w.device == CPU else w.data[:0]
    if wrong.size:
        raise ValueError(f"{owner}: weight is {wrong[0]} for a class; give finite numbers from 0")
    return w


def _constant(owner: str, name: str, x: Tensor) -> Tensor:
    if x.requires_grad:
        raise TypeError(f"{owner}: no gradient flows to {name}; give {name}.detach()")
    return x


def _check(logits: Tensor, targets: Tensor, ignore_index: int) -> None:
    check_float("cross_entropy", logits=logits)
    if logits.ndim != 2 or targets.shape not in (logits.shape[:1], logits.shape):
        raise ValueError(
            "cross_entropy: logits must be (N, C) and targets (N,) or (N, C), "
            f"not {logits.shape} and {targets.shape}"
        )
    if not logits.shape[1]:
        raise ValueError(f"cross_entropy: logits of shape {logits.shape} have no classes")
    wanted, words = ("f", "floats: probabilities") if targets.ndim == 2 else ("iu", "integers")
    if targets.dtype.kind not in wanted:
        raise TypeError(
            f"cross_entropy: targets of shape {targets.shape} must be {words}, not {targets.dtype}"
        )
    if targets.ndim == 2 and ignore_index >= 0:
        raise ValueError(
            f"cross_entropy: ignore_index is {ignore_index}, but targets are probabilities; leave "
            "it out"
        )
    if isinstance(targets.data, np.ndarray) and targets.ndim == 1:
        t, C = targets.data, logits.shape[1]
        wrong = t[((t < 0) | (t >= C)) & (t != ignore_index)]
        if wrong.size:
            raise ValueError(f"cross_entropy: target {wrong[0]} is no class: there are {C}, from 0")
