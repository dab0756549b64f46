"""Faults of the optimizers' kernels."""

from tests.cuda.bfloat16_runs import shadow_is_current
from tests.cuda.zoo import Fault
from tests.cuda.zoo import routine_fault as fault

FAULTS = [
    fault(
        "rmsprop",
        "eps inside the root",
        "(sqrt(variance < T(0) ? T(0) : variance) + eps)",
        "sqrt((variance < T(0) ? T(0) : variance) + eps)",
    ),
    fault(
        "rmsprop",
        "square average after",
        ": vs[k];",
        ": (vs[k] - one_minus_alpha * grad * grad) / alpha;",
    ),
    fault(
        "rmsprop",
        "momentum forgotten where centered",
        "b ? momentum * bs[k] + step : step",
        "b && !m ? momentum * bs[k] + step : step",
    ),
    fault(
        "rmsprop",
        "decay forgotten in the square",
        "one_minus_alpha * grad * grad",
        "one_minus_alpha * gs[k] * gs[k]",
    ),
    fault("rmsprop", "root of less than 0", "variance < T(0) ? T(0) : variance", "variance"),
    fault("rmsprop", "mean never stored", "slice.store(ms, m), ", ""),
    fault(
        "rmsprop",
        "state that is not there",
        "pack[k] = a && k < count ?",
        "pack[k] = k < count ?",
        file="slices.cuh",
        error="out-of-bounds",
    ),
    fault(
        "sgd",
        "momentum times the gradient",
        "momentum * bs[k] + grad",
        "bs[k] + momentum * grad",
    ),
    fault("sgd", "uphill", "ps[k] -= rate", "ps[k] += rate"),
    fault("sgd", "tail skipped", "if (slice.count <= 0 ||", "if (!slice.is_vector ||"),
    fault(
        "sgd",
        "beyond the end",
        "if (k < count) a[first + k] = T(pack[k]);",
        "a[first + k] = T(pack[k]);",
        file="slices.cuh",
        error="out-of-bounds",
    ),
    fault(
        "sgd",
        "vectors that do not begin where vectors do",
        "is_vector(vector_aligned && count == SIZE)",
        "is_vector(count == SIZE)",
        file="slices.cuh",
        error="misaligned",
    ),
    fault(
        "adam",
        "eps inside the root",
        "(sqrt(vs[k]) / root + eps)",
        "(sqrt(vs[k] + eps) / root)",
    ),
    fault("adam", "mean of squares not corrected", "sqrt(vs[k]) / root", "sqrt(vs[k])"),
    fault(
        "adam",
        "averages mixed up",
        "beta2 * vs[k] + one_minus_beta2",
        "beta1 * vs[k] + one_minus_beta1",
    ),
    Fault(
        "a shadow of other parameters",
        "arena.cuh",
        "(numbers, shadow + slice.first)",
        "(numbers, shadow + (slice.first ? slice.first - VECTOR_WIDTH<T> : 0))",
        "rmsprop",
        "kernel",
        "race",
        check=shadow_is_current,
    ),
    Fault(
        "a shadow of the gradients",
        "rmsprop.cu",
        "store_shadow(slice, ps, shadow);",
        "store_shadow(slice, gs, shadow);",
        "rmsprop",
        "kernel",
        check=shadow_is_current,
    ),
    Fault(
        "a shadow without its last numbers",
        "arena.cuh",
        "if (k < slice.count) shadow",
        "if (k < slice.count - 1) shadow",
        "rmsprop",
        "kernel",
        check=shadow_is_current,
    ),
]
