/*
 * Atomic operations: all of them, aggregated over warps, and a sum in one pass.
 */
#include <stdio.h>
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <helper_cuda.h>

namespace cg = cooperative_groups;

extern "C" __global__ void everyAtomic(int *out) {
  const int me = blockDim.x * blockIdx.x + threadIdx.x;
  atomicAdd(&out[0], 10);
  atomicSub(&out[1], 10);
  atomicMax(&out[2], me);
  atomicMin(&out[3], me);
  atomicInc((unsigned int *)&out[4], 17);
  atomicDec((unsigned int *)&out[5], 137);
  atomicAnd(&out[6], 2 * me + 7);
  atomicOr(&out[7], 1 << (me & 31));
  atomicXor(&out[8], me);
  if (me == 3) atomicExch(&out[9], me);
  atomicCAS(&out[10], 0, 7);
}

// One addition per warp: the first of the lanes that came makes it for all of them
__device__ int addAggregated(int *counter) {
  const unsigned came = __activemask();
  const unsigned lane = threadIdx.x & 31;
  const int leader = __ffs(came) - 1;
  int base = 0;
  if (lane == leader) base = atomicAdd(counter, __popc(came));
  base = __shfl_sync(came, base, leader);
  return base + __popc(came & ((1u << lane) - 1));
}

__global__ void keepPositive(int *kept, int *count, const int *from, int n) {
  for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < n; at += gridDim.x * blockDim.x)
    if (from[at] > 0) kept[addAggregated(count)] = from[at];
}

__global__ void countBuckets(const int *bucketOf, int *sizes, int n) {
  cg::thread_block_tile<32> warp = cg::tiled_partition<32>(cg::this_thread_block());
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned alive = warp.ballot(at < n);
  if (at < n) {
    const int bucket = bucketOf[at];
    const unsigned same = __match_any_sync(alive, bucket);
    if (warp.thread_rank() == __ffs(same) - 1) atomicAdd(sizes + bucket, __popc(same));
  }
}

// How many blocks have left their sums; the last one comes to add them up
__device__ unsigned int blocksDone = 0;

__device__ float sumOfBlock(volatile float *part, float mine) {
  part[threadIdx.x] = mine;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] = part[threadIdx.x] + part[threadIdx.x + half];
    __syncthreads();
  }
  const float sum = part[0];
  __syncthreads();  // the buffer may be used again
  return sum;
}

template <unsigned int blockSize, bool nIsPow2>
__global__ void sumInOnePass(const float *numbers, volatile float *sums, unsigned int n) {
  __shared__ float part[blockSize];
  __shared__ bool amLast;
  float mine = 0;
  unsigned int at = blockIdx.x * (blockSize * 2) + threadIdx.x;
  for (; at < n; at += blockSize * 2 * gridDim.x) {
    mine += numbers[at];
    if (nIsPow2 || at + blockSize < n) mine += numbers[at + blockSize];
  }
  mine = sumOfBlock(part, mine);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = mine;
    __threadfence();  // the sum is seen before the ticket
    const unsigned int ticket = atomicInc(&blocksDone, gridDim.x);
    amLast = ticket + 1 == gridDim.x;
  }
  __syncthreads();

  if (amLast) {
    float rest = 0;
    for (unsigned int block = threadIdx.x; block < gridDim.x; block += blockSize)
      rest += sums[block];
    rest = sumOfBlock(part, rest);
    if (threadIdx.x == 0) {
      sums[0] = rest;
      blocksDone = 0;  // for the next launch
    }
  }
}

int main(int argc, char **argv) {
  int *out;
  checkCudaErrors(cudaMallocManaged(&out, 11 * sizeof(int)));
  everyAtomic<<<64, 256>>>(out);
  checkCudaErrors(cudaDeviceSynchronize());
  for (int i = 0; i < 11; ++i) printf("%d ", out[i]);
  float *numbers, *sums;
  const unsigned n = 1 << 12;
  checkCudaErrors(cudaMallocManaged(&numbers, n * sizeof(float)));
  checkCudaErrors(cudaMallocManaged(&sums, 16 * sizeof(float)));
  for (unsigned i = 0; i < n; ++i) numbers[i] = 1;
  sumInOnePass<128, true><<<16, 128>>>(numbers, sums, n);
  checkCudaErrors(cudaDeviceSynchronize());
  printf("\n%f of %u\n", sums[0], n);
  return 0;
}
