"""Backward formulas of softmax and losses, with one mistake each."""

import numpy as np

from tests.check.formulas import right


def entropy_back(gy, saved, *, label_smoothing, ignore_index, reduction, forgotten):
    p, targets, w, scale = saved
    params = {"label_smoothing": label_smoothing, "reduction": reduction}
    if forgotten == "scale":
        scale = np.ones_like(scale)
    if forgotten == "weights":
        w = None
    if forgotten == "smoothing":
        params["label_smoothing"] = 0.0
    if forgotten == "ignored":
        targets, ignore_index = np.where(targets == ignore_index, 0, targets), -1
    grads = right("cross_entropy")(gy, (p, targets, w, scale), ignore_index=ignore_index, **params)
    return (grads[0] + p * 0.01, None, None) if forgotten == "target" else grads


def entropy(forgotten):
    def backward(gy, saved, *, label_smoothing, ignore_index, reduction):
        params = {"ignore_index": ignore_index, "reduction": reduction}
        return entropy_back(
            gy, saved, label_smoothing=label_smoothing, **params, forgotten=forgotten
        )

    return backward


def entropy_by_rows(gy, saved, **params):
    p, targets, w, scale = saved
    if params["reduction"] == "mean":
        scale = scale.dtype.type(1 / max(1, (targets != params["ignore_index"]).sum()))
    return right("cross_entropy")(gy, (p, targets, w, scale), **params)


def entropy_smoothing_others(gy, saved, *, label_smoothing, **params):
    C = saved[0].shape[1]
    more = label_smoothing * C / (C - 1) if label_smoothing < 1 < C else label_smoothing
    return right("cross_entropy")(gy, saved, label_smoothing=more, **params)


def softmax_alone(gy, saved, *, dim):
    (y,) = saved
    return (gy * y,)


def softmax_other_axis(gy, saved, *, dim):
    (y,) = saved
    return (y * (gy - (gy * y).sum(axis=(dim + 1) % y.ndim, keepdims=True)),)


def log_softmax_without_exp(gy, saved, *, dim):
    (y,) = saved
    return (gy - y * gy.sum(axis=dim, keepdims=True),)
