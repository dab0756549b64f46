"""Faults in the kernels of the fully connected layer."""

from unittest import mock

import numpy as np

from minialex.autograd import OPS
from minialex.check import suite
from minialex.check.cases import layers
from minialex.check.verdict import Verdict
from minialex.ops._cuda import tiling
from tests.cuda.linear_runs import parts_of_another_launch, parts_of_the_last_block
from tests.cuda.zoo import Fault


def long_sums(rung="tf32x3"):
    """Check sums of 2048 terms that are not cut into parts, as those of a large layer are not."""
    case = layers.linear("long sums", (32, 2048), 40)
    pair = suite.Pair(OPS["linear"], rung, rung, np.dtype("float32"))
    with mock.patch.object(tiling, "SPLIT_K", (1,)):
        tiling.plan_tiles.cache_clear()
        row = suite.check(pair, case)
    tiling.plan_tiles.cache_clear()
    assert row.verdict is Verdict.PASS, str(row)


FAULTS = [
    Fault(
        "parts of the bias overlap",
        "linear.cuh",
        "for (int r = part * rows; r < end; ++r)",
        "for (int r = part; r < end; ++r)",
        "linear",
        "naive",
    ),
    Fault(
        "weights transposed",
        "linear.cu",
        "sum += x[r * I + i] * w[o * I + i];",
        "sum += x[r * I + i] * w[i * O + o];",
        "linear",
        "naive",
    ),
    Fault(
        "assigned instead of added",
        "linear.cu",
        "sum += gy[r * O + o] * x[r * I + i];",
        "sum = gy[r * O + o] * x[r * I + i];",
        "linear",
        "naive",
    ),
    Fault(
        "wrong stride",
        "linear.cu",
        "sum += gy[r * O + o] * w[o * I + i];",
        "sum += gy[r * I + o] * w[o * I + i];",
        "linear",
        "naive",
    ),
    Fault(
        "a constant of a millionth added to the bias",
        "linear.cu",
        "typename Accumulator<T>::type sum = b ? b[o] : T(0);",
        "typename Accumulator<T>::type sum = b ? b[o] + T(1e-6) : T(0);",
        "linear",
        "naive",
        dtype="float64",
    ),
    Fault(
        "rows beyond the last part",
        "linear.cuh",
        "end = min(R, (part + 1) * rows);",
        "end = (part + 1) * rows;",
        "linear",
        "naive",
        error="out-of-bounds",
    ),
    Fault(
        "bias forgotten",
        "linear.cu",
        "if (r < R && o < O) y[r * O + o] = b ? sum + b[o] : sum;",
        "if (r < R && o < O) y[r * O + o] = sum;",
        "linear",
        "tiled",
    ),
    Fault(
        "columns of one tile only",
        "linear.cu",
        "column + line < I && o < O ? w[o * I + column + line]",
        "column + line < I && o < O ? w[o * I + line]",
        "linear",
        "tiled",
    ),
    Fault(
        "edge of a tile not guarded",
        "linear.cu",
        "if (o < O && i < I) gw[o * I + i]",
        "if (o < O) gw[o * I + i]",
        "linear",
        "tiled",
        error="out-of-bounds",
    ),
    Fault(
        "parts written over each other",
        "linear.cuh",
        "workspace.result(out, size_t(M) * N)",
        "out",
        "linear",
        "register_blocked",
        error="race",
        check=parts_of_another_launch,
    ),
    Fault(
        "block edge: one column too many",
        "panel_product.cuh",
        "if (row < rows && column < columns) p[",
        "if (row < rows && column <= columns) p[",
        "linear",
        "register_blocked",
        error="out-of-bounds",
    ),
    Fault(
        "block edge: one vector too many",
        "panel_product.cuh",
        "if (row < rows && column < columns) write_numbers",
        "if (row < rows && column <= columns) write_numbers",
        "linear",
        "register_blocked",
        error="out-of-bounds",
    ),
    Fault(
        "last k of a part skipped",
        "linear.cuh",
        "last = min(K, first + depth)",
        "last = min(K, first + depth) - 1",
        "linear",
        "register_blocked",
    ),
    Fault(
        "matrix taken to lie the other way",
        "linear.cuh",
        "B, 0, B_ALONG_K ? K : N,",
        "B, 0, B_ALONG_K ? N : K,",
        "linear",
        "tf32x3",
        error="misaligned",
    ),
    Fault(
        "sums kept in the tensor core",
        "tensor_core_product.cuh",
        "    float step[4] = {};\n    mma_products(step, a, b);\n#pragma unroll\n"
        "    for (int i = 0; i < 4; ++i) sum[i] += step[i];\n",
        "    mma_products(sum, a, b);\n",
        "linear",
        "tf32x3",
        mode="fast",
        check=long_sums,
    ),
    Fault(
        "TF32 cut to bfloat16",
        "tensor_core_product.cuh",
        "big[i] = to_tf32(x);",
        "big[i] = to_tf32(x) & 0xffff0000u;",
        "linear",
        "tf32",
    ),
    Fault(
        "sizes swapped",
        "linear_tensor_core.cu",
        "ROWS, 3>, T, ROWS>(\n        gy, x, gw, R, O, I, vector_aligned, depth",
        "ROWS, 3>, T, ROWS>(\n        gy, x, gw, R, I, O, vector_aligned, depth",
        "linear",
        "tf32x3",
        error="out-of-bounds",
    ),
    Fault(
        "last part skipped",
        "sum_partials.cu",
        "for (int s = 0; s < S; ++s)",
        "for (int s = 0; s < S - 1; ++s)",
        "linear",
        "register_blocked",
        check=parts_of_another_launch,
    ),
    Fault(
        "added to what is there",
        "sum_partials.cu",
        "add ? T(out[i]) : T(0)",
        "T(out[i])",
        "linear",
        "register_blocked",
        check=parts_of_another_launch,
    ),
    Fault(
        "bias of another channel",
        "sum_partials.cu",
        "sum + b[i / inner % channels]",
        "sum + b[i / channels]",
        "linear",
        "register_blocked",
        check=parts_of_another_launch,
    ),
    Fault(
        "bias added to every part",
        "panel_product.cuh",
        "epilogue.b && blockIdx.y == 0",
        "epilogue.b",
        "linear",
        "register_blocked",
        check=parts_of_the_last_block,
    ),
    Fault(
        "blocks of columns count in one counter",
        "linear.cuh",
        "last_to_arrive(arrived + columns, count)",
        "last_to_arrive(arrived, count)",
        "linear",
        "register_blocked",
        check=parts_of_the_last_block,
        error="race",
    ),
]
