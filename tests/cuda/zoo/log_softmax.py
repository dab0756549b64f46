"""Faults in the kernels of log_softmax."""

from tests.cuda.zoo import Fault

FAULTS = [
    Fault(
        "logarithm of a softmax that has come out as 0",
        "log_softmax.cu",
        "y[row.offset(c)] = A(x[row.offset(c)]) - stats.largest - log_sum;",
        "y[row.offset(c)] = log(exp(A(x[row.offset(c)]) - stats.largest) / stats.sum);",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "maximum not taken off",
        "log_softmax.cu",
        "- stats.largest - log_sum",
        "- log_sum",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "exponential of the gradient",
        "log_softmax.cu",
        "A(gy[row.offset(c)]) - exp(A(y[row.offset(c)])) * sum",
        "A(gy[row.offset(c)]) - exp(A(gy[row.offset(c)])) * sum",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "sign of the sum",
        "log_softmax.cu",
        "A(gy[row.offset(c)]) - exp(",
        "A(gy[row.offset(c)]) + exp(",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "half a warp sums up",
        "common.cuh",
        "for (int step = WARP_SIZE / 2; step > 0; step /= 2)\n        value +=",
        "for (int step = WARP_SIZE / 4; step > 0; step /= 2)\n        value +=",
        "log_softmax",
        "kernel",
    ),
]
