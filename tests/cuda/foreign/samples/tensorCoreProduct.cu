/*
 * D = alpha A B + beta C on tensor cores: a warp per tile of 16 x 16.
 */
#include <assert.h>
#include <cuda.h>
#include <mma.h>
#include <cuda_fp16.h>
#include <helper_cuda.h>

using namespace nvcuda;

// What a compiler's option may set
#ifndef WMMA_TILE
#define WMMA_TILE 16
#endif
#define WMMA_M WMMA_TILE
#define WMMA_N WMMA_TILE
#define WMMA_K WMMA_TILE

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700
#error "tensor cores are asked for"
#endif

// a is row-major, b column-major; leading dimensions count elements
__global__ void tensorCoreProduct(half *a, half *b, float *c, float *d, int m_ld, int n_ld,
                                  int k_ld, float alpha, float beta) {
  const int lda = k_ld, ldb = k_ld, ldc = n_ld;
  // a warp along x, another block row along y
  const int warpM = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize;
  const int warpN = (blockIdx.y * blockDim.y + threadIdx.y);

  wmma::fragment<wmma::matrix_a, WMMA_M, WMMA_N, WMMA_K, half, wmma::row_major> left;
  wmma::fragment<wmma::matrix_b, WMMA_M, WMMA_N, WMMA_K, half, wmma::col_major> right;
  wmma::fragment<wmma::accumulator, WMMA_M, WMMA_N, WMMA_K, float> sum, c_frag;
  wmma::fill_fragment(sum, 0.0f);
  const int row = warpM * WMMA_M, column = warpN * WMMA_N;
  if (row >= m_ld || column >= n_ld) return;

  for (int k = 0; k < k_ld; k += WMMA_K) {
    wmma::load_matrix_sync(left, a + row * lda + k, lda);
    wmma::load_matrix_sync(right, b + k + column * ldb, ldb);
    wmma::mma_sync(sum, left, right, sum);
  }
  wmma::load_matrix_sync(c_frag, c + row * ldc + column, ldc, wmma::mem_row_major);
  for (int k = 0; k < c_frag.num_elements; ++k) {
    c_frag.x[k] = alpha * sum.x[k] + beta * c_frag.x[k];
  }
  wmma::store_matrix_sync(d + row * ldc + column, c_frag, ldc, wmma::mem_row_major);
}

void productOnTensorCores(half *a, half *b, float *c, float *d, int m, int n, int k) {
  assert(((unsigned long long)a) % 128 == 0);
  const dim3 threads(2 * 32, 2);
  const dim3 grid((m + 2 * WMMA_M - 1) / (2 * WMMA_M), (n + 2 * WMMA_N - 1) / (2 * WMMA_N));
  tensorCoreProduct<<<grid, threads>>>(a, b, c, d, m, n, k, 1.1f, 1.2f);
  getLastCudaError("tensorCoreProduct");
}
