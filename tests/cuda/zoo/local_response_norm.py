"""Faults in the kernels of local response normalisation."""

from tests.cuda.bfloat16_runs import kernels_of_bfloat16
from tests.cuda.zoo import Fault


def _fault(name: str, old: str, new: str, error: str = "") -> Fault:
    op = "local_response_norm"
    return Fault(name, f"{op}.cu", old, new, op, "kernel", error)


FAULTS = [
    Fault(
        "near 3/4 taken for 3/4",
        "local_response_norm.cu",
        "if (beta != T(0.75))",
        "if (fabs(beta - T(0.75)) > T(0.01))",
        "local_response_norm",
        "kernel",
    ),
    _fault("window too narrow below", "max(low, c - half)", "max(low, c - half + 1)"),
    _fault("window too narrow above", "min(high, c + half + 1)", "min(high, c + half)"),
    _fault("nothing from the tile before", "max(0, own.first - half)", "own.first"),
    _fault(
        "nothing from the tile after",
        "min(C, own.first + CHANNELS_PER_BLOCK + half)",
        "min(C, own.first + CHANNELS_PER_BLOCK)",
    ),
    _fault("only one pass", "low < end; low += SMEM_ROWS", "low < end; low += C"),
    _fault("passes overlap", "low < end; low += SMEM_ROWS", "low < end; low += CHANNELS_PER_BLOCK"),
    _fault(
        "sum over pixels",
        "return base + c * stride;",
        "return base / stride * stride + (base + c) % stride;",
        "race",
    ),
    # all images write the first, alike
    _fault("image forgotten", "base = n * C * P + (pixel - n * P);", "base = pixel - n * P;"),
    _fault("beyond the last pixel", "inside = pixel < N * P;", "inside = true;", "out-of-bounds"),
    _fault("one root missing", "return root * sqrt(root);", "return root;"),
    _fault("k forgotten", "s[at] = k + alpha", "s[at] = alpha"),
    _fault("factor 2 forgotten", "= A(2) * alpha", "= alpha"),
    _fault("exponent not one lower", "* A(x[at]) / s[at];", "* A(x[at]);"),
    _fault(
        "no barrier before the sums",
        "those of others.\n        __syncthreads();",
        "those of others.",
        "race",
    ),
    _fault(
        "no barrier between passes",
        "pass overwrites them.\n        __syncthreads();",
        "pass overwrites them.",
        "race",
    ),
    Fault(
        "s rounded to bfloat16",
        "local_response_norm.cu",
        "s[at] = k + alpha * sums[i];",
        "s[at] = A(T(k + alpha * sums[i]));",
        "local_response_norm",
        "kernel",
        check=kernels_of_bfloat16("local_response_norm"),
    ),
    Fault(
        "squares rounded to bfloat16",
        "local_response_norm.cu",
        "{ return A(x[at]) * A(x[at]); }",
        "{ return A(T(A(x[at]) * A(x[at]))); }",
        "local_response_norm",
        "kernel",
        check=kernels_of_bfloat16("local_response_norm"),
    ),
    Fault(
        "a power rounded to bfloat16 before the difference",
        "local_response_norm.cu",
        "power(s[at], beta), -nearby",
        "A(T(power(s[at], beta))), -nearby",
        "local_response_norm",
        "kernel",
        check=kernels_of_bfloat16("local_response_norm"),
    ),
]
