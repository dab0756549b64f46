#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#define CEIL_DIV(M, N) (((M) + (N)-1) / (N))

/*
 * A column of TM results per thread: each value of B that is read from shared
 * memory is used TM times.
 */
template <const int BM, const int BN, const int BK, const int TM>
__global__ void sgemm1DBlocktiling(int M, int N, int K, float alpha,
                                   const float *A, const float *B, float beta,
                                   float *C) {
  const uint tileY = blockIdx.y;
  const uint tileX = blockIdx.x;

  const int tx = threadIdx.x % BN;
  const int ty = threadIdx.x / BN;

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += tileY * BM * K;
  B += tileX * BN;
  C += tileY * BM * N + tileX * BN;

  assert(blockDim.x == BM * BK && blockDim.x == BN * BK);
  const uint loadColA = threadIdx.x % BK;
  const uint loadRowA = threadIdx.x / BK;
  const uint loadColB = threadIdx.x % BN;
  const uint loadRowB = threadIdx.x / BN;

  float acc[TM] = {0.0};

  for (uint k0 = 0; k0 < K; k0 += BK) {
    As[loadRowA * BK + loadColA] = A[loadRowA * K + loadColA];
    Bs[loadRowB * BN + loadColB] = B[loadRowB * N + loadColB];
    __syncthreads();

    A += BK;
    B += BK * N;

    for (uint k = 0; k < BK; ++k) {
      const float b = Bs[k * BN + tx];
      for (uint i = 0; i < TM; ++i) {
        acc[i] +=
            As[(ty * TM + i) * BK + k] * b;
      }
    }
    __syncthreads();
  }

  for (uint i = 0; i < TM; ++i) {
    float *out = &C[(ty * TM + i) * N + tx];
    *out = alpha * acc[i] + beta * *out;
  }
}

// TM x TN results per thread; operands go through registers.
template <const int BM, const int BN, const int BK, const int TM, const int TN>
__global__ void __launch_bounds__((BM * BN) / (TM * TN), 1)
    sgemm2DBlocktiling(int M, int N, int K, float alpha, const float *A,
                       const float *B, float beta, float *C) {
  const uint tileY = blockIdx.y;
  const uint tileX = blockIdx.x;

  constexpr uint kThreads = BM * BN / (TM * TN);
  assert(blockDim.x == kThreads);

  const int tx = threadIdx.x % (BN / TN);
  const int ty = threadIdx.x / (BN / TN);

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += tileY * BM * K;
  B += tileX * BN;
  C += tileY * BM * N + tileX * BN;

  const uint loadRowA = threadIdx.x / BK;
  const uint loadColA = threadIdx.x % BK;
  const uint strideA = kThreads / BK;
  const uint loadRowB = threadIdx.x / BN;
  const uint loadColB = threadIdx.x % BN;
  const uint strideB = kThreads / BN;

  float acc[TM * TN] = {0.0};
  float fragA[TM] = {0.0};
  float fragB[TN] = {0.0};

  for (uint k0 = 0; k0 < K; k0 += BK) {
    for (uint row = 0; row < BM; row += strideA) {
      As[(loadRowA + row) * BK + loadColA] =
          A[(loadRowA + row) * K + loadColA];
    }
    for (uint row = 0; row < BK; row += strideB) {
      Bs[(loadRowB + row) * BN + loadColB] =
          B[(loadRowB + row) * N + loadColB];
    }
    __syncthreads();

    A += BK;
    B += BK * N;

    for (uint k = 0; k < BK; ++k) {
      for (uint i = 0; i < TM; ++i) {
        fragA[i] = As[(ty * TM + i) * BK + k];
      }
      for (uint j = 0; j < TN; ++j) {
        fragB[j] = Bs[k * BN + tx * TN + j];
      }
      for (uint i = 0; i < TM; ++i) {
        for (uint j = 0; j < TN; ++j) {
          acc[i * TN + j] += fragA[i] * fragB[j];
        }
      }
    }
    __syncthreads();
  }

  for (uint i = 0; i < TM; ++i) {
    for (uint j = 0; j < TN; ++j) {
      const uint at = (ty * TM + i) * N + tx * TN + j;
      C[at] = alpha * acc[i * TN + j] + beta * C[at];
    }
  }
}

void runSgemm1DBlocktiling(int M, int N, int K, float alpha, float *A, float *B,
                           float beta, float *C) {
  const uint BM = 64;
  const uint BN = 64;
  const uint BK = 8;
  const uint TM = 8;
  dim3 gridDim(CEIL_DIV(N, BN), CEIL_DIV(M, BM));
  dim3 blockDim((BM * BN) / TM);
  sgemm1DBlocktiling<BM, BN, BK, TM>
      <<<gridDim, blockDim>>>(M, N, K, alpha, A, B, beta, C);
}

void runSgemm2DBlocktiling(int M, int N, int K, float alpha, float *A, float *B,
                           float beta, float *C) {
  const uint BK = 8;
  const uint TM = 8;
  const uint TN = 8;
  // large tiles where they fill the matrix
  if (std::min(M, N) >= 128)
    sgemm2DBlocktiling<128, 128, BK, TM, TN>
        <<<dim3(CEIL_DIV(N, 128), CEIL_DIV(M, 128)), 256>>>(M, N, K, alpha, A,
                                                            B, beta, C);
  else
    sgemm2DBlocktiling<64, 64, BK, TM, TN>
        <<<dim3(CEIL_DIV(N, 64), CEIL_DIV(M, 64)), 64>>>(M, N, K, alpha, A, B,
                                                         beta, C);
}
