// C = A B in halves, from one result per thread to pipelines of mma.sync.
#include <algorithm>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>
#include <torch/extension.h>

using namespace nvcuda;

#define WARP_SIZE 32
#define HALF2(v) (*reinterpret_cast<half2 *>(&(v)))
#define PAIR(v) (*reinterpret_cast<half2 *>(&(v)))
#define LDST128BITS(v) (*reinterpret_cast<float4 *>(&(v)))
#define DEVICE_INLINE static __device__ __forceinline__

#define CP_ASYNC_COMMIT() asm volatile("cp.async.commit_group;\n" ::: "memory")
#define CP_ASYNC_WAIT(n) asm volatile("cp.async.wait_group %0;\n" ::"n"(n))
#define CP_ASYNC_16(dst, src, bytes)                                           \
  asm volatile("cp.async.cg.shared.global [%0], [%1], %2;\n" ::"r"(dst), "l"(src), "n"(bytes))
#define LDSM_X2_T(d0, d1, addr)                                            \
  asm volatile("ldmatrix.sync.aligned.x2.trans.m8n8.shared.b16 {%0, %1}, [%2];\n" \
               : "=r"(d0), "=r"(d1)                                            \
               : "r"(addr))
#define LDSM_X4(d0, d1, d2, d3, addr)                                      \
  asm volatile("ldmatrix.sync.aligned.x4.m8n8.shared.b16 {%0,%1,%2,%3}, [%4];" \
               : "=r"(d0), "=r"(d1), "=r"(d2), "=r"(d3)                        \
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

template <const int TILE_M = 32, const int TILE_N = 32, const int TILE_K = 32>
__global__ void hgemm_sliced_k_f16_kernel(half *a, half *b, half *c, int M, int N, int K) {
  __shared__ half tile_a[TILE_M][TILE_K], tile_b[TILE_K][TILE_N];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int m = blockIdx.y * TILE_M + ty, n = blockIdx.x * TILE_N + tx;
  if (m >= M || n >= N)
    return;  // M and N are multiples of the tile: all threads of a block or none
  float sum = 0.f;
  for (int step = 0; step < (K + TILE_K - 1) / TILE_K; ++step) {
    tile_a[ty][tx] = a[m * K + step * TILE_K + tx];
    tile_b[ty][tx] = b[(step * TILE_K + ty) * N + n];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE_K; ++k)
      sum += __half2float(tile_a[ty][k]) * __half2float(tile_b[k][tx]);
    __syncthreads();
  }
  c[m * N + n] = __float2half(sum);
}

// 8 x 8 results per thread, halves in packs of eight
template <const int TILE_M = 64, const int TILE_N = 64, const int TILE_K = 8, const int TM = 8, const int TN = 8>
__global__ void hgemm_t_8x8_sliced_k_f16x8_pack_kernel(half *a, half *b, half *c, const int M,
                                                       const int N, const int K) {
  __shared__ half tile_a[TILE_M][TILE_K];
  __shared__ half tile_b[TILE_K][TILE_N];
  constexpr int THREADS = TILE_M / TM * (TILE_N / TN);
  const int tx = threadIdx.x, ty = threadIdx.y, tid = ty * blockDim.x + tx;
  half2 r_c[TM][TN / 2];
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN / 2; j++)
      r_c[i][j] = __float2half2_rn(0.f);

  for (int k0 = 0; k0 < K; k0 += TILE_K) {
    for (int i = tid; i < TILE_M * TILE_K / 8; i += THREADS)
      LDST128BITS(tile_a[i][0]) = LDST128BITS(a[(blockIdx.y * TILE_M + i) * K + k0]);
    for (int i = tid; i < TILE_K * TILE_N / 8; i += THREADS) {
      const int row = i / (TILE_N / 8), col = i % (TILE_N / 8) * 8;
      LDST128BITS(tile_b[row][col]) = LDST128BITS(b[(k0 + row) * N + blockIdx.x * TILE_N + col]);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE_K; k++) {
#pragma unroll
      for (int i = 0; i < TM; i++) {
        const half2 left = __half2half2(tile_a[ty * TM + i][k]);
#pragma unroll
        for (int j = 0; j < TN / 2; j++)
          r_c[i][j] = __hfma2(left, HALF2(tile_b[k][tx * TN + 2 * j]), r_c[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < TM; i++)
    LDST128BITS(c[(blockIdx.y * TILE_M + ty * TM + i) * N + blockIdx.x * TILE_N + tx * TN]) =
        LDST128BITS(r_c[i][0]);
}

template <const int FRAG_M = 16, const int FRAG_N = 16, const int FRAG_K = 16>
__global__ void hgemm_wmma_m16n16k16_naive_kernel(half *A, half *B, half *C, int M, int N, int K) {
  const int m0 = blockIdx.y * FRAG_M, n0 = blockIdx.x * FRAG_N;
  if (m0 >= M || n0 >= N)
    return;
  wmma::fragment<wmma::accumulator, FRAG_M, FRAG_N, FRAG_K, half> sums;
  wmma::fill_fragment(sums, __float2half(0.0f));
  for (int k0 = 0; k0 < K; k0 += FRAG_K) {
    wmma::fragment<wmma::matrix_a, FRAG_M, FRAG_N, FRAG_K, half, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, FRAG_M, FRAG_N, FRAG_K, half, wmma::row_major> right;
    wmma::load_matrix_sync(left, A + m0 * K + k0, K);
    wmma::load_matrix_sync(right, B + k0 * N + n0, N);
    wmma::mma_sync(sums, left, right, sums);
    __syncthreads();
  }
  wmma::store_matrix_sync(C + m0 * N + n0, sums, N, wmma::mem_row_major);
}

// a warp per 16 x 8 of C; tiles pass through shared memory
template <const int FRAG_M = 16, const int FRAG_N = 8, const int FRAG_K = 16>
__global__ void hgemm_mma_m16n8k16_naive_kernel(half *A, half *B, half *C, int M, int N, int K) {
  constexpr int TILE_M = FRAG_M, TILE_N = FRAG_N, TILE_K = FRAG_K;
  __shared__ half tile_a[FRAG_M][FRAG_K];
  __shared__ half tile_b[FRAG_K][FRAG_N];
  const int lane = threadIdx.x % WARP_SIZE;
  const int a_row = lane / 2, a_col = lane % 2 * 8;
  float R[4] = {0.f, 0.f, 0.f, 0.f};

  for (int k = 0; k < (K + TILE_K - 1) / TILE_K; ++k) {
    LDST128BITS(tile_a[a_row][a_col]) =
        LDST128BITS(A[(blockIdx.y * TILE_M + a_row) * K + k * TILE_K + a_col]);
    if (lane < FRAG_K)
      LDST128BITS(tile_b[lane][0]) = LDST128BITS(B[(k * TILE_K + lane) * N + blockIdx.x * TILE_N]);
    __syncthreads();

    uint32_t RA[4], RB[2];
    uint32_t a_addr = __cvta_generic_to_shared(&tile_a[lane % 16][(lane / 16) * 8]);
    LDSM_X4(RA[0], RA[1], RA[2], RA[3], a_addr);
    uint32_t b_addr = __cvta_generic_to_shared(&tile_b[lane % 16][0]);
    LDSM_X2_T(RB[0], RB[1], b_addr);
    HMMA16816F32(R[0], R[1], R[2], R[3], RA[0], RA[1], RA[2], RA[3], RB[0], RB[1], R[0], R[1], R[2],
                 R[3]);
    __syncthreads();
  }
  const int row = blockIdx.y * TILE_M + lane / 4, col = blockIdx.x * TILE_N + lane % 4 * 2;
  half2 top = __floats2half2_rn(R[0], R[1]), bottom = __floats2half2_rn(R[2], R[3]);
  PAIR(C[row * N + col]) = top;
  PAIR(C[(row + 8) * N + col]) = bottom;
}

DEVICE_INLINE uint32_t to_shared(const half *p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// STAGES tiles on their way by cp.async; two warps, one above the other
template <const int STAGES = 2>
__global__ void __launch_bounds__(64)
    hgemm_mma_m16n8k16_stages_kernel(const half *A, const half *B, half *C, int M, int N, int K) {
  constexpr int TILE_M = 32, TILE_N = 8, TILE_K = 16;
  __shared__ half tile_a[STAGES][TILE_M][TILE_K];
  __shared__ half tile_b[STAGES][TILE_K][TILE_N];
  const int tid = threadIdx.x, warp = tid / WARP_SIZE, lane = tid % WARP_SIZE;
  const int tiles = K / TILE_K;
  float sums[4] = {};

  auto fetch = [&](int tile, int stage) {
    const int row = tid / 2, col = tid % 2 * 8;
    CP_ASYNC_16(to_shared(&tile_a[stage][row][col]),
                &A[(blockIdx.y * TILE_M + row) * K + tile * TILE_K + col], 16);
    if (tid < TILE_K)
      CP_ASYNC_16(to_shared(&tile_b[stage][tid][0]), &B[(tile * TILE_K + tid) * N + blockIdx.x * TILE_N], 16);
  };

#pragma unroll
  for (int tile = 0; tile < STAGES - 1; ++tile) {
    if (tile < tiles)
      fetch(tile, tile);
    CP_ASYNC_COMMIT();
  }
  for (int tile = 0; tile < tiles; ++tile) {
    const int ahead = tile + STAGES - 1;
    if (ahead < tiles)
      fetch(ahead, ahead % STAGES);
    CP_ASYNC_COMMIT();
    CP_ASYNC_WAIT(STAGES - 1);
    __syncthreads();
    const int stage = tile % STAGES;
    uint32_t a[4], b[2];
    LDSM_X4(a[0], a[1], a[2], a[3],
                to_shared(&tile_a[stage][warp * 16 + lane % 16][lane / 16 * 8]));
    LDSM_X2_T(b[0], b[1], to_shared(&tile_b[stage][lane % 16][0]));
    HMMA16816F32(sums[0], sums[1], sums[2], sums[3], a[0], a[1], a[2], a[3], b[0], b[1], sums[0],
                 sums[1], sums[2], sums[3]);
    __syncthreads();  // this stage is the next to be filled
  }
  const int row = blockIdx.y * TILE_M + warp * 16 + lane / 4, col = blockIdx.x * TILE_N + lane % 4 * 2;
  PAIR(C[row * N + col]) = __floats2half2_rn(sums[0], sums[1]);
  PAIR(C[(row + 8) * N + col]) = __floats2half2_rn(sums[2], sums[3]);
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

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("hgemm_mma_m16n8k16_stages", &hgemm_mma_m16n8k16_stages, "a @ b");
}
