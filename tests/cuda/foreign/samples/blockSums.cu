/*
 * Launches one of the sums of blockSums_kernel.cuh, and adds up what it leaves.
 */
#include <cuda_runtime.h>
#include <helper_cuda.h>
#include <algorithm>
#include <vector>

#include "blockSums_kernel.cuh"

/* One block adds up what the others left, in an order of its own. */
template <class T>
__global__ void sumOfSums(const T *sums, T *total, unsigned int count) {
  T *part = DynamicShared<T>();
  T mine = T(0);
  for (unsigned int at = threadIdx.x; at < count; at += blockDim.x) mine += sums[at];
  mine = sumOfWarp(0xffffffffu, mine);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = mine;
  __syncthreads();  // every warp has left its part
  if (threadIdx.x == 0) {
    for (unsigned int warp = 1; warp < blockDim.x / 32; ++warp) mine += part[warp];
    *total = mine;
  }
}

static bool isPow2(unsigned int x) { return x && !(x & (x - 1)); }

template <class T>
T sumOnDevice(const std::vector<T> &numbers, int method) {
  const unsigned int count = numbers.size(), threads = 128;
  const unsigned int blocks = std::max(1u, count / (2 * threads));
  const size_t shared = threads * sizeof(T);
  T *input, *sums, total;
  checkCudaErrors(cudaMalloc(&input, count * sizeof(T)));
  checkCudaErrors(cudaMalloc(&sums, (blocks + 1) * sizeof(T)));
  checkCudaErrors(cudaMemcpy(input, numbers.data(), count * sizeof(T), cudaMemcpyHostToDevice));
  switch (method) {
    case 0:
      sumByHalves<T><<<blocks, threads, shared>>>(input, sums, count);
      break;
    case 1:
      sumByTiles<T, threads><<<blocks, threads, shared>>>(input, sums, count);
      break;
    default:
      if (isPow2(count))
        sumByWarps<T, threads, true><<<blocks, threads, shared>>>(input, sums, count);
      else
        sumByWarps<T, threads, false><<<blocks, threads, shared>>>(input, sums, count);
  }
  sumOfSums<T><<<1, threads, shared>>>(sums, sums + blocks, blocks);
  checkCudaErrors(cudaMemcpy(&total, sums + blocks, sizeof(T), cudaMemcpyDeviceToHost));
  return total;
}

template int sumOnDevice<int>(const std::vector<int> &, int);
template double sumOnDevice<double>(const std::vector<double> &, int);
