#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#define CEIL_DIV(a, b) (((a) - 1) / (b) + 1)

/*
 * A column of RM results per thread: each value of B that is read from shared
 * memory is used RM times.
 */
template <const int BM, const int BN, const int BK, const int RM>
__global__ void sgemm_tiles_1d(int rows, int cols, int K, float scale,
                                   const float *A, const float *B, float keep,
                                   float *C) {
  const uint tileY = blockIdx.y;
  const uint tileX = blockIdx.x;

  const int tx = threadIdx.x % BN;
  const int ty = threadIdx.x / BN;

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += tileY * BM * K;
  B += tileX * BN;
  C += tileY * BM * cols + tileX * BN;

  assert(blockDim.x == BM * BK && blockDim.x == BN * BK);
  const uint loadColA = threadIdx.x % BK;
  const uint loadRowA = threadIdx.x / BK;
  const uint loadColB = threadIdx.x % BN;
  const uint loadRowB = threadIdx.x / BN;

  float acc[RM] = {0.0};

  for (uint k0 = 0; k0 < K; k0 += BK) {
    As[loadRowA * BK + loadColA] = A[loadRowA * K + loadColA];
    Bs[loadRowB * BN + loadColB] = B[loadRowB * cols + loadColB];
    __syncthreads(); // both tiles are there

    A += BK;
    B += BK * cols;

    for (uint k = 0; k < BK; ++k) {
      const float b = Bs[k * BN + tx];
      for (uint i = 0; i < RM; ++i) {
        acc[i] +=
            As[(ty * RM + i) * BK + k] * b;
      }
    }
    __syncthreads();
  }

  for (uint i = 0; i < RM; ++i) {
    float *out = &C[(ty * RM + i) * cols + tx];
    *out = scale * acc[i] + keep * *out;
  }
}

// RM x RN results per thread; operands go through registers.
template <const int BM, const int BN, const int BK, const int RM, const int RN>
__global__ void __launch_bounds__((BM * BN) / (RM * RN), 1)
    sgemm_tiles_2d(int rows, int cols, int K, float scale, const float *A,
                       const float *B, float keep, float *C) {
  const uint tileY = blockIdx.y;
  const uint tileX = blockIdx.x;

  constexpr uint kThreads = BM * BN / (RM * RN);
  assert(blockDim.x == kThreads);

  const int tx = threadIdx.x % (BN / RN);
  const int ty = threadIdx.x / (BN / RN);

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += tileY * BM * K;
  B += tileX * BN;
  C += tileY * BM * cols + tileX * BN;

  const uint loadRowA = threadIdx.x / BK;
  const uint loadColA = threadIdx.x % BK;
  const uint strideA = kThreads / BK;
  const uint loadRowB = threadIdx.x / BN;
  const uint loadColB = threadIdx.x % BN;
  const uint strideB = kThreads / BN;

  float acc[RM * RN] = {0.0};
  float fragA[RM] = {0.0};
  float fragB[RN] = {0.0};

  for (uint k0 = 0; k0 < K; k0 += BK) {
    for (uint row = 0; row < BM; row += strideA) {
      As[(loadRowA + row) * BK + loadColA] =
          A[(loadRowA + row) * K + loadColA];
    }
    for (uint row = 0; row < BK; row += strideB) {
      Bs[(loadRowB + row) * BN + loadColB] =
          B[(loadRowB + row) * cols + loadColB];
    }
    __syncthreads();

    A += BK;
    B += BK * cols;

    for (uint k = 0; k < BK; ++k) {
      for (uint i = 0; i < RM; ++i) {
        fragA[i] = As[(ty * RM + i) * BK + k];
      }
      for (uint j = 0; j < RN; ++j) {
        fragB[j] = Bs[k * BN + tx * RN + j];
      }
      for (uint i = 0; i < RM; ++i) {
        for (uint j = 0; j < RN; ++j) {
          acc[i * RN + j] += fragA[i] * fragB[j];
        }
      }
    }
    __syncthreads();
  }

  for (uint i = 0; i < RM; ++i) {
    for (uint j = 0; j < RN; ++j) {
      const uint at = (ty * RM + i) * cols + tx * RN + j;
      C[at] = scale * acc[i * RN + j] + keep * C[at];
    }
  }
}

void run_tiles_1d(int rows, int cols, int K, float scale, float *A, float *B,
                           float keep, float *C) {
  const uint BM = 64;
  const uint BN = 64;
  const uint BK = 8;
  const uint RM = 8;
  dim3 grid(CEIL_DIV(cols, BN), CEIL_DIV(rows, BM));
  dim3 blockDim((BM * BN) / RM);
  sgemm_tiles_1d<BM, BN, BK, RM>
      <<<grid, blockDim>>>(rows, cols, K, scale, A, B, keep, C);
}

void run_tiles_2d(int rows, int cols, int K, float scale, float *A, float *B,
                           float keep, float *C) {
  const uint BK = 8;
  const uint RM = 8;
  const uint RN = 8;
  // large tiles where they fill the matrix
  if (std::min(rows, cols) >= 128)
    sgemm_tiles_2d<128, 128, BK, RM, RN>
        <<<dim3(CEIL_DIV(cols, 128), CEIL_DIV(rows, 128)), 256>>>(rows, cols, K, scale, A,
                                                            B, keep, C);
  else
    sgemm_tiles_2d<64, 64, BK, RM, RN>
        <<<dim3(CEIL_DIV(cols, 64), CEIL_DIV(rows, 64)), 64>>>(rows, cols, K, scale, A, B,
                                                         keep, C);
}
