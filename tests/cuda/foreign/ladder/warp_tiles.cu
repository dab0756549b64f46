#include <cassert>
#include <cooperative_groups.h>
#include <cstdio>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#define CEIL_DIV(a, b) (((a) - 1) / (b) + 1)
const int kWarp = 32;
constexpr int kThreads = 64;

namespace wt {
template <const int BM, const int BN, const int BK, const int stepA,
          const int stepB>
__device__ void fetchTiles(int N, int K, const float *A, const float *B,
                             float *As, float *Bs, int loadRowA, int loadColA,
                             int loadRowB, int loadColB) {
  for (uint offset = 0; offset < BM; offset += stepA) {
    const float4 tmp =
        *(const float4 *)&A[(loadRowA + offset) * K + loadColA * 4];
    As[(loadColA * 4 + 0) * BM + loadRowA + offset] = tmp.x;
    As[(loadColA * 4 + 1) * BM + loadRowA + offset] = tmp.y;
    As[(loadColA * 4 + 2) * BM + loadRowA + offset] = tmp.z;
    As[(loadColA * 4 + 3) * BM + loadRowA + offset] = tmp.w;
  }
  for (uint offset = 0; offset < BK; offset += stepB) {
    *(float4 *)&Bs[(loadRowB + offset) * BN + loadColB * 4] =
        *(const float4 *)&B[(loadRowB + offset) * N + loadColB * 4];
  }
}

template <const int BM, const int BN, const int BK, const int WARP_M, const int WARP_N,
          const int STRIPS_M, const int STRIPS_N, const int STRIP_M, const int STRIP_N,
          const int TM, const int TN>
__device__ void multiply(float *fragA, float *fragB, float *acc,
                                const float *As, const float *Bs,
                                const uint warpY, const uint warpX,
                                const uint laneRow,
                                const uint laneCol) {
  for (uint k = 0; k < BK; ++k) {
    for (uint stripRow = 0; stripRow < STRIPS_M; ++stripRow) {
      for (uint i = 0; i < TM; ++i) {
        fragA[stripRow * TM + i] =
            As[k * BM + warpY * WARP_M + stripRow * STRIP_M +
               laneRow * TM + i];
      }
    }
    for (uint stripCol = 0; stripCol < STRIPS_N; ++stripCol) {
      for (uint i = 0; i < TN; ++i) {
        fragB[stripCol * TN + i] =
            Bs[k * BN + warpX * WARP_N + stripCol * STRIP_N +
               laneCol * TN + i];
      }
    }
    for (uint stripRow = 0; stripRow < STRIPS_M; ++stripRow) {
      for (uint stripCol = 0; stripCol < STRIPS_N; ++stripCol) {
        for (uint i = 0; i < TM; ++i) {
          for (uint j = 0; j < TN; ++j) {
            acc[(stripRow * TM + i) * (STRIPS_N * TN) + stripCol * TN +
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
 * @tparam WARP_M, WARP_N the part of the block's tile that one warp computes
 * @tparam STRIPS_N how many strips that part is cut into
 */
template <const int BM, const int BN, const int BK, const int WARP_M, const int WARP_N,
          const int STRIPS_N, const int TM, const int TN>
__global__ void __launch_bounds__(kThreads)
    sgemm_warps(int M, int N, int K, float scale, const float *A, const float *B,
                    float keep, float *C) {
  const uint tileY = blockIdx.y;
  const uint tileX = blockIdx.x;

  const uint warp = threadIdx.x / kWarp;
  const uint warpX = warp % (BN / WARP_N);
  const uint warpY = warp / (BN / WARP_N);

  constexpr uint STRIPS_M = (WARP_M * WARP_N) / (kWarp * TM * TN * STRIPS_N);
  constexpr uint STRIP_M = WARP_M / STRIPS_M;
  constexpr uint STRIP_N = WARP_N / STRIPS_N;

  const uint lane = threadIdx.x % kWarp;
  const uint laneCol = lane % (STRIP_N / TN);
  const uint laneRow = lane / (STRIP_N / TN);

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += tileY * BM * K;
  B += tileX * BN;
  C += (tileY * BM + warpY * WARP_M) * N + tileX * BN + warpX * WARP_N;

  const uint loadRowA = threadIdx.x / (BK / 4);
  const uint loadColA = threadIdx.x % (BK / 4);
  constexpr uint stepA = (kThreads * 4) / BK;
  const uint loadRowB = threadIdx.x / (BN / 4);
  const uint loadColB = threadIdx.x % (BN / 4);
  constexpr uint stepB = kThreads / (BN / 4);

  float acc[STRIPS_M * TM * STRIPS_N * TN] = {0.0};
  float fragA[STRIPS_M * TM] = {0.0};
  float fragB[STRIPS_N * TN] = {0.0};

  for (uint k0 = 0; k0 < K; k0 += BK) {
    wt::fetchTiles<BM, BN, BK, stepA, stepB>(
        N, K, A, B, As, Bs, loadRowA, loadColA, loadRowB, loadColB);
    __syncthreads();
    wt::multiply<BM, BN, BK, WARP_M, WARP_N, STRIPS_M, STRIPS_N, STRIP_M, STRIP_N, TM,
                        TN>(fragA, fragB, acc, As, Bs, warpY, warpX,
                            laneRow, laneCol);
    A += BK;
    B += BK * N;
    __syncthreads();
  }

  for (uint stripRow = 0; stripRow < STRIPS_M; ++stripRow) {
    for (uint stripCol = 0; stripCol < STRIPS_N; ++stripCol) {
      float *strip = C + (stripRow * STRIP_M) * N + stripCol * STRIP_N;
      for (uint i = 0; i < TM; i += 1) {
        for (uint j = 0; j < TN; j += 4) {
          const uint at =
              (laneRow * TM + i) * N + laneCol * TN + j;
          float4 tmp = reinterpret_cast<float4 *>(&strip[at])[0];
          const int r = (stripRow * TM + i) * (STRIPS_N * TN) + stripCol * TN + j;
          tmp.x = scale * acc[r + 0] + keep * tmp.x;
          tmp.y = scale * acc[r + 1] + keep * tmp.y;
          tmp.z = scale * acc[r + 2] + keep * tmp.z;
          tmp.w = scale * acc[r + 3] + keep * tmp.w;
          reinterpret_cast<float4 *>(&strip[at])[0] = tmp;
        }
      }
    }
  }
}

// Without shared memory: operands pass from lane to lane.
__global__ __launch_bounds__(kThreads, 2) void
sgemm_shuffled(const unsigned int M, const unsigned int N, const unsigned int K,
              float const *__restrict__ A, float const *__restrict__ B,
              float *__restrict__ C) {
  const unsigned row = blockIdx.y * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned col = blockIdx.x * kWarp + lane;
  if (row >= M) // a whole warp
    return;
  float sum = 0;
  for (unsigned k0 = 0; k0 < K; k0 += kWarp) {
    const float mine = k0 + lane < K ? A[row * K + k0 + lane] : 0.f;
    const unsigned steps = min(kWarp, K - k0);
    for (unsigned k = 0; k < steps; ++k) {
      const float a = __shfl_sync(0xffffffff, mine, k);
      if (col < N)
        sum += a * B[(k0 + k) * N + col];
    }
  }
  if (col < N)
    C[row * N + col] = sum;
}

void run_warps(int M, int N, int K, float scale, float *A, float *B,
                        float keep, float *C) {
  const uint kBN = 64, kBM = 64, kBK = 8;
  const uint kWN = 32, kWM = 64, kStrips = 2, kTN = 4, kTM = 4;
  dim3 blockDim(kThreads);
  static_assert((kBN % kWN == 0) and (kBM % kWM == 0));
  static_assert((kBN / kWN) * (kBM / kWM) == kThreads / kWarp);
  dim3 gridDim(CEIL_DIV(N, kBN), CEIL_DIV(M, kBM));
  sgemm_warps<kBM, kBN, kBK, kWM, kWN, kStrips, kTM,
                  kTN><<<gridDim, blockDim>>>(M, N, K, scale, A, B, keep, C);
}
