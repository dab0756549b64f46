"""Faults in the kernels of max-pooling, and in where all windows stand."""

import numpy as np

from minialex.autograd import OPS
from tests.cuda.zoo import Fault


def no_largest_number():
    """Have NaN and minus infinity win exactly where they do in array operations."""
    rng = np.random.default_rng(3)
    x = rng.choice([-np.inf, -np.inf, 1.0, np.nan], (2, 3, 9, 8), p=[0.4, 0.4, 0.1, 0.1])
    params = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 1), "ceil_mode": False}
    there = OPS["max_pool2d"].implementations
    (y, saved), (want, wanted) = (there[n].forward(x, **params) for n in ("kernel", "plain"))
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(saved[0], wanted[0])


FAULTS = [
    Fault(
        "a pixel further on",
        "windows.cuh",
        "return i * stride - padding;",
        "return i * stride - padding + 1;",
        "max_pool2d",
        "kernel",
        error="out-of-bounds",
    ),
    Fault(
        "windows begin in the padding",
        "windows.cuh",
        "return {max(0, -start(i)), ",
        "return {0, ",
        "max_pool2d",
        "kernel",
        error="out-of-bounds",
    ),
    Fault(
        "strides exchanged",
        "windows.cuh",
        "{W, KW, OW, sw, pw}",
        "{W, KW, OW, sh, pw}",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "last window left out",
        "windows.cuh",
        "min(count, padded / stride + 1)",
        "min(count, padded / stride)",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "a window begins too late on the way down",
        "windows.cuh",
        "windows.end * stride <= padded",
        "windows.end * stride < padded",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "every walk begins with the first windows",
        "windows.cuh",
        "Range row_windows = vertical.windows_over(begin);",
        "Range row_windows = vertical.windows_over(0);",
        "avg_pool2d",
        "kernel",
    ),
    Fault(
        "the last of equals wins",
        "max_pool2d.cu",
        "value > best ||",
        "value >= best ||",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "NaN loses",
        "max_pool2d.cu",
        "if (value > best || value != value)",
        "if (value > best)",
        "max_pool2d",
        "kernel",
        check=no_largest_number,
    ),
    Fault(
        "padding wins over minus infinity",
        "max_pool2d.cu",
        "int best_index = rows.first * s.KW + columns.first;",
        "int best_index = 0;",
        "max_pool2d",
        "kernel",
        check=no_largest_number,
    ),
    Fault(
        "kh and kw exchanged in argmax",
        "max_pool2d.cu",
        "best_index = kh * s.KW + kw;",
        "best_index = kw * s.KH + kh;",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "height taken for width in the gather",
        "max_pool2d.cu",
        "tap == kh * s.KW",
        "tap == kh * s.KH",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "argmax kept in a byte",
        "max_pool2d.cu",
        "Index(best_index)",
        "(unsigned char)(best_index)",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "NaN overlooked",
        "max_pool2d.cu",
        "value > best || value != value",
        "value > best",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "padding wins where all else is -inf",
        "max_pool2d.cu",
        "int best_index = rows.first * s.KW + columns.first;",
        "int best_index = 0;",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "the window from above is left out",
        "max_pool2d.cu",
        "int first = WINDOW ? top / 2 - 1",
        "int first = WINDOW ? top / 2",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "the last window that begins in a strip is left out",
        "max_pool2d.cu",
        "ROWS / 2 + 1 :",
        "ROWS / 2 :",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "windows that do not exist are read",
        "max_pool2d.cu",
        "if (unsigned(i) >= unsigned(s.OH) || j >= columns.end) continue;",
        "",
        "max_pool2d",
        "kernel",
        error="out-of-bounds",
    ),
    Fault(
        "taps of other columns taken for the pixel's",
        "max_pool2d.cu",
        "argmax[output] - (w - horizontal.start(j))",
        "argmax[output]",
        "max_pool2d",
        "kernel",
    ),
    Fault(
        "strips of outputs run past the last row",
        "max_pool2d.cu",
        "r < ROWS && top + r < s.OH;",
        "r < ROWS;",
        "max_pool2d",
        "kernel",
        error="race",
    ),
    Fault(
        "strips of pixels run past the last row",
        "max_pool2d.cu",
        "r < ROWS && top + r < s.H;",
        "r < ROWS;",
        "max_pool2d",
        "kernel",
        error="out-of-bounds",
    ),
    Fault(
        "padding overlooked where there is none known",
        "max_pool2d.cu",
        "return WINDOW ? Range{0, WINDOW} :",
        "return true ? Range{0, axis.kernel} :",
        "max_pool2d",
        "kernel",
        error="out-of-bounds",
    ),
]
