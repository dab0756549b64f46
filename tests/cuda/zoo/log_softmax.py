"""Faults in the kernels of log_softmax."""

from tests.cuda.zoo import Fault

FAULTS = [
    Fault(
        "logarithm of a softmax that has come out as 0",
        "log_softmax.cu",
        "y[row.at(c)] = A(x[row.at(c)]) - all.largest - log_sum;",
        "y[row.at(c)] = log(exp(A(x[row.at(c)]) - all.largest) / all.sum);",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "maximum not taken off",
        "log_softmax.cu",
        "- all.largest - log_sum",
        "- log_sum",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "exponential of the gradient",
        "log_softmax.cu",
        "A(gy[row.at(c)]) - exp(A(y[row.at(c)])) * sum",
        "A(gy[row.at(c)]) - exp(A(gy[row.at(c)])) * sum",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "sign of the sum",
        "log_softmax.cu",
        "A(gy[row.at(c)]) - exp(",
        "A(gy[row.at(c)]) + exp(",
        "log_softmax",
        "kernel",
    ),
    Fault(
        "half a warp sums up",
        "common.cuh",
        "for (int step = WARP / 2; step > 0; step /= 2)\n        value +=",
        "for (int step = WARP / 4; step > 0; step /= 2)\n        value +=",
        "log_softmax",
        "kernel",
    ),
]
