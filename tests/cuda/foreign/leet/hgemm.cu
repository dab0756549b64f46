// C = A B in halves, from one result per thread to pipelines of mma.sync.
#include <algorithm>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>
#include <torch/extension.h>

using namespace nvcuda;

#define WARP_SIZE 32
#define HALF2(value) (reinterpret_cast<half2 *>(&(value))[0])
#define LDST32BITS(value) (reinterpret_cast<half2 *>(&(value))[0])
#define LDST128BITS(value) (reinterpret_cast<float4 *>(&(value))[0])
#define DEVICE_INLINE static __device__ __forceinline__

#define CP_ASYNC_COMMIT_GROUP() asm volatile("cp.async.commit_group;\n" ::)
#define CP_ASYNC_WAIT_GROUP(n) asm volatile("cp.async.wait_group %0;\n" ::"n"(n))
#define CP_ASYNC_CG(dst, src, bytes)                                           \
  asm volatile("cp.async.cg.shared.global [%0], [%1], %2;\n" ::"r"(dst), "l"(src), "n"(bytes))
#define LDMATRIX_X2_T(R0, R1, addr)                                            \
  asm volatile("ldmatrix.sync.aligned.x2.trans.m8n8.shared.b16 {%0, %1}, [%2];\n" \
               : "=r"(R0), "=r"(R1)                                            \
               : "r"(addr))
#define LDMATRIX_X4(R0, R1, R2, R3, addr)                                      \
  asm volatile("ldmatrix.sync.aligned.x4.m8n8.shared.b16 {%0, %1, %2, %3}, [%4];\n" \
               : "=r"(R0), "=r"(R1), "=r"(R2), "=r"(R3)                        \
               : "r"(addr))
#define HMMA16816F32(RD0, RD1, RD2, RD3, RA0, RA1, RA2, RA3, RB0, RB1, RC0, RC1, RC2, RC3) \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "            \
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};\n" \
               : "=f"(RD0), "=f"(RD1), "=f"(RD2), "=f"(RD3)                    \
               : "r"(RA0), "r"(RA1), "r"(RA2), "r"(RA3), "r"(RB0), "r"(RB1),   \
                 "f"(RC0), "f"(RC1), "f"(RC2), "f"(RC3))

__global__ void hgemm_naive_f16_kernel(half *a, half *b, half *c, int M, int N, int K) {
  int n = threadIdx.x + blockDim.x * blockIdx.x;
  int m = threadIdx.y + blockDim.y * blockIdx.y;
  if (m < M && n < N) {
    half sum = __float2half(0.0f);
#pragma unroll
    for (int k = 0; k < K; k++)
      sum = __hfma(a[m * K + k], b[k * N + n], sum);
    c[m * N + n] = sum;
  }
}

template <const int BM = 32, const int BN = 32, const int BK = 32>
__global__ void hgemm_sliced_k_f16_kernel(half *a, half *b, half *c, int M, int N, int K) {
  __shared__ half s_a[BM][BK], s_b[BK][BN];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int m = blockIdx.y * BM + ty, n = blockIdx.x * BN + tx;
  if (m >= M || n >= N)
    return;  // M and N are multiples of the tile: all threads of a block or none
  float sum = 0.f;
  for (int bk = 0; bk < (K + BK - 1) / BK; ++bk) {
    s_a[ty][tx] = a[m * K + bk * BK + tx];
    s_b[ty][tx] = b[(bk * BK + ty) * N + n];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; ++k)
      sum += __half2float(s_a[ty][k]) * __half2float(s_b[k][tx]);
    __syncthreads();
  }
  c[m * N + n] = __float2half(sum);
}

// 8 x 8 results per thread, halves in packs of eight
template <const int BM = 64, const int BN = 64, const int BK = 8, const int TM = 8, const int TN = 8>
__global__ void hgemm_t_8x8_sliced_k_f16x8_pack_kernel(half *a, half *b, half *c, const int M,
                                                       const int N, const int K) {
  __shared__ half s_a[BM][BK];
  __shared__ half s_b[BK][BN];
  constexpr int THREADS = BM / TM * (BN / TN);
  const int tx = threadIdx.x, ty = threadIdx.y, tid = ty * blockDim.x + tx;
  half2 r_c[TM][TN / 2];
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN / 2; j++)
      r_c[i][j] = __float2half2_rn(0.f);

  for (int k0 = 0; k0 < K; k0 += BK) {
    for (int i = tid; i < BM * BK / 8; i += THREADS)
      LDST128BITS(s_a[i][0]) = LDST128BITS(a[(blockIdx.y * BM + i) * K + k0]);
    for (int i = tid; i < BK * BN / 8; i += THREADS) {
      const int row = i / (BN / 8), col = i % (BN / 8) * 8;
      LDST128BITS(s_b[row][col]) = LDST128BITS(b[(k0 + row) * N + blockIdx.x * BN + col]);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; k++) {
#pragma unroll
      for (int i = 0; i < TM; i++) {
        const half2 left = __half2half2(s_a[ty * TM + i][k]);
#pragma unroll
        for (int j = 0; j < TN / 2; j++)
          r_c[i][j] = __hfma2(left, HALF2(s_b[k][tx * TN + 2 * j]), r_c[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < TM; i++)
    LDST128BITS(c[(blockIdx.y * BM + ty * TM + i) * N + blockIdx.x * BN + tx * TN]) =
        LDST128BITS(r_c[i][0]);
}

template <const int WMMA_M = 16, const int WMMA_N = 16, const int WMMA_K = 16>
__global__ void hgemm_wmma_m16n16k16_naive_kernel(half *A, half *B, half *C, int M, int N, int K) {
  const int m0 = blockIdx.y * WMMA_M, n0 = blockIdx.x * WMMA_N;
  if (m0 >= M || n0 >= N)
    return;
  wmma::fragment<wmma::accumulator, WMMA_M, WMMA_N, WMMA_K, half> sums;
  wmma::fill_fragment(sums, __float2half(0.0f));
  for (int k0 = 0; k0 < K; k0 += WMMA_K) {
    wmma::fragment<wmma::matrix_a, WMMA_M, WMMA_N, WMMA_K, half, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, WMMA_M, WMMA_N, WMMA_K, half, wmma::row_major> right;
    wmma::load_matrix_sync(left, A + m0 * K + k0, K);
    wmma::load_matrix_sync(right, B + k0 * N + n0, N);
    wmma::mma_sync(sums, left, right, sums);
    __syncthreads();
  }
  wmma::store_matrix_sync(C + m0 * N + n0, sums, N, wmma::mem_row_major);
}

// a warp per 16 x 8 of C; tiles pass through shared memory
template <const int MMA_M = 16, const int MMA_N = 8, const int MMA_K = 16>
__global__ void hgemm_mma_m16n8k16_naive_kernel(half *A, half *B, half *C, int M, int N, int K) {
  constexpr int BM = MMA_M, BN = MMA_N, BK = MMA_K;
  __shared__ half s_a[MMA_M][MMA_K];
  __shared__ half s_b[MMA_K][MMA_N];
  const int lane_id = threadIdx.x % WARP_SIZE;
  const int a_row = lane_id / 2, a_col = lane_id % 2 * 8;
  float R[4] = {0.f, 0.f, 0.f, 0.f};

  for (int k = 0; k < (K + BK - 1) / BK; ++k) {
    LDST128BITS(s_a[a_row][a_col]) =
        LDST128BITS(A[(blockIdx.y * BM + a_row) * K + k * BK + a_col]);
    if (lane_id < MMA_K)
      LDST128BITS(s_b[lane_id][0]) = LDST128BITS(B[(k * BK + lane_id) * N + blockIdx.x * BN]);
    __syncthreads();

    uint32_t RA[4], RB[2];
    uint32_t a_addr = __cvta_generic_to_shared(&s_a[lane_id % 16][(lane_id / 16) * 8]);
    LDMATRIX_X4(RA[0], RA[1], RA[2], RA[3], a_addr);
    uint32_t b_addr = __cvta_generic_to_shared(&s_b[lane_id % 16][0]);
    LDMATRIX_X2_T(RB[0], RB[1], b_addr);
    HMMA16816F32(R[0], R[1], R[2], R[3], RA[0], RA[1], RA[2], RA[3], RB[0], RB[1], R[0], R[1], R[2],
                 R[3]);
    __syncthreads();
  }
  const int row = blockIdx.y * BM + lane_id / 4, col = blockIdx.x * BN + lane_id % 4 * 2;
  half2 top = __floats2half2_rn(R[0], R[1]), bottom = __floats2half2_rn(R[2], R[3]);
  LDST32BITS(C[row * N + col]) = top;
  LDST32BITS(C[(row + 8) * N + col]) = bottom;
}

DEVICE_INLINE uint32_t to_shared(const half *p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// STAGES tiles on their way by cp.async; two warps, one above the other
template <const int STAGES = 2>
__global__ void __launch_bounds__(64)
    hgemm_mma_m16n8k16_stages_kernel(const half *A, const half *B, half *C, int M, int N, int K) {
  constexpr int BM = 32, BN = 8, BK = 16;
  __shared__ half s_a[STAGES][BM][BK];
  __shared__ half s_b[STAGES][BK][BN];
  const int tid = threadIdx.x, warp = tid / WARP_SIZE, lane = tid % WARP_SIZE;
  const int tiles = K / BK;
  float sums[4] = {};

  auto fetch = [&](int tile, int stage) {
    const int row = tid / 2, col = tid % 2 * 8;
    CP_ASYNC_CG(to_shared(&s_a[stage][row][col]),
                &A[(blockIdx.y * BM + row) * K + tile * BK + col], 16);
    if (tid < BK)
      CP_ASYNC_CG(to_shared(&s_b[stage][tid][0]), &B[(tile * BK + tid) * N + blockIdx.x * BN], 16);
  };

#pragma unroll
  for (int tile = 0; tile < STAGES - 1; ++tile) {
    if (tile < tiles)
      fetch(tile, tile);
    CP_ASYNC_COMMIT_GROUP();
  }
  for (int tile = 0; tile < tiles; ++tile) {
    const int ahead = tile + STAGES - 1;
    if (ahead < tiles)
      fetch(ahead, ahead % STAGES);
    CP_ASYNC_COMMIT_GROUP();
    CP_ASYNC_WAIT_GROUP(STAGES - 1);
    __syncthreads();
    const int stage = tile % STAGES;
    uint32_t a[4], b[2];
    LDMATRIX_X4(a[0], a[1], a[2], a[3],
                to_shared(&s_a[stage][warp * 16 + lane % 16][lane / 16 * 8]));
    LDMATRIX_X2_T(b[0], b[1], to_shared(&s_b[stage][lane % 16][0]));
    HMMA16816F32(sums[0], sums[1], sums[2], sums[3], a[0], a[1], a[2], a[3], b[0], b[1], sums[0],
                 sums[1], sums[2], sums[3]);
    __syncthreads();  // this stage is the next to be filled
  }
  const int row = blockIdx.y * BM + warp * 16 + lane / 4, col = blockIdx.x * BN + lane % 4 * 2;
  LDST32BITS(C[row * N + col]) = __floats2half2_rn(sums[0], sums[1]);
  LDST32BITS(C[(row + 8) * N + col]) = __floats2half2_rn(sums[2], sums[3]);
}

void hgemm_mma_m16n8k16_stages(torch::Tensor a, torch::Tensor b, torch::Tensor c, int stages) {
  const int M = a.size(0), K = a.size(1), N = b.size(1);
  dim3 grid(N / 8, M / 32);
  auto *pa = reinterpret_cast<half *>(a.data_ptr());
  auto *pb = reinterpret_cast<half *>(b.data_ptr());
  auto *pc = reinterpret_cast<half *>(c.data_ptr());
  if (stages == 2)
    hgemm_mma_m16n8k16_stages_kernel<2><<<grid, 64>>>(pa, pb, pc, M, N, K);
  else
    hgemm_mma_m16n8k16_stages_kernel<3><<<grid, 64>>>(pa, pb, pc, M, N, K);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("hgemm_mma_m16n8k16_stages", &hgemm_mma_m16n8k16_stages, "a @ b");
}
