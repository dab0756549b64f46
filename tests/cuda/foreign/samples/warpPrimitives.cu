/*
 * What the lanes of a warp can do together: shuffles, votes, lane numbers in PTX.
 */
#include <stdio.h>
#include <cuda_runtime.h>
#include <helper_cuda.h>

#define FULL 0xffffffff

// Inclusive sums of rows as long as the block; `width` lanes exchange at a time
__global__ void shuffleScan(int *data, int width, int *blockTotals = NULL) {
  extern __shared__ int ofWarps[];
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  const int lane = at % warpSize, warp = threadIdx.x / warpSize;
  int value = data[at];

#pragma unroll
  for (int back = 1; back <= width; back *= 2) {
    const int before = __shfl_up_sync(FULL, value, back, width);
    if (lane >= back) value += before;
  }
  if (lane == warpSize - 1) ofWarps[warp] = value;
  __syncthreads();  // each warp has left its sum

  if (warp == 0 && lane < (blockDim.x / warpSize)) {
    const int mask = (1 << (blockDim.x / warpSize)) - 1;
    int sum = ofWarps[lane];
    for (int back = 1; back <= width; back *= 2) {
      const int before = __shfl_up_sync(mask, sum, back, width);
      if (lane >= back) sum += before;
    }
    ofWarps[lane] = sum;
  }
  __syncthreads();  // sums of warps are bases

  if (warp > 0) value += ofWarps[warp - 1];
  data[at] = value;
  if (blockTotals != NULL && threadIdx.x == blockDim.x - 1) blockTotals[blockIdx.x] = value;
}

__global__ void addTotals(int *data, int *totals, int length) {
  __shared__ int base;
  const int at = __mul24(blockIdx.x, blockDim.x) + threadIdx.x;
  if (threadIdx.x == 0) base = totals[blockIdx.x];
  __syncthreads();
  if (at < length) data[at] += base;
}

__global__ void anyOfWarp(unsigned int *input, unsigned int *result, int count) {
  const int tx = threadIdx.x;
  result[tx] = __any_sync(FULL, input[tx]);
  (void)count;
}

__global__ void allOfWarp(unsigned int *input, unsigned int *result, int count) {
  const int tx = threadIdx.x;
  if (tx < count) result[tx] = __all_sync(__activemask(), input[tx]);
}

// Each thread writes three flags in a row
__global__ void votesAround(bool *info, int warp_size) {
  const int tx = threadIdx.x;
  bool *at = info + 3 * tx;
  *at = __any_sync(FULL, tx >= (warp_size * 3) / 2);
  *(at + 1) = tx >= (warp_size * 3) / 2;
  if (__all_sync(FULL, tx >= (warp_size * 3) / 2)) *(at + 2) = true;
}

__device__ __forceinline__ unsigned laneNumber() {
  unsigned lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

__global__ void laneNumbers(int *lanes, int length) {
  const int at = threadIdx.x;
  if (at < length) {
    lanes[at] = laneNumber();
  }
}

// Each row of 2^k lanes ends with its sum in every lane
__global__ void butterflySums(double *values, int rowLength) {
  double sum = values[threadIdx.x];
  for (int partner = rowLength / 2; partner > 0; partner /= 2)
    sum += __shfl_xor_sync(FULL, sum, partner);
  values[threadIdx.x] = sum;
}

int main() {
  int *lanes;
  checkCudaErrors(cudaMallocManaged(&lanes, 64 * sizeof(int)));
  laneNumbers<<<1, 64>>>(lanes, 64);
  checkCudaErrors(cudaDeviceSynchronize());
  for (int i = 0; i < 64; i++) printf("%d%c", lanes[i], i % 32 == 31 ? '\n' : ' ');
  shuffleScan<<<1, 64, 2 * sizeof(int)>>>(lanes, 32);
  checkCudaErrors(cudaDeviceSynchronize());
  printf("sum %d\n", lanes[63]);
  return cudaFree(lanes);
}
