"""Faults in the kernels of adaptive average pooling."""

from tests.cuda.bfloat16_runs import kernels_of_bfloat16
from tests.cuda.zoo import Fault

FAULTS = [
    Fault(
        "cells do not overlap",
        "adaptive_avg_pool2d.cu",
        "((i + 1) * size + count - 1) / count",
        "(i + 1) * size / count",
        "adaptive_avg_pool2d",
        "kernel",
    ),
    Fault(
        "height taken for width",
        "adaptive_avg_pool2d.cu",
        "x[(output.a * H + h) * W + w]",
        "x[(output.a * H + h) * H + w]",
        "adaptive_avg_pool2d",
        "kernel",
    ),
    Fault(
        "cells of a pixel counted for pixels of a cell",
        "adaptive_avg_pool2d.cu",
        "cell_range(i, H, OH).size() * cell_range(j, W, OW).size()",
        "row_cells.size() * column_cells.size()",
        "adaptive_avg_pool2d",
        "kernel",
    ),
    Fault(
        "only the first cell of a row",
        "adaptive_avg_pool2d.cu",
        "j < column_cells.end;",
        "j <= column_cells.first;",
        "adaptive_avg_pool2d",
        "kernel",
    ),
    Fault(
        "a sum of bfloat16 numbers rounded before it is divided",
        "adaptive_avg_pool2d.cu",
        "y[index] = T(sum / A(",
        "y[index] = T(A(T(sum)) / A(",
        "adaptive_avg_pool2d",
        "kernel",
        check=kernels_of_bfloat16("adaptive_avg_pool2d"),
    ),
    Fault(
        "gradients of bfloat16 numbers rounded at each cell",
        "adaptive_avg_pool2d.cu",
        "sum += A(gy[(pixel.a * OH + i) * OW + j]) / A(count);",
        "sum = A(T(sum + A(gy[(pixel.a * OH + i) * OW + j]) / A(count)));",
        "adaptive_avg_pool2d",
        "kernel",
        check=kernels_of_bfloat16("adaptive_avg_pool2d"),
    ),
]
