#ifndef WALSH_TRANSFORM_KERNEL_CUH
#define WALSH_TRANSFORM_KERNEL_CUH
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

/* Rows of 2^log2N elements that fit into shared memory: radix 4, and a step of radix 2
   where log2N is odd. */
__global__ void walshRows(float *d_Out, float *d_In, int log2N) {
  cg::thread_block cta = cg::this_thread_block();
  extern __shared__ float row[];
  const int N = 1 << log2N;
  const float *from = d_In + (blockIdx.x << log2N);
  float *to = d_Out + (blockIdx.x << log2N);
  for (int k = threadIdx.x; k < N; k += blockDim.x) row[k] = from[k];

  int gap = N >> 2;
  const int quarter = threadIdx.x;
  for (; gap > 0; gap >>= 2) {
    const int low = quarter & (gap - 1);
    const int k0 = ((quarter - low) << 2) + low, k1 = k0 + gap, k2 = k1 + gap, k3 = k2 + gap;
    cg::sync(cta);
    const float even = row[k0] + row[k2], evenLess = row[k0] - row[k2];
    const float odd = row[k1] + row[k3], oddLess = row[k1] - row[k3];
    row[k0] = even + odd;
    row[k1] = even - odd;
    row[k2] = evenLess + oddLess;
    row[k3] = evenLess - oddLess;
  }
  if (log2N & 1) {
    cg::sync(cta);
    for (int pair = threadIdx.x; pair < N / 2; pair += blockDim.x) {
      const float a = row[2 * pair], b = row[2 * pair + 1];
      row[2 * pair] = a + b;
      row[2 * pair + 1] = a - b;
    }
  }
  cg::sync(cta);  // the row is transformed
  for (int k = threadIdx.x; k < N; k += blockDim.x) to[k] = row[k];
}

/* One step of radix 4 in global memory; a row per blockIdx.y */
__global__ void walshStep(float *d_Out, float *d_In, int gap) {
  const int quarter = blockIdx.x * blockDim.x + threadIdx.x;
  const int N = 4 * blockDim.x * gridDim.x;
  const float *from = d_In + blockIdx.y * N;
  float *to = d_Out + blockIdx.y * N;
  const int low = quarter & (gap - 1);
  const int first = 4 * (quarter - low) + low;
  float v[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) v[k] = from[first + k * gap];
  to[first] = v[0] + v[1] + v[2] + v[3];
  to[first + gap] = v[0] - v[1] + v[2] - v[3];
  to[first + 2 * gap] = v[0] + v[1] - v[2] - v[3];
  to[first + 3 * gap] = v[0] - v[1] - v[2] + v[3];
}

__global__ void multiplySpectra(float *d_A, const float *d_B, int N) {
  const int threads = blockDim.x * gridDim.x;
  const float scale = 1.0f / (float)N;
  for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < N; k += threads) d_A[k] *= d_B[k] * scale;
}
#endif
