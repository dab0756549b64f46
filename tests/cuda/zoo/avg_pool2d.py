"""Faults in the kernels of average pooling."""

from tests.cuda.zoo import Fault

FAULTS = [
    Fault(
        "padding counts, asked or not",
        "avg_pool2d.cu",
        "if (include_pad) return",
        "return",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "what lies beyond the padding counts",
        "windows.cuh",
        "return min(kernel, size + padding - start(i));",
        "return kernel;",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "rows of another width",
        "avg_pool2d.cu",
        "++kh, row += s.W)",
        "++kh, row += s.KW)",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "only the last of a window",
        "avg_pool2d.cu",
        "sum += row[left + kw];",
        "sum = row[left + kw];",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "the count of another window",
        "avg_pool2d.cu",
        "return gy[output] / T(divisor(s, i, j, include_pad));",
        "return gy[output] / T(divisor(s, j, i, include_pad));",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "a window ends too late on the way down",
        "windows.cuh",
        "windows.first * stride + kernel <= padded",
        "windows.first * stride + kernel < padded",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "a window that has ended",
        "windows.cuh",
        "(padded - kernel) / stride + 1",
        "(padded - kernel) / stride",
        "avg_pool2d",
        "kernel",
    ),
]
