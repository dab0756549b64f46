"""Ladders of matrix products, from the obvious kernel to tensor cores."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import Launcher, table

CASES: list[Case] = []
case = table("ladder", CASES)
RACE, BOUNDS, UNSET, WARP, ALIGNED = "race", "out-of-bounds", "uninitialised", "warp", "misaligned"
F16, F32, I32 = np.float16, np.float32, np.int32


def blas(grid, block, M, N, K, **template) -> Launcher:
    """Return a launch of ``(M, N, K, alpha, A, B, beta, C)``."""

    def launch(rng):
        A, B, C = normal(rng, M, K), normal(rng, K, N), normal(rng, M, N)
        args = M, N, K, 1.5, A, B, -0.5, C
        return Launch(grid, block, args, {7: 1.5 * A @ B - 0.5 * C}, 1e-4, template=template)

    return launch


def column_major(grid, block, M, N, K) -> Launcher:
    def launch(rng):
        A, B, C = normal(rng, K, M), normal(rng, N, K), normal(rng, N, M)
        args = M, N, K, 1.5, A, B, -0.5, C
        return Launch(grid, block, args, {7: 1.5 * B @ A - 0.5 * C}, 1e-4)

    return launch


def plain(grid, block, M, N, K, *more, **template) -> Launcher:
    """Return a launch of ``(A, B, C, M, N, K)``."""

    def launch(rng):
        A, B, C = normal(rng, M, K), normal(rng, K, N), normal(rng, M, N)
        alpha, beta = more or (1, 0)
        args = A, B, C, M, N, K, *more
        return Launch(grid, block, args, {2: alpha * A @ B + beta * C}, 1e-4, template=template)

    return launch


# ---- first_steps.cu, block_tiles.cu, vector_loads.cu ---------------------------------------------

case(
    "first_steps.cu",
    "sgemm_naive",
    old="row < M && col < N",
    new="row <= M && col < N",
    kind=BOUNDS,
)(blas((2, 2), (8, 8), 13, 10, 7))
case(
    "first_steps.cu", "sgemm_coalesced", old="row >= M || col", new="row >= M && col", kind=BOUNDS
)(blas((2, 2), 64, 13, 10, 7, SIDE=8))
case(
    "first_steps.cu",
    "sgemm_shared",
    old="while others still read\n    __syncthreads();",
    new="while others still read",
    kind=RACE,
)(blas((2, 3), 64, 16, 24, 32, SIDE=8))
case(
    "block_tiles.cu",
    "sgemm_tiles_1d",
    old="__syncthreads(); // both",
    new="// both",
    kind=RACE,
)(blas((1, 2), 64, 32, 16, 12, BM=16, BN=16, BK=4, RM=4))
case(
    "block_tiles.cu",
    "sgemm_tiles_2d",
    old="float fragB[RN]",
    new="float fragB[RN - 1]",
    kind=BOUNDS,
)(blas((2, 1), 16, 16, 32, 8, BM=16, BN=16, BK=4, RM=4, RN=4))
case(
    "vector_loads.cu", "sgemm_vectorized", old="% (BN / 4) * 4", new="% (BN / 4) * 3", kind=ALIGNED
)(plain((1, 2), 64, 64, 32, 16, BM=32, BN=32, BK=8, RM=4, RN=4))
case(
    "vector_loads.cu",
    "sgemm_padded",
    old="[BLOCK_SIZE_M + PAD]",
    new="[BLOCK_SIZE_M - PAD]",
    kind=BOUNDS,
)(
    plain(
        (2, 2), (16, 4), 20, 19, 13, 1.5, -0.5,
        BLOCK_SIZE_M=16, BLOCK_SIZE_K=8, BLOCK_SIZE_N=16, PAD=1,
    )
)  # fmt: skip
case(
    "vector_loads.cu",
    "sgemm_double_buffer",
    old="__syncthreads();  // once per tile",
    new="// once per tile",
    kind=RACE,
)(plain((2, 1), (8, 8), 32, 64, 24, BM=32, BN=32, BK=8, RM=4, RN=4))


# ---- warp_tiles.cu, column_major.cu --------------------------------------------------------------

case(
    "warp_tiles.cu",
    "sgemm_warps",
    old="B += BK * N;\n    __syncthreads();",
    new="B += BK * N;",
    kind=RACE,
)(blas((2, 1), 64, 64, 128, 16, BM=64, BN=64, BK=8, WARP_M=64, WARP_N=32, STRIPS_N=2, TM=4, TN=4))


@case("warp_tiles.cu", "sgemm_shuffled", old="0xffffffff, mine", new="0x7fffffff, mine", kind=WARP)
def sgemm_shuffled(rng):
    M, N, K = 3, 37, 40
    A, B = normal(rng, M, K), normal(rng, K, N)
    return Launch((2, 2), 64, (M, N, K, A, B, unset(M, N)), {5: A @ B}, 1e-4)


case("column_major.cu", "colgemm_v1", old="row >= M || col", new="row > M || col", kind=BOUNDS)(
    column_major((2, 2), (32, 32), 40, 33, 8)
)
case(
    "column_major.cu",
    "colgemm_v2",
    old="__syncthreads();\n        #pragma unroll",
    new="#pragma unroll",
    kind=RACE,
)(column_major((1, 2), 1024, 32, 64, 64))
case("column_major.cu", "colgemm_v3", old="&tb(col, row1)", new="&tb(col, row1 / 2)", kind=ALIGNED)(
    column_major((2, 1), 256, 64, 32, 64)
)


# ---- vectors_and_batches.cu ----------------------------------------------------------------------


@case(
    "vectors_and_batches.cu",
    "gemv_warp",
    old="if (row >= rows)",
    new="if (row > rows)",
    kind=BOUNDS,
)
def gemv_warp(rng):
    A, x = normal(rng, 5, 70), normal(rng, 70)
    return Launch(3, 64, (A, x, unset(5), 5, 70), {2: A @ x}, 1e-4)


@case(
    "vectors_and_batches.cu",
    "gemv_block",
    old="threadIdx.x < BLOCK / kWarp ? partial",
    new="threadIdx.x <= BLOCK / kWarp ? partial",
    kind=BOUNDS,
)
def gemv_block(rng):
    A, x = normal(rng, 3, 150), normal(rng, 150)
    return Launch(3, 64, (A, x, unset(3), 150), {2: A @ x}, 1e-4, template={"BLOCK": 64})


@case(
    "vectors_and_batches.cu",
    "gemv_transposed",
    old="atomicAdd(&y[col], sum)",
    new="y[col] += sum",
    kind=RACE,
)
def gemv_transposed(rng):
    A, x, y = normal(rng, 21, 40), normal(rng, 21), normal(rng, 40)
    return Launch((2, 3), 32, (A, x, y, 21, 40, 8), {2: x @ A + y}, 1e-4, shared=32)


@case(
    "vectors_and_batches.cu",
    "gemm_strided_batched",
    old="col < n && kb < k ? b[col * k + kb]",
    new="col <= n && kb < k ? b[col * k + kb]",
    kind=BOUNDS,
)
def gemm_strided_batched(rng):
    a, b = normal(rng, 2, 6, 7), normal(rng, 2, 5, 7)
    c = a @ b.transpose(0, 2, 1)
    args = 6, 5, 7, a, b, unset(2, 6, 5), (42, 35, 30), 1
    return Launch((2, 2, 2), (4, 4), args, {5: c}, 1e-4, template={"TILE": 4})


@case(
    "vectors_and_batches.cu",
    "gemm_split_k",
    old="atomicAdd(C + row * N + col, sum)",
    new="C[row * N + col] += sum",
    kind=RACE,
)
def gemm_split_k(rng):
    A, B = normal(rng, 9, 50), normal(rng, 50, 10)
    return Launch((2, 2, 3), (8, 8), (A, B, np.zeros((9, 10), F32), 9, 10, 50), {2: A @ B}, 1e-4)


@case("vectors_and_batches.cu", "syrk_lower", old="t < T; ++t", new="t <= T; ++t", kind=BOUNDS)
def syrk_lower(rng):
    A = normal(rng, 14, 11, dtype=np.float64)
    C = np.zeros((14, 14))
    return Launch((2, 2), (8, 8), (14, 11, 2.0, A, C), {4: np.tril(2 * A @ A.T)}, 1e-10)


# ---- tensor_cores.cu -----------------------------------------------------------------------------


def halves(rng, M, N, K):
    return normal(rng, M, K, dtype=F16), normal(rng, K, N, dtype=F16)


@case(
    "tensor_cores.cu", "wmma_plain", old="i * FRAG_K, K);", new="i * FRAG_K, K + 8);", kind=BOUNDS
)
def wmma_plain(rng):
    A, B = halves(rng, 32, 16, 48)
    expected = A.astype(F32) @ B.astype(F32)
    args = A, np.ascontiguousarray(B.T), unset(32, 16, dtype=F16), 32, 16, 48
    return Launch((1, 2), 32, args, {2: expected}, 2e-2)


@case(
    "tensor_cores.cu",
    "wmma_shared",
    old="__syncthreads();\n        wmma::fragment",
    new="wmma::fragment",
    kind=RACE,
)
def wmma_shared(rng):
    A, B = halves(rng, 32, 32, 48)
    expected = A.astype(F32) @ B.astype(F32)
    return Launch(1, 128, (A, B, unset(32, 32), 32, 32, 48), {2: expected}, 1e-3)


@case(
    "tensor_cores.cu",
    "wmma_scaled",
    old="outRow < m_total && outCol",
    new="outRow <= m_total && outCol",
    kind=BOUNDS,
)
def wmma_scaled(rng):
    (A, B), C = halves(rng, 32, 32, 32), normal(rng, 32, 32)
    expected = 1.5 * A.astype(F32) @ B.astype(F32) - 0.5 * C
    args = A, np.ascontiguousarray(B.T), C, unset(32, 32), 32, 32, 32, 1.5, -0.5
    return Launch((2, 1), (64, 2), args, {3: expected}, 1e-3)


# ---- convolutions.cu -----------------------------------------------------------------------------


def convolve(x, mask):
    """Return the correlation of `x` with `mask`, zeros around it."""
    around = np.pad(x, [(size // 2, size // 2) for size in mask.shape])
    windows = np.lib.stride_tricks.sliding_window_view(around, mask.shape)
    return np.tensordot(windows, mask, mask.ndim)


@case(
    "convolutions.cu",
    "convolution_2d",
    old="row < N && col >= 0 && col < N",
    new="row < N && col < N",
    kind=BOUNDS,
)
def convolution_2d(rng):
    x, mask = (rng.integers(-9, 9, size).astype(I32) for size in [(11, 11), (5, 5)])
    args = x, unset(11, 11, dtype=I32), 11
    return Launch((2, 2), (8, 8), args, {1: convolve(x, mask)}, 0, variables={"mask": mask.ravel()})


@case(
    "convolutions.cu",
    "convolution_2d_tiled",
    old="} else {\n    tile[threadIdx.y][threadIdx.x] = 0;\n  }",
    new="}",
    kind=UNSET,
)
def convolution_2d_tiled(rng):
    x, mask = (rng.integers(-9, 9, size).astype(I32) for size in [(13, 20), (5, 5)])
    args = x, unset(13, 20, dtype=I32), 20, 13
    variables = {"mask": mask.ravel()}
    return Launch((2, 2), (16, 16), args, {1: convolve(x, mask)}, 0, variables=variables)


@case("convolutions.cu", "convolution_1d", old="x + 2 * RADIUS;", new="x + RADIUS;", kind=UNSET)
def convolution_1d(rng):
    x, weights = normal(rng, 50), normal(rng, 7)
    variables = {"F_c": weights}
    args = x, unset(50), 50
    return Launch(2, 32, args, {1: convolve(x, weights)}, shared=38 * 4, variables=variables)


@case(
    "convolutions.cu",
    "stencil_coarsened",
    old="    __syncthreads();\n    before = current;",
    new="    before = current;",
    kind=RACE,
)
def stencil_coarsened(rng):
    N = 10
    x, out = normal(rng, N, N, N), np.zeros((N, N, N), F32)
    inner, low, high = slice(1, -1), slice(0, -2), slice(2, None)
    middle = np.s_[inner, inner, inner]
    around = sum(
        x[tuple(side if axis == a else inner for a in range(3))]
        for axis in range(3)
        for side in (low, high)
    )
    expected = np.zeros_like(x)
    expected[middle] = F32(0.5) * x[middle] + F32(0.25) * around
    variables = {"c0": np.array(0.5, F32), "c1": np.array(0.25, F32)}
    return Launch((2, 2), (8, 8), (x, out, N), {1: expected}, variables=variables)
