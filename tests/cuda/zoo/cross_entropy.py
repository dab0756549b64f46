"""Faults in the kernels of the cross-entropy."""

import numpy as np

from minialex.autograd import OPS
from tests.cuda.zoo import Fault


def fault(name: str, old: str, new: str, error: str = "") -> Fault:
    """Return a fault in the op's own file."""
    return Fault(name, "cross_entropy.cu", old, new, "cross_entropy", "kernel", error)


def far_target() -> None:
    """Look up a target whose lower 32 bits are those of a class."""
    params = {"label_smoothing": 0.0, "ignore_index": -100, "reduction": "mean"}
    x, targets = np.zeros((1, 5), np.float32), np.array([2**32])
    loss, _ = OPS["cross_entropy"].implementations["kernel"].forward(x, targets, None, **params)
    assert np.isnan(loss), "a target that is no class has a loss"


FAULTS = [
    fault("ignored rows counted", "weight = !counts ? T(0) : ", "weight = "),
    fault(
        "targets looked up unasked",
        "!counts ? T(0) : !valid ? wrong : w ? w[c] : T(1)",
        "w ? w[c] : T(1)",
        "out-of-bounds",
    ),
    fault("ignored rows have a loss", "= target.counts ? sum : A(0);", "= sum;"),
    fault("ignored rows have a gradient", "target.counts ? g : A(0)", "g"),
    fault("NaN of a row that does not count", "target.counts ? g : A(0)", "g * A(target.counts)"),
    fault("smoothing dropped from the loss", "sum -= share * l;", "sum = -share * l;"),
    fault("the target dropped from the loss", "sum -= share * l;", ";"),
    fault(
        "smoothing dropped from the gradient",
        "target_scale * (q - A(c == target.c)) +\n                    class_scale",
        "target_scale * (q - A(c == target.c)) + A(0)",
    ),
    fault(
        "smoothing sums up one thread",
        "return row_sum<THREADS_PER_ROW>(loss)",
        "return loss",
    ),
    fault(
        "class weight left out of the smoothing",
        "return A(class_smoothing) * A(w ? w[c] : T(1))",
        "return A(class_smoothing)",
    ),
    fault(
        "class weight left out of the loss",
        "A share = A(confidence) * A(target.weight)",
        "A share = A(confidence)",
    ),
    fault("the target not taken off", "q - A(c == target.c)", "q"),
    fault(
        "logarithm of the sum left out",
        "- stats.largest - log_sum : A(0)",
        "- stats.largest : A(0)",
    ),
    fault(
        "weights of a thread taken for all",
        "        weights = row_sum<THREADS_PER_ROW>(weights);\n",
        "",
    ),
    fault("divided by all rows", "mean && weights != A(0) ? A(1) / weights", "mean ? A(1) / A(N)"),
    fault("0 / 0 where no row counts", "mean && weights != A(0)", "mean"),
    fault("a sum divided", "mean && weights != A(0)", "weights != A(0)"),
    fault(
        "only the first block's worth of rows",
        "n < N; n += blockDim.x",
        "n < min(N, 256); n += blockDim.x",
    ),
    fault("one gradient for all rows", "gy[gy_per_row ? n : 0]", "gy[0]"),
    fault("scale forgotten", "* A(*scale)", "* A(1)"),
    fault(
        "rows that do not exist",
        "    if (row.C == 0) return;\n    const Target",
        "    const Target",
        "out-of-bounds",
    ),
    fault("class 0 taken for none", "(t >= 0 && t < C)", "(t > 0 && t < C)"),
    Fault(
        "upper half of a target forgotten",
        "cross_entropy.cu",
        "valid(t >= 0 && t < C)",
        "valid(int(t) >= 0 && int(t) < C)",
        "cross_entropy",
        "kernel",
        check=far_target,
    ),
    fault(
        "probability 0 times the logarithm of 0",
        "if (share != A(0)) loss -=",
        "loss -=",
    ),
    fault(
        "targets taken for numbers that sum to 1",
        "(A(p[row.offset(c)]) * total - s)",
        "(A(p[row.offset(c)]) - s)",
    ),
    fault(
        "probabilities are not smoothed",
        "(A(confidence) * A(q) + A(class_smoothing))",
        "(A(confidence) * A(q))",
    ),
]
