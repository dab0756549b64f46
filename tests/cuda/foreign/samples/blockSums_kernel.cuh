/*
 * Sums of an array, one per block, from the naive form to that of a library.
 */
#ifndef BLOCK_SUMS_KERNEL_CUH
#define BLOCK_SUMS_KERNEL_CUH

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

// An extern array of T would be declared again with another type in each
// instantiation: the conversion hides one of bytes.
template <class T>
struct DynamicShared {
  __device__ inline operator T *() {
    extern __shared__ int words[];
    return (T *)words;
  }
};

// doubles need an array that is aligned for them
template <>
struct DynamicShared<double> {
  __device__ inline operator double *() {
    extern __shared__ double wideWords[];
    return wideWords;
  }
};

template <class T>
__device__ __forceinline__ T sumOfWarp(unsigned int lanes, T part) {
  for (int distance = warpSize >> 1; distance; distance >>= 1)
    part += __shfl_down_sync(lanes, part, distance);
  return part;
}

/* Which threads work is a matter of a remainder: slow, as all lanes wait. */
template <class T>
__global__ void sumByRemainder(T *numbers, T *sums, unsigned int count) {
  T *part = DynamicShared<T>();
  cg::thread_block cta = cg::this_thread_block();
  const unsigned int at = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = at < count ? numbers[at] : T(0);
  cg::sync(cta);

  for (unsigned int gap = 1; gap < blockDim.x; gap += gap) {
    if (threadIdx.x % (gap + gap) == 0) part[threadIdx.x] += part[threadIdx.x + gap];
    cg::sync(cta);  // the level is done
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = *part;
}

/* The first threads work, with gaps between what they add. */
template <class T>
__global__ void sumByStride(T *numbers, T *sums, unsigned int count) {
  T *part = DynamicShared<T>();
  cg::thread_block cta = cg::this_thread_block();
  const unsigned int at = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = at < count ? numbers[at] : T(0);
  cta.sync();

  for (unsigned int gap = 1; gap < blockDim.x; gap *= 2) {
    const unsigned int mine = 2 * gap * threadIdx.x;
    if (mine + gap < blockDim.x) part[mine] += part[mine + gap];
    cta.sync();
  }
  if (cta.thread_rank() == 0) sums[blockIdx.x] = part[0];
}

/* The first threads work on what is next to each other. */
template <class T>
__global__ void sumByHalves(T *numbers, T *sums, unsigned int count) {
  T *part = DynamicShared<T>();
  auto cta = cg::this_thread_block();
  const unsigned int rank = cta.thread_rank();
  unsigned int at = 2 * blockDim.x * blockIdx.x + rank;
  T mine = at < count ? numbers[at] : T(0);
  at += blockDim.x;
  if (at < count) mine += numbers[at];
  part[rank] = mine;
  __syncthreads();

  for (unsigned int half = blockDim.x / 2; half; half /= 2) {
    if (rank < half) part[rank] = mine = mine + part[rank + half];
    __syncthreads();
  }
  if (!rank) sums[blockIdx.x] = mine;
}

/* The last warp needs no barrier: its lanes pass registers on. */
template <class T, unsigned int blockSize>
__global__ void sumByTiles(T *numbers, T *sums, unsigned int count) {
  T *part = DynamicShared<T>();
  cg::thread_block cta = cg::this_thread_block();
  const unsigned int rank = cta.thread_rank();
  unsigned int at = blockIdx.x * (2 * blockSize) + rank;
  T mine = at < count ? numbers[at] : T(0);
  if (at + blockSize < count) mine += numbers[at + blockSize];
  part[rank] = mine;
  cg::sync(cta);

  if (blockSize >= 256) {
    if (rank < 128) part[rank] = mine = mine + part[rank + 128];
    cg::sync(cta);
  }
  if (blockSize >= 128) {
    if (rank < 64) part[rank] = mine = mine + part[rank + 64];
    cg::sync(cta);
  }
  cg::thread_block_tile<32> warp = cg::tiled_partition<32>(cta);
  if (rank < 32) {
    if (blockSize >= 64) mine += part[rank + 32];
    for (unsigned int distance = warp.size() / 2; distance > 0; distance >>= 1)
      mine += warp.shfl_down(mine, distance);
    if (warp.thread_rank() == 0) sums[blockIdx.x] = mine;
  }
}

/* As many elements per thread as the grid leaves; warps first, then their sums. */
template <class T, unsigned int blockSize, bool nIsPow2>
__global__ void sumByWarps(const T *__restrict__ numbers, T *__restrict__ sums,
                           unsigned int count) {
  T *part = DynamicShared<T>();
  T mine = 0;
  unsigned int at = blockIdx.x * blockSize + threadIdx.x;
  if (nIsPow2) {
    // an even number of blocks fits: two elements without a test between
    for (at += blockIdx.x * blockSize; at < count; at += 2 * blockSize * gridDim.x)
      mine += numbers[at] + numbers[at + blockSize];
  } else {
    for (; at < count; at += blockSize * gridDim.x) mine += numbers[at];
  }
  mine = sumOfWarp(0xffffffffu, mine);
  if ((threadIdx.x & 31) == 0) part[threadIdx.x / 32] = mine;
  __syncthreads();

  constexpr unsigned int warps = blockSize / 32;
  const unsigned int first = __ballot_sync(0xffffffffu, threadIdx.x < 32);
  if (threadIdx.x < 32) {
    mine = sumOfWarp<T>(first, threadIdx.x < warps ? part[threadIdx.x] : T(0));
    if (threadIdx.x == 0) sums[blockIdx.x] = mine;
  }
}

#endif  // BLOCK_SUMS_KERNEL_CUH
