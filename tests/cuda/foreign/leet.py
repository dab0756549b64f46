"""Kernels behind bindings of PyTorch: elementwise ones, reductions, rotations, transposes."""

from __future__ import annotations

import math

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import Launcher, table

CASES: list[Case] = []
case = table("leet", CASES)
RACE, BOUNDS, UNSET, WARP, ALIGNED = "race", "out-of-bounds", "uninitialised", "warp", "misaligned"
F16, F32, I32 = np.float16, np.float32, np.int32


# ---- elementwise.cu ------------------------------------------------------------------------------

FILE = "elementwise.cu"


def addition(grid, size, dtype=F32) -> Launcher:
    def launch(rng):
        a, b = normal(rng, size, dtype=dtype), normal(rng, size, dtype=dtype)
        return Launch(grid, 32, (a, b, unset(size, dtype=dtype), size), {2: a + b})

    return launch


def unary(grid, size, function, n, *more, dtype=F32, tolerance=1e-5, **template) -> Launcher:
    def launch(rng):
        x = normal(rng, size, dtype=dtype)
        expected = function(x.astype(np.float64))
        args = x, unset(size, dtype=dtype), n, *more
        return Launch(grid, 32, args, {1: expected}, tolerance, template=template)

    return launch


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def swish(x):
    return x * sigmoid(x)


def elu(x):
    return np.where(x > 0, x, 0.5 * np.expm1(x))


case(
    FILE,
    "elementwise_add_f32_kernel",
    old="if (i >= n)\n    return;\n  c[i]",
    new="c[i]",
    kind=BOUNDS,
)(addition(4, 100))
case(FILE, "elementwise_add_f32x4_kernel", old="if (i + 3 < n) {", new="if (i < n) {", kind=BOUNDS)(
    addition(1, 103)
)
case(
    FILE,
    "elementwise_add_f16x2_kernel",
    old="HALF2(c[i]) = sum",
    new="HALF2(c[i / 2]) = sum",
    kind=ALIGNED,
)(addition(2, 100, F16))
case(FILE, "elementwise_add_f16x8_pack_kernel", old="pack_c[8];", new="pack_c[4];", kind=BOUNDS)(
    addition(1, 104, F16)
)
case(FILE, "relu_f32x4_kernel", old="if (i < quads) {", new="if (i <= quads) {", kind=BOUNDS)(
    unary(1, 100, relu, 25)
)
case(FILE, "relu_f16x2_kernel", old="if (i < pairs) {", new="if (i < 2 * pairs) {", kind=BOUNDS)(
    unary(2, 100, relu, 50, dtype=F16)
)
case(
    FILE,
    "sigmoid_f32_kernel",
    old="const float v = CLAMPED(x[i]);",
    new="const float v = CLAMPED(x[n - i]);",
    kind=BOUNDS,
)(unary(4, 100, sigmoid, 100))
case(
    FILE,
    "gelu_f32_kernel",
    old="float v = CLAMPED(x[i]);\n    y[i] = A",
    new="float v = CLAMPED(x[i - 1]);\n    y[i] = A",
    kind=BOUNDS,
)(unary(4, 100, gelu, 100, APPROXIMATE=False))
case(FILE, "swish_f32x4_kernel", old="FLOAT4(y[i]) = v", new="FLOAT4(y[i / 2]) = v", kind=ALIGNED)(
    unary(1, 100, swish, 100)
)
case(
    FILE,
    "elu_f16_kernel",
    old="i < n; i += blockDim.x * gridDim.x",
    new="i <= n; i += blockDim.x * gridDim.x",
    kind=BOUNDS,
)(unary(2, 100, elu, 100, 0.5, dtype=F16, tolerance=2e-3))


@case(FILE, "embedding_f32x4_kernel", old="&& tx < emb_size", new="&& tx <= emb_size", kind=BOUNDS)
def embedding(rng):
    index, weight = np.array([4, 0, 4, 2], I32), normal(rng, 5, 24)
    return Launch(4, 32, (index, weight, unset(4, 24), 4, 24), {2: weight[index]}, 0)


@case(FILE, "histogram_i32x4_kernel", old="atomicAdd(&(y[v.z]), 1)", new="y[v.z] += 1", kind=RACE)
def histogram(rng):
    x = rng.integers(0, 7, 200).astype(I32)
    return Launch(2, 32, (x, np.zeros(7, I32), 200), {1: np.bincount(x, minlength=7)}, 0)


# ---- reductions.cu -------------------------------------------------------------------------------

FILE = "reductions.cu"


@case(
    FILE,
    "block_all_reduce_sum_f32_f32_kernel",
    old="sum = lane < WARPS ? of_warps[lane]",
    new="sum = lane <= WARPS ? of_warps[lane]",
    kind=BOUNDS,
)
def sum_f32(rng):
    x = normal(rng, 200)
    args = x, np.zeros(1, F32), 200
    return Launch(2, 128, args, {1: [x.sum()]}, 1e-4, template={"THREADS": 128})


@case(
    FILE,
    "block_all_reduce_sum_f16x8_pack_f32_kernel",
    old="half pack[8];",
    new="half pack[6];",
    kind=BOUNDS,
)
def sum_f16(rng):
    x = normal(rng, 800, dtype=F16)
    args = x, np.zeros(1, F32), 800
    expected = [x.astype(F32).sum()]
    return Launch(2, 64, args, {1: expected}, 1e-3, template={"THREADS": 64})


@case(
    FILE,
    "block_all_reduce_sum_i8_i32_kernel",
    old="w < THREADS / WARP_SIZE; ++w",
    new="w <= THREADS / WARP_SIZE; ++w",
    kind=BOUNDS,
)
def sum_i8(rng):
    x = rng.integers(-128, 128, 200).astype(np.int8)
    args = x, np.zeros(1, I32), 200
    return Launch(2, 128, args, {1: [x.sum(dtype=I32)]}, 0, template={"THREADS": 128})


@case(
    FILE,
    "dot_prod_f32x4_f32_kernel",
    old="if (threadIdx.x == 0)\n    atomicAdd(y, prod)",
    new="if (threadIdx.x == 0)\n    *y += prod",
    kind=RACE,
)
def dot_product(rng):
    a, b = normal(rng, 300), normal(rng, 300)
    args = a, b, np.zeros(1, F32), 300
    return Launch(2, 64, args, {2: [a @ b]}, 1e-4, template={"THREADS": 64})


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@case(
    FILE,
    "softmax_of_tokens_kernel",
    old="float e = (at < n) ? expf(x[at] - top) : 0.0f;",
    new="float e = expf(x[at + 1] - top);",
    kind=BOUNDS,
)
def softmax_of_tokens(rng):
    x = 3 * normal(rng, 3, 128)
    return Launch(3, 128, (x, unset(3, 128), 384), {1: softmax(x)}, template={"THREADS": 128})


@case(
    FILE,
    "online_softmax_kernel",
    old="      of_warps[0] = block_res;\n  }\n  __syncthreads();",
    new="      of_warps[0] = block_res;\n  }",
    kind=RACE,
)
def online_softmax(rng):
    x = 3 * normal(rng, 3, 64)
    return Launch(3, 64, (x, unset(3, 64), 192), {1: softmax(x)}, template={"THREADS": 64})


@case(
    FILE,
    "rms_norm_f32x4_kernel",
    old="if (threadIdx.x == 0)\n    s_scale",
    new="if (threadIdx.x == 64)\n    s_scale",
    kind=UNSET,
)
def rms_norm(rng):
    x = normal(rng, 3, 256)
    expected = 1.5 * x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5)
    args = x, unset(3, 256), 1.5, 3, 256
    return Launch(3, 64, args, {1: expected}, template={"THREADS": 64})


@case(
    FILE,
    "layer_norm_f16_f32_kernel",
    old="__syncthreads();  // the sums of warps are used again",
    new="// used again",
    kind=RACE,
)
def layer_norm(rng):
    x = normal(rng, 3, 64, dtype=F16)
    numbers = x.astype(np.float64)
    centred = numbers - numbers.mean(1, keepdims=True)
    expected = 1.5 * centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) + 0.25
    args = x, unset(3, 64, dtype=F16), 1.5, 0.25, 3, 64
    return Launch(3, 64, args, {1: expected}, 5e-3, template={"THREADS": 64})


# ---- rope_and_transpose.cu -----------------------------------------------------------------------

FILE = "rope_and_transpose.cu"


def rope(grid, block) -> Launcher:
    def launch(rng):
        tokens, pairs = 5, 6
        x = normal(rng, tokens, 2 * pairs)
        angle = np.arange(tokens)[:, None] * 10000.0 ** (-np.arange(pairs) / pairs)
        turned = (x[:, ::2] + 1j * x[:, 1::2]) * np.exp(1j * angle)
        expected = np.stack([turned.real, turned.imag], 2)
        return Launch(grid, block, (x, unset(tokens, 2 * pairs), tokens, pairs), {1: expected})

    return launch


def transpose(grid, block, rows, columns) -> Launcher:
    def launch(rng):
        x = normal(rng, rows, columns)
        return Launch(grid, block, (x, unset(columns, rows), rows, columns), {1: x.T}, 0)

    return launch


case(FILE, "rope_f32_kernel", old="b = x[2 * i + 1];", new="b = x[2 * i + 2];", kind=BOUNDS)(
    rope(1, 32)
)
case(
    FILE,
    "rope_f32x4_pack_kernel",
    old="v = FLOAT4(x[blockIdx.x * 2 * N + quad * 4]), turned",
    new="v = FLOAT4(x[blockIdx.x * 2 * N + quad * 3]), turned",
    kind=ALIGNED,
)(rope(5, 8))
case(
    FILE,
    "mat_transpose_f32_col2row_kernel",
    old="y[c * row + r] = x[i];",
    new="y[c * col + r] = x[i];",
    kind=BOUNDS,
)(transpose(3, 32, 7, 12))
case(
    FILE,
    "mat_transpose_f32x4_col2row_kernel",
    old="if (r < row && c + 3 < col) {",
    new="if (r <= row && c + 3 < col) {",
    kind=BOUNDS,
)(transpose(1, 32, 7, 12))
case(
    FILE,
    "mat_transpose_f32_shared_bcf_kernel",
    old="  __syncthreads();\n  c = blockIdx.y",
    new="  c = blockIdx.y",
    kind=RACE,
)(transpose((2, 2), (16, 16), 19, 22))
case(
    FILE,
    "mat_transpose_f32x4_shared_kernel",
    old="[WARP_SIZE_S + 4]",
    new="[WARP_SIZE_S + 1]",
    kind=ALIGNED,
)(transpose((1, 2), (16, 16), 32, 64))
case(
    FILE,
    "mat_transpose_f32_diagonal2d_kernel",
    old="if (r < row && c < col)\n    y[c * row + r]",
    new="if (r < row || c < col)\n    y[c * row + r]",
    kind=BOUNDS,
)(transpose((3, 3), (8, 8), 19, 22))
