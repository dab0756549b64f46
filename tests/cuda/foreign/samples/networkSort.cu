/*
 * Sorting networks of keys with values: bitonic and odd-even merging.
 */
#include <cooperative_groups.h>
#include <helper_cuda.h>
#include "networkSort_common.cuh"

namespace cg = cooperative_groups;

// A block sorts LOCAL_KEYS keys, every other block the other way round
__global__ void bitonicLocal(uint *toKeys, uint *toValues, const uint *fromKeys,
                             const uint *fromValues, uint ascending) {
  __shared__ uint keys[LOCAL_KEYS];
  __shared__ uint values[LOCAL_KEYS];
  cg::thread_block cta = cg::this_thread_block();
  const uint base = UMUL(blockIdx.x, LOCAL_KEYS);
  for (uint k = threadIdx.x; k < LOCAL_KEYS; k += blockDim.x) {
    keys[k] = fromKeys[base + k];
    values[k] = fromValues[base + k];
  }
  const uint up = ascending ^ (blockIdx.x & 1);

  for (uint run = 2; run <= LOCAL_KEYS; run *= 2) {
    const uint way = run < LOCAL_KEYS ? up ^ ((threadIdx.x / (run / 2)) & 1) : up;
    for (uint gap = run / 2; gap > 0; gap /= 2) {
      cg::sync(cta);
      const uint low = lowerOf(threadIdx.x, gap);
      orderPair(keys[low], values[low], keys[low + gap], values[low + gap], way);
    }
  }
  cg::sync(cta);  // sorted

  for (uint k = threadIdx.x; k < LOCAL_KEYS; k += blockDim.x) {
    toKeys[base + k] = keys[k];
    toValues[base + k] = values[k];
  }
}

// One step of a merge whose pairs lie too far apart for a block
__global__ void bitonicStep(uint *keys, uint *values, uint run, uint gap, uint ascending) {
  const uint pair = UMAD(blockIdx.x, blockDim.x, threadIdx.x);
  const uint way = ascending ^ ((pair / (run / 2)) & 1);
  const uint low = lowerOf(pair, gap), high = low + gap;
  uint key[2] = {keys[low], keys[high]}, value[2] = {values[low], values[high]};
  orderPair(key[0], value[0], key[1], value[1], way);
  keys[low] = key[0];
  keys[high] = key[1];
  values[low] = value[0];
  values[high] = value[1];
}

__global__ void oddEvenLocal(uint *toKeys, uint *toValues, const uint *fromKeys,
                             const uint *fromValues, uint ascending) {
  __shared__ uint keys[LOCAL_KEYS], values[LOCAL_KEYS];
  const uint base = blockIdx.x * LOCAL_KEYS, half = LOCAL_KEYS / 2;
  keys[threadIdx.x] = fromKeys[base + threadIdx.x];
  keys[threadIdx.x + half] = fromKeys[base + threadIdx.x + half];
  values[threadIdx.x] = fromValues[base + threadIdx.x];
  values[threadIdx.x + half] = fromValues[base + threadIdx.x + half];

  for (uint run = 2; run <= LOCAL_KEYS; run <<= 1) {
    const uint inRun = threadIdx.x & (run / 2 - 1);
    for (uint gap = run / 2; gap; gap >>= 1) {
      __syncthreads();
      const uint low = lowerOf(threadIdx.x, gap);
      if (gap == run / 2)
        orderPair(keys[low], values[low], keys[low + gap], values[low + gap], ascending);
      else if (inRun >= gap)
        orderPair(keys[low - gap], values[low - gap], keys[low], values[low], ascending);
    }
  }
  __syncthreads();
  toKeys[base + threadIdx.x] = keys[threadIdx.x];
  toKeys[base + threadIdx.x + half] = keys[threadIdx.x + half];
  toValues[base + threadIdx.x] = values[threadIdx.x];
  toValues[base + threadIdx.x + half] = values[threadIdx.x + half];
}

extern "C" void networkSort(uint *toKeys, uint *toValues, uint *fromKeys, uint *fromValues,
                            uint count) {
  bitonicLocal<<<count / LOCAL_KEYS, LOCAL_KEYS / 2>>>(toKeys, toValues, fromKeys, fromValues, 1);
  for (uint run = 2 * LOCAL_KEYS; run <= count; run *= 2)
    for (uint gap = run / 2; gap; gap /= 2)
      bitonicStep<<<count / 512, 256>>>(toKeys, toValues, run, gap, run < count ? 0 : 1);
  getLastCudaError("networkSort");
}
