"""Faults in the kernels of the rectified linear unit."""

from tests.cuda.zoo import Fault

FAULTS = [
    Fault(
        "last element skipped",
        "relu.cu",
        "if (i < n) y[i] =",
        "if (i < n - 1) y[i] =",
        "relu",
        "kernel",
    ),
    Fault(
        "one element too many",
        "relu.cu",
        "if (i < n) gx[i] =",
        "if (i <= n) gx[i] =",
        "relu",
        "kernel",
        error="out-of-bounds",
    ),
    Fault(
        "every thread writes the first of its block",
        "relu.cu",
        "if (i < n) y[i] = x[i]",
        "if (i < n) y[blockIdx.x] = x[i]",
        "relu",
        "kernel",
        error="race",
    ),
    Fault(
        "mask y >= 0",
        "relu.cu",
        "y[i] > T(0) ? gy[i]",
        "y[i] >= T(0) ? gy[i]",
        "relu",
        "kernel",
    ),
    Fault(
        "NaN where it is off",
        "relu.cu",
        "? gy[i] : T(0)",
        "? gy[i] : T(0) * infinity<T>()",
        "relu",
        "kernel",
    ),
    Fault(
        "a constant of a millionth added",
        "relu.cu",
        "? gy[i] : T(0)",
        "? gy[i] + T(1e-6) : T(0)",
        "relu",
        "kernel",
        dtype="float64",
    ),
    Fault(
        "off by a millionth",
        "relu.cu",
        "T(0) : x[i];",
        "T(0) : x[i] * T(1.000001);",
        "relu",
        "kernel",
        dtype="float64",
    ),
    Fault(
        "NaN hidden",
        "relu.cu",
        "x[i] < T(0) ? T(0) : x[i];",
        "x[i] > T(0) ? x[i] : T(0);",
        "relu",
        "kernel",
    ),
]
