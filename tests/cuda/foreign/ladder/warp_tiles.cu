#include <cassert>
#include <cooperative_groups.h>
#include <cstdio>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#define CEIL_DIV(M, N) (((M) + (N)-1) / (N))
const int WARPSIZE = 32;
constexpr int NUM_THREADS = 64;

namespace wt {
template <const int BM, const int BN, const int BK, const int rowStrideA,
          const int rowStrideB>
__device__ void fetchTiles(int N, int K, const float *A, const float *B,
                             float *As, float *Bs, int loadRowA, int loadColA,
                             int loadRowB, int loadColB) {
  for (uint offset = 0; offset < BM; offset += rowStrideA) {
    const float4 tmp = reinterpret_cast<const float4 *>(
        &A[(loadRowA + offset) * K + loadColA * 4])[0];
    As[(loadColA * 4 + 0) * BM + loadRowA + offset] = tmp.x;
    As[(loadColA * 4 + 1) * BM + loadRowA + offset] = tmp.y;
    As[(loadColA * 4 + 2) * BM + loadRowA + offset] = tmp.z;
    As[(loadColA * 4 + 3) * BM + loadRowA + offset] = tmp.w;
  }
  for (uint offset = 0; offset < BK; offset += rowStrideB) {
    reinterpret_cast<float4 *>(
        &Bs[(loadRowB + offset) * BN + loadColB * 4])[0] =
        reinterpret_cast<const float4 *>(
            &B[(loadRowB + offset) * N + loadColB * 4])[0];
  }
}

template <const int BM, const int BN, const int BK, const int WM, const int WN,
          const int WMITER, const int WNITER, const int WSUBM, const int WSUBN,
          const int TM, const int TN>
__device__ void multiply(float *fragA, float *fragB, float *acc,
                                const float *As, const float *Bs,
                                const uint warpRow, const uint warpCol,
                                const uint laneRow,
                                const uint laneCol) {
  for (uint k = 0; k < BK; ++k) {
    for (uint stripRow = 0; stripRow < WMITER; ++stripRow) {
      for (uint i = 0; i < TM; ++i) {
        fragA[stripRow * TM + i] =
            As[k * BM + warpRow * WM + stripRow * WSUBM +
               laneRow * TM + i];
      }
    }
    for (uint stripCol = 0; stripCol < WNITER; ++stripCol) {
      for (uint i = 0; i < TN; ++i) {
        fragB[stripCol * TN + i] =
            Bs[k * BN + warpCol * WN + stripCol * WSUBN +
               laneCol * TN + i];
      }
    }
    for (uint stripRow = 0; stripRow < WMITER; ++stripRow) {
      for (uint stripCol = 0; stripCol < WNITER; ++stripCol) {
        for (uint i = 0; i < TM; ++i) {
          for (uint j = 0; j < TN; ++j) {
            acc[(stripRow * TM + i) * (WNITER * TN) + stripCol * TN +
                          j] +=
                fragA[stripRow * TM + i] * fragB[stripCol * TN + j];
          }
        }
      }
    }
  }
}
} // namespace wt

/*
 * @tparam WM, WN the part of the block's tile that one warp computes
 * @tparam WNITER how many strips that part is cut into
 */
template <const int BM, const int BN, const int BK, const int WM, const int WN,
          const int WNITER, const int TM, const int TN>
__global__ void __launch_bounds__(NUM_THREADS)
    sgemmWarptiling(int M, int N, int K, float alpha, float *A, float *B,
                    float beta, float *C) {
  const uint tileY = blockIdx.y;
  const uint tileX = blockIdx.x;

  const uint warpIdx = threadIdx.x / WARPSIZE;
  const uint warpCol = warpIdx % (BN / WN);
  const uint warpRow = warpIdx / (BN / WN);

  constexpr uint WMITER = (WM * WN) / (WARPSIZE * TM * TN * WNITER);
  constexpr uint WSUBM = WM / WMITER;
  constexpr uint WSUBN = WN / WNITER;

  const uint lane = threadIdx.x % WARPSIZE;
  const uint laneCol = lane % (WSUBN / TN);
  const uint laneRow = lane / (WSUBN / TN);

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += tileY * BM * K;
  B += tileX * BN;
  C += (tileY * BM + warpRow * WM) * N + tileX * BN + warpCol * WN;

  const uint loadRowA = threadIdx.x / (BK / 4);
  const uint loadColA = threadIdx.x % (BK / 4);
  constexpr uint rowStrideA = (NUM_THREADS * 4) / BK;
  const uint loadRowB = threadIdx.x / (BN / 4);
  const uint loadColB = threadIdx.x % (BN / 4);
  constexpr uint rowStrideB = NUM_THREADS / (BN / 4);

  float acc[WMITER * TM * WNITER * TN] = {0.0};
  float fragA[WMITER * TM] = {0.0};
  float fragB[WNITER * TN] = {0.0};

  for (uint k0 = 0; k0 < K; k0 += BK) {
    wt::fetchTiles<BM, BN, BK, rowStrideA, rowStrideB>(
        N, K, A, B, As, Bs, loadRowA, loadColA, loadRowB, loadColB);
    __syncthreads();
    wt::multiply<BM, BN, BK, WM, WN, WMITER, WNITER, WSUBM, WSUBN, TM,
                        TN>(fragA, fragB, acc, As, Bs, warpRow, warpCol,
                            laneRow, laneCol);
    A += BK;
    B += BK * N;
    __syncthreads();
  }

  for (uint stripRow = 0; stripRow < WMITER; ++stripRow) {
    for (uint stripCol = 0; stripCol < WNITER; ++stripCol) {
      float *strip = C + (stripRow * WSUBM) * N + stripCol * WSUBN;
      for (uint i = 0; i < TM; i += 1) {
        for (uint j = 0; j < TN; j += 4) {
          const uint at =
              (laneRow * TM + i) * N + laneCol * TN + j;
          float4 tmp = reinterpret_cast<float4 *>(&strip[at])[0];
          const int r = (stripRow * TM + i) * (WNITER * TN) + stripCol * TN + j;
          tmp.x = alpha * acc[r + 0] + beta * tmp.x;
          tmp.y = alpha * acc[r + 1] + beta * tmp.y;
          tmp.z = alpha * acc[r + 2] + beta * tmp.z;
          tmp.w = alpha * acc[r + 3] + beta * tmp.w;
          reinterpret_cast<float4 *>(&strip[at])[0] = tmp;
        }
      }
    }
  }
}

// Without shared memory: operands pass from lane to lane.
__global__ __launch_bounds__(NUM_THREADS, 2) void
sgemmShuffled(const unsigned int M, const unsigned int N, const unsigned int K,
              float const *__restrict__ A, float const *__restrict__ B,
              float *__restrict__ C) {
  const unsigned row = blockIdx.y * (blockDim.x / WARPSIZE) + threadIdx.x / WARPSIZE;
  const unsigned lane = threadIdx.x % WARPSIZE;
  const unsigned col = blockIdx.x * WARPSIZE + lane;
  if (row >= M) // a whole warp
    return;
  float sum = 0;
  for (unsigned k0 = 0; k0 < K; k0 += WARPSIZE) {
    const float mine = k0 + lane < K ? A[row * K + k0 + lane] : 0.f;
    const unsigned steps = min(WARPSIZE, K - k0);
    for (unsigned k = 0; k < steps; ++k) {
      const float a = __shfl_sync(0xffffffff, mine, k);
      if (col < N)
        sum += a * B[(k0 + k) * N + col];
    }
  }
  if (col < N)
    C[row * N + col] = sum;
}

void runSgemmWarptiling(int M, int N, int K, float alpha, float *A, float *B,
                        float beta, float *C) {
  const uint kBN = 64, kBM = 64, kBK = 8;
  const uint kWN = 32, kWM = 64, kStrips = 2, kTN = 4, kTM = 4;
  dim3 blockDim(NUM_THREADS);
  static_assert((kBN % kWN == 0) and (kBM % kWM == 0));
  static_assert((kBN / kWN) * (kBM / kWM) == NUM_THREADS / WARPSIZE);
  dim3 gridDim(CEIL_DIV(N, kBN), CEIL_DIV(M, kBM));
  sgemmWarptiling<kBM, kBN, kBK, kWM, kWN, kStrips, kTM,
                  kTN><<<gridDim, blockDim>>>(M, N, K, alpha, A, B, beta, C);
}
