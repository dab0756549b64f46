"""Faults of the optimizers' kernels."""

from tests.cuda.zoo import routine_fault as fault

FAULTS = [
    fault(
        "rmsprop",
        "eps inside the root",
        "(sqrt(square < T(0) ? T(0) : square) + eps)",
        "sqrt((square < T(0) ? T(0) : square) + eps)",
    ),
    fault(
        "rmsprop",
        "square average after",
        ": vs.at[k];",
        ": (vs.at[k] - fresh * slope * slope) / alpha;",
    ),
    fault(
        "rmsprop",
        "momentum forgotten where centered",
        "b ? momentum * bs.at[k] + step : step",
        "b && !m ? momentum * bs.at[k] + step : step",
    ),
    fault(
        "rmsprop",
        "decay forgotten in the square",
        "fresh * slope * slope",
        "fresh * gs.at[k] * gs.at[k]",
    ),
    fault("rmsprop", "root of less than 0", "square < T(0) ? T(0) : square", "square"),
    fault("rmsprop", "mean never stored", "owned.store(ms, m), ", ""),
    fault(
        "rmsprop",
        "state that is not there",
        "few.at[k] = a && k < count ?",
        "few.at[k] = k < count ?",
        file="arena.cuh",
        error="out-of-bounds",
    ),
    fault(
        "sgd",
        "momentum times the gradient",
        "momentum * bs.at[k] + slope",
        "bs.at[k] + momentum * slope",
    ),
    fault("sgd", "uphill", "ps.at[k] -= rate", "ps.at[k] += rate"),
    fault("sgd", "tail skipped", "if (owned.count <= 0 ||", "if (!owned.whole ||"),
    fault(
        "sgd",
        "beyond the end",
        "if (k < count) a[first + k] = few.at[k];",
        "a[first + k] = few.at[k];",
        file="arena.cuh",
        error="out-of-bounds",
    ),
    fault(
        "sgd",
        "vectors that do not begin where vectors do",
        "whole(vectors && count == WIDTH<T>)",
        "whole(count == WIDTH<T>)",
        file="arena.cuh",
        error="misaligned",
    ),
    fault(
        "adam",
        "eps inside the root",
        "(sqrt(vs.at[k]) / scale + eps)",
        "(sqrt(vs.at[k] + eps) / scale)",
    ),
    fault("adam", "mean of squares not corrected", "sqrt(vs.at[k]) / scale", "sqrt(vs.at[k])"),
    fault("adam", "averages mixed up", "b2 * vs.at[k] + c2", "b1 * vs.at[k] + c1"),
]
