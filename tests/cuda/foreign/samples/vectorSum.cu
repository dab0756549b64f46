/*
 * The smallest complete program: allocate, copy, launch, copy back, compare.
 */
#include <stdio.h>
#include <stdlib.h>
#include <cuda_runtime.h>
#include <helper_cuda.h>

/**
 * One thread per element; the last block reaches past the end.
 */
__global__ void vectorSum(const float *left, const float *right, float *total,
                          int count) {
  const int me = blockDim.x * blockIdx.x + threadIdx.x;

  if (me < count) {
    total[me] = left[me] + right[me];
  }
}

/**
 * y = alpha x + y in strides of the whole grid.
 */
__global__ void vectorAccumulate(float alpha, const float *__restrict__ x,
                                 float *__restrict__ y, size_t count) {
  const size_t step = size_t(gridDim.x) * blockDim.x;
  for (size_t at = size_t(blockIdx.x) * blockDim.x + threadIdx.x; at < count; at += step) {
    y[at] = fmaf(alpha, x[at], y[at]);
  }
}

/**
 * Four numbers at a time, and a tail of single ones that the first block takes.
 */
__global__ void vectorSum4(const float4 *left, const float4 *right, float4 *total, int count) {
  const int quads = count / 4;
  for (int q = blockIdx.x * blockDim.x + threadIdx.x; q < quads; q += gridDim.x * blockDim.x) {
    const float4 p = left[q], s = right[q];
    total[q] = make_float4(p.x + s.x, p.y + s.y, p.z + s.z, p.w + s.w);
  }
  const int rest = count % 4;
  if (blockIdx.x == 0 && threadIdx.x < rest) {
    const int last = 4 * quads + threadIdx.x;
    ((float *)total)[last] = ((const float *)left)[last] + ((const float *)right)[last];
  }
}

int main(void) {
  const int count = 12345;
  const size_t bytes = count * sizeof(float);
  float *host[3], *device[3];
  for (int k = 0; k < 3; ++k) {
    host[k] = (float *)malloc(bytes);
    if (!host[k]) {
      fprintf(stderr, "no memory for %d numbers\n", count);
      return EXIT_FAILURE;
    }
    checkCudaErrors(cudaMalloc((void **)&device[k], bytes));
  }
  for (int i = 0; i < count; ++i) {
    host[0][i] = (float)i;
    host[1][i] = 1.0f / (i + 1);
  }
  checkCudaErrors(cudaMemcpy(device[0], host[0], bytes, cudaMemcpyHostToDevice));
  checkCudaErrors(cudaMemcpy(device[1], host[1], bytes, cudaMemcpyHostToDevice));
  vectorSum<<<(count + 255) / 256, 256>>>(device[0], device[1], device[2], count);
  vectorAccumulate<<<8, 256>>>(0.5f, device[0], device[2], (size_t)count);
  checkCudaErrors(cudaMemcpy(host[2], device[2], bytes, cudaMemcpyDeviceToHost));
  int wrong = 0;
  for (int i = 0; i < count; ++i) wrong += host[2][i] != 1.5f * host[0][i] + host[1][i];
  printf("%s: %d of %d differ\n", wrong ? "FAILED" : "PASSED", wrong, count);
  return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
