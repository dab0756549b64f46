// What surrounds the big product: matrix times vector, batches, split K, symmetric updates.
#include <cstdint>
#include <cstdio>
#include <cuda_runtime.h>
#include <iostream>
#include <random>
#include <vector>

using real = float;
typedef unsigned int index_t;
static constexpr int kWarp = 32;
static const unsigned kFullMask = 0xffffffffu;

enum Transpose { kNo = 0, kYes = 1 };

struct Strides {
  long long a;
  long long b;
  long long c;
};

template <typename T>
static __device__ __forceinline__ T warpReduceSum(T value) {
#pragma unroll
  for (int offset = kWarp >> 1; offset > 0; offset >>= 1)
    value += __shfl_down_sync(kFullMask, value, offset);
  return value;
}

// a warp per row
__global__ void gemv_warp(const real *__restrict__ A, const real *__restrict__ x,
                          real *__restrict__ y, index_t rows, index_t cols) {
  const index_t row = (blockIdx.x * blockDim.x + threadIdx.x) / kWarp;
  const index_t lane = threadIdx.x % kWarp;
  if (row >= rows)
    return;
  real sum = 0;
  for (index_t col = lane; col < cols; col += kWarp)
    sum += A[static_cast<size_t>(row) * cols + col] * x[col];
  sum = warpReduceSum(sum);
  if (lane == 0)
    y[row] = sum;
}

// a block per row, the warps' sums meet in shared memory
template <typename T, int BLOCK>
__global__ void gemv_block(const T *A, const T *x, T *y, int cols) {
  static_assert(BLOCK % kWarp == 0, "whole warps");
  __shared__ T partial[BLOCK / kWarp];
  T sum = T(0);
  for (int col = threadIdx.x; col < cols; col += BLOCK)
    sum += A[(size_t)blockIdx.x * cols + col] * x[col];
  sum = warpReduceSum(sum);
  if (threadIdx.x % kWarp == 0)
    partial[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x < kWarp) {
    sum = threadIdx.x < BLOCK / kWarp ? partial[threadIdx.x] : T(0);
    sum = warpReduceSum(sum);
    if (threadIdx.x == 0)
      y[blockIdx.x] = sum;
  }
}

// y = A^T x: the columns go to threads, rows to blocks, the sums are atomic
__global__ void gemv_transposed(const float *A, const float *x, float *y,
                                const int64_t rows, const int64_t cols,
                                const int rows_per_block) {
  extern __shared__ float chunk[];
  const int64_t first = (int64_t)blockIdx.y * rows_per_block;
  for (int i = threadIdx.x; i < rows_per_block; i += blockDim.x)
    chunk[i] = first + i < rows ? x[first + i] : 0.0f;
  __syncthreads();
  const int64_t col = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (col >= cols)
    return;
  float sum = 0.0f;
  for (int i = 0; i < rows_per_block && first + i < rows; ++i)
    sum += A[(first + i) * cols + col] * chunk[i];
  atomicAdd(&y[col], sum);
}

// one matrix of the batch per block in z; strides in elements, as in cuBLAS
template <int TILE = 16>
__global__ void gemm_strided_batched(int m, int n, int k, const float *a, const float *b,
                                     float *c, Strides stride, Transpose transpose_b) {
  __shared__ float ta[TILE][TILE + 1];
  __shared__ float tb[TILE][TILE + 1];
  a += blockIdx.z * stride.a;
  b += blockIdx.z * stride.b;
  c += blockIdx.z * stride.c;
  const int row = blockIdx.y * TILE + threadIdx.y;
  const int col = blockIdx.x * TILE + threadIdx.x;
  float sum = 0.0f;
  for (int t = 0; t < k; t += TILE) {
    const int ka = t + threadIdx.x, kb = t + threadIdx.y;
    ta[threadIdx.y][threadIdx.x] = row < m && ka < k ? a[row * k + ka] : 0.0f;
    if (transpose_b == kYes)
      tb[threadIdx.y][threadIdx.x] = col < n && kb < k ? b[col * k + kb] : 0.0f;
    else
      tb[threadIdx.y][threadIdx.x] = col < n && kb < k ? b[kb * n + col] : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILE; ++i)
      sum = fmaf(ta[threadIdx.y][i], tb[i][threadIdx.x], sum);
    __syncthreads();
  }
  if (row < m && col < n)
    c[row * n + col] = sum;
}

// K is cut among blocks in z
__global__ void gemm_split_k(const float *A, const float *B, float *C, int M, int N, int K) {
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  const int col = blockIdx.x * blockDim.x + threadIdx.x;
  const int chunk = (K + gridDim.z - 1) / gridDim.z;
  const int begin = blockIdx.z * chunk;
  const int end = min(K, begin + chunk);
  if (row < M && col < N) {
    float sum = 0.f;
    for (int k = begin; k < end; ++k)
      sum += A[row * K + k] * B[k * N + col];
    atomicAdd(C + row * N + col, sum);
  }
}

// lower triangle of C = A A^T; blocks above the diagonal have nothing to do
__global__ void syrk_lower(int n, int k, double alpha, const double *A, double *C) {
  constexpr int T = 8;
  if (blockIdx.x > blockIdx.y)
    return;
  __shared__ double left[T][T], right[T][T];
  int i = blockIdx.y * T + threadIdx.y, j = blockIdx.x * T + threadIdx.x;
  int other = blockIdx.x * T + threadIdx.y;
  double sum = 0;
  for (int p = 0; p < k; p += T) {
    int q = p + threadIdx.x;
    left[threadIdx.y][threadIdx.x] = i < n && q < k ? A[i * k + q] : 0.0;
    right[threadIdx.y][threadIdx.x] = other < n && q < k ? A[other * k + q] : 0.0;
    __syncthreads();
    for (int t = 0; t < T; ++t)
      sum += left[threadIdx.y][t] * right[threadIdx.x][t];
    __syncthreads();
  }
  if (i < n && j <= i)
    C[i * n + j] = alpha * sum;
}

static void reference_gemv(const std::vector<float> &A, const std::vector<float> &x,
                           std::vector<float> &y) {
  const size_t cols = x.size();
  for (size_t row = 0; row < y.size(); ++row) {
    y[row] = 0;
    for (size_t col = 0; col < cols; ++col)
      y[row] += A[row * cols + col] * x[col];
  }
}

int main() {
  std::mt19937 engine(7);
  std::uniform_real_distribution<float> uniform(-1.f, 1.f);
  std::vector<float> A(100 * 64), x(64), y(100);
  for (auto &value : A)
    value = uniform(engine);
  for (auto &value : x)
    value = uniform(engine);
  reference_gemv(A, x, y);
  float *dA, *dx, *dy;
  cudaMalloc(&dA, A.size() * sizeof(float));
  cudaMalloc(&dx, x.size() * sizeof(float));
  cudaMalloc(&dy, y.size() * sizeof(float));
  cudaMemcpy(dA, A.data(), A.size() * sizeof(float), cudaMemcpyHostToDevice);
  cudaMemcpy(dx, x.data(), x.size() * sizeof(float), cudaMemcpyHostToDevice);
  gemv_warp<<<25, 128>>>(dA, dx, dy, 100, 64);
  gemv_block<float, 128><<<100, 128>>>(dA, dx, dy, 64);
  std::vector<float> got(100);
  cudaMemcpy(got.data(), dy, got.size() * sizeof(float), cudaMemcpyDeviceToHost);
  for (int i = 0; i < 100; ++i)
    if (std::abs(got[i] - y[i]) > 1e-3f)
      std::cout << i << ": " << got[i] << " != " << y[i] << std::endl;
  return 0;
}
