#include <cassert>
#include <cooperative_groups.h>
#include <cstdio>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#define CEIL_DIV(M, N) (((M) + (N)-1) / (N))
const int WARPSIZE = 32; // warpSize is no constant expression
constexpr int NUM_THREADS = 64;

namespace wt {
template <const int BM, const int BN, const int BK, const int rowStrideA,
          const int rowStrideB>
__device__ void loadFromGmem(int N, int K, const float *A, const float *B,
                             float *As, float *Bs, int innerRowA, int innerColA,
                             int innerRowB, int innerColB) {
  for (uint offset = 0; offset + rowStrideA <= BM; offset += rowStrideA) {
    const float4 tmp = reinterpret_cast<const float4 *>(
        &A[(innerRowA + offset) * K + innerColA * 4])[0];
    As[(innerColA * 4 + 0) * BM + innerRowA + offset] = tmp.x;
    As[(innerColA * 4 + 1) * BM + innerRowA + offset] = tmp.y;
    As[(innerColA * 4 + 2) * BM + innerRowA + offset] = tmp.z;
    As[(innerColA * 4 + 3) * BM + innerRowA + offset] = tmp.w;
  }
  for (uint offset = 0; offset + rowStrideB <= BK; offset += rowStrideB) {
    reinterpret_cast<float4 *>(
        &Bs[(innerRowB + offset) * BN + innerColB * 4])[0] =
        reinterpret_cast<const float4 *>(
            &B[(innerRowB + offset) * N + innerColB * 4])[0];
  }
}

template <const int BM, const int BN, const int BK, const int WM, const int WN,
          const int WMITER, const int WNITER, const int WSUBM, const int WSUBN,
          const int TM, const int TN>
__device__ void processFromSmem(float *regM, float *regN, float *threadResults,
                                const float *As, const float *Bs,
                                const uint warpRow, const uint warpCol,
                                const uint threadRowInWarp,
                                const uint threadColInWarp) {
  for (uint dotIdx = 0; dotIdx < BK; ++dotIdx) {
    for (uint wSubRow = 0; wSubRow < WMITER; ++wSubRow) {
      for (uint i = 0; i < TM; ++i) {
        regM[wSubRow * TM + i] =
            As[dotIdx * BM + warpRow * WM + wSubRow * WSUBM +
               threadRowInWarp * TM + i];
      }
    }
    for (uint wSubCol = 0; wSubCol < WNITER; ++wSubCol) {
      for (uint i = 0; i < TN; ++i) {
        regN[wSubCol * TN + i] =
            Bs[dotIdx * BN + warpCol * WN + wSubCol * WSUBN +
               threadColInWarp * TN + i];
      }
    }
    for (uint wSubRow = 0; wSubRow < WMITER; ++wSubRow) {
      for (uint wSubCol = 0; wSubCol < WNITER; ++wSubCol) {
        for (uint i = 0; i < TM; ++i) {
          for (uint j = 0; j < TN; ++j) {
            threadResults[(wSubRow * TM + i) * (WNITER * TN) + wSubCol * TN +
                          j] +=
                regM[wSubRow * TM + i] * regN[wSubCol * TN + j];
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
  const uint cRow = blockIdx.y;
  const uint cCol = blockIdx.x;

  const uint warpIdx = threadIdx.x / WARPSIZE;
  const uint warpCol = warpIdx % (BN / WN);
  const uint warpRow = warpIdx / (BN / WN);

  constexpr uint WMITER = (WM * WN) / (WARPSIZE * TM * TN * WNITER);
  constexpr uint WSUBM = WM / WMITER;
  constexpr uint WSUBN = WN / WNITER;

  const uint threadIdxInWarp = threadIdx.x % WARPSIZE;
  const uint threadColInWarp = threadIdxInWarp % (WSUBN / TN);
  const uint threadRowInWarp = threadIdxInWarp / (WSUBN / TN);

  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];

  A += cRow * BM * K;
  B += cCol * BN;
  C += (cRow * BM + warpRow * WM) * N + cCol * BN + warpCol * WN;

  const uint innerRowA = threadIdx.x / (BK / 4);
  const uint innerColA = threadIdx.x % (BK / 4);
  constexpr uint rowStrideA = (NUM_THREADS * 4) / BK;
  const uint innerRowB = threadIdx.x / (BN / 4);
  const uint innerColB = threadIdx.x % (BN / 4);
  constexpr uint rowStrideB = NUM_THREADS / (BN / 4);

  float threadResults[WMITER * TM * WNITER * TN] = {0.0};
  float regM[WMITER * TM] = {0.0};
  float regN[WNITER * TN] = {0.0};

  for (uint bkIdx = 0; bkIdx < K; bkIdx += BK) {
    wt::loadFromGmem<BM, BN, BK, rowStrideA, rowStrideB>(
        N, K, A, B, As, Bs, innerRowA, innerColA, innerRowB, innerColB);
    __syncthreads();
    wt::processFromSmem<BM, BN, BK, WM, WN, WMITER, WNITER, WSUBM, WSUBN, TM,
                        TN>(regM, regN, threadResults, As, Bs, warpRow, warpCol,
                            threadRowInWarp, threadColInWarp);
    A += BK;
    B += BK * N;
    __syncthreads();
  }

  for (uint wSubRow = 0; wSubRow < WMITER; ++wSubRow) {
    for (uint wSubCol = 0; wSubCol < WNITER; ++wSubCol) {
      float *C_interim = C + (wSubRow * WSUBM) * N + wSubCol * WSUBN;
      for (uint i = 0; i < TM; i += 1) {
        for (uint j = 0; j < TN; j += 4) {
          const uint at =
              (threadRowInWarp * TM + i) * N + threadColInWarp * TN + j;
          float4 tmp = reinterpret_cast<float4 *>(&C_interim[at])[0];
          const int r = (wSubRow * TM + i) * (WNITER * TN) + wSubCol * TN + j;
          tmp.x = alpha * threadResults[r + 0] + beta * tmp.x;
          tmp.y = alpha * threadResults[r + 1] + beta * tmp.y;
          tmp.z = alpha * threadResults[r + 2] + beta * tmp.z;
          tmp.w = alpha * threadResults[r + 3] + beta * tmp.w;
          reinterpret_cast<float4 *>(&C_interim[at])[0] = tmp;
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
  const uint K10_BN = 64, K10_BM = 64, K10_BK = 8;
  const uint K10_WN = 32, K10_WM = 64, K10_WNITER = 2, K10_TN = 4, K10_TM = 4;
  dim3 blockDim(NUM_THREADS);
  static_assert((K10_BN % K10_WN == 0) and (K10_BM % K10_WM == 0));
  static_assert((K10_BN / K10_WN) * (K10_BM / K10_WM) == NUM_THREADS / WARPSIZE);
  dim3 gridDim(CEIL_DIV(N, K10_BN), CEIL_DIV(M, K10_BM));
  sgemmWarptiling<K10_BM, K10_BN, K10_BK, K10_WM, K10_WN, K10_WNITER, K10_TM,
                  K10_TN><<<gridDim, blockDim>>>(M, N, K, alpha, A, B, beta, C);
}
