"""Kernels behind bindings of PyTorch: products with vectors and matrices, on tensor cores too."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import Launcher, table

CASES: list[Case] = []
case = table("leet", CASES)
RACE, BOUNDS, WARP, ALIGNED = "race", "out-of-bounds", "warp", "misaligned"
F16, F32 = np.float16, np.float32


def gemv(grid, M, K, dtype=F32, tolerance=1e-4) -> Launcher:
    def launch(rng):
        A, x = normal(rng, M, K, dtype=dtype), normal(rng, K, dtype=dtype)
        expected = A.astype(F32) @ x.astype(F32)
        return Launch(grid, (32, 2), (A, x, unset(M, dtype=dtype), M, K), {2: expected}, tolerance)

    return launch


FILE = "gemv.cu"
case(
    FILE,
    "sgemv_k32_f32_kernel",
    old="int k = w * WARP_SIZE + own;",
    new="int k = w * WARP_SIZE + own + 1;",
    kind=BOUNDS,
)(gemv(2, 3, 64))
case(
    FILE,
    "sgemv_k128_f32x4_kernel",
    old="vx = FLOAT4(x[k]);",
    new="vx = FLOAT4(x[k / 2]);",
    kind=ALIGNED,
)(gemv(2, 3, 256))
case(
    FILE,
    "sgemv_k16_f32_kernel",
    old="0xffffffffu, value, step",
    new="0x7fffffffu, value, step",
    kind=WARP,
)(gemv(2, 5, 16))
case(
    FILE,
    "hgemv_k128_f16x4_kernel",
    old="__shfl_xor_sync(0xffffffff, sum, step)",
    new="__shfl_xor_sync(0xfffffffe, sum, step)",
    kind=WARP,
)(gemv(2, 3, 128, F16, 0.1))

FILE = "hgemm.cu"


def hgemm(grid, block, M, N, K, tolerance=2e-2, **template) -> Launcher:
    def launch(rng):
        A, B = 0.5 * normal(rng, M, K, dtype=F16), 0.5 * normal(rng, K, N, dtype=F16)
        A, B = A.astype(F16), B.astype(F16)
        expected = A.astype(F32) @ B.astype(F32)
        args = A, B, unset(M, N, dtype=F16), M, N, K
        return Launch(grid, block, args, {2: expected}, tolerance, template=template)

    return launch


case(
    FILE,
    "hgemm_naive_f16_kernel",
    old="if (m < M && n < N) {",
    new="if (m < M || n < N) {",
    kind=BOUNDS,
)(hgemm((2, 2), (8, 8), 9, 10, 12))
case(
    FILE,
    "hgemm_sliced_k_f16_kernel",
    old="__syncthreads();\n#pragma unroll\n    for (int k = 0; k < TILE_K; ++k)\n      sum",
    new="#pragma unroll\n    for (int k = 0; k < TILE_K; ++k)\n      sum",
    kind=RACE,
)(hgemm((2, 1), (8, 8), 8, 16, 16, TILE_M=8, TILE_N=8, TILE_K=8))
case(
    FILE,
    "hgemm_t_8x8_sliced_k_f16x8_pack_kernel",
    old="half2 r_c[TM][TN / 2];",
    new="half2 r_c[TM][TN / 2 - 2];",
    kind=BOUNDS,
)(hgemm((1, 1), (4, 4), 32, 32, 16, TILE_M=32, TILE_N=32))
case(
    FILE,
    "hgemm_wmma_m16n16k16_naive_kernel",
    old="B + k0 * N + n0, N);",
    new="B + (k0 + 1) * N + n0, N);",
    kind=BOUNDS,
)(hgemm((1, 2), 32, 32, 16, 32))
case(
    FILE,
    "hgemm_mma_m16n8k16_naive_kernel",
    old="LDST128BITS(B[(k * TILE_K + lane) * N + blockIdx.x * TILE_N]);\n    __syncthreads();",
    new="LDST128BITS(B[(k * TILE_K + lane) * N + blockIdx.x * TILE_N]);",
    kind=RACE,
)(hgemm((2, 1), 32, 16, 16, 32))
case(
    FILE,
    "hgemm_mma_m16n8k16_stages_kernel",
    old="CP_ASYNC_WAIT(STAGES - 1);",
    new="CP_ASYNC_WAIT(STAGES);",
    kind=RACE,
)(hgemm((2, 1), 64, 32, 16, 64, STAGES=3))
