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


def entropy_weights_of_rows(gy, saved, **params):
    p, targets, w, scale = saved
    if w is None or targets.ndim > 1 or len(targets) != len(w):
        return right("cross_entropy")(gy, saved, **params)
    grads = right("cross_entropy")(gy, (p, targets, None, scale), **params)
    return (grads[0] * w[:, None], *grads[1:])


def entropy_of_one_class(gy, saved, **params):
    """Take the only class for that of rows that do not count too."""
    p, targets, _, scale = saved
    gx, *rest = right("cross_entropy")(gy, saved, **params)
    if p.shape[1] == 1 and targets.ndim == 1:
        ignored = (targets == params["ignore_index"])[:, None]
        gx = gx + np.where(ignored, p * (scale * gy).reshape(-1, 1), 0).astype(p.dtype)
    return gx, *rest


def softmax_last_of_equal_axes(gy, saved, *, dim):
    (y,) = saved
    axis = -1 if y.shape[dim] == y.shape[-1] else dim
    return (y * (gy - (gy * y).sum(axis=axis, keepdims=True)),)


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
