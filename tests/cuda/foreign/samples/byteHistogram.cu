/*
 * Histograms of bytes: 64 bins with a byte per thread and bin, and 256 bins with a
 * histogram per warp.
 */
#include <cooperative_groups.h>
#include <helper_cuda.h>

namespace cg = cooperative_groups;

typedef unsigned int uint;
typedef unsigned char uchar;

#define BINS64 64
#define BINS256 256
#define LOG2_WARP 5U
#define WARPS 3
#define THREADS64 64
#define THREADS256 (WARPS << LOG2_WARP)

inline __device__ void countByte(uchar *column, uint byte) {
  column[__umul24(byte >> 2, THREADS64)]++;
}

// A counter is a byte: no thread may see more than 255 bytes
__global__ void histogramOfThreads(uint *partial, const uint4 *bytes, uint quads) {
  __shared__ uchar counters[THREADS64 * BINS64];
  cg::thread_block cta = cg::this_thread_block();
#pragma unroll
  for (uint word = threadIdx.x; word < THREADS64 * BINS64 / sizeof(uint); word += THREADS64)
    ((uint *)counters)[word] = 0;
  cg::sync(cta);  // all counters are zero

  uchar *column = counters + threadIdx.x;
  for (uint q = blockIdx.x * blockDim.x + threadIdx.x; q < quads;
       q += gridDim.x * blockDim.x) {
    const uint4 four = bytes[q];
    const uint words[4] = {four.x, four.y, four.z, four.w};
    for (int w = 0; w < 4; ++w)
      for (int shift = 0; shift < 32; shift += 8) countByte(column, (words[w] >> shift) & 0xFFU);
  }
  cg::sync(cta);  // all bytes are counted

  // a thread per bin; each begins at another place, for the banks' sake
  uint total = 0;
  for (uint k = 0; k < THREADS64; ++k)
    total += counters[threadIdx.x * THREADS64 + (k + 4 * threadIdx.x) % THREADS64];
  partial[blockIdx.x * BINS64 + threadIdx.x] = total;
}

inline __device__ void countWord(uint *ofWarp, uint word) {
#pragma unroll
  for (int byte = 0; byte < 4; ++byte, word >>= 8) atomicAdd(ofWarp + (word & 0xFFU), 1);
}

__global__ void histogramOfWarps(uint *partial, const uint *words, uint count) {
  __shared__ uint counters[WARPS * BINS256];
  cg::thread_block cta = cg::this_thread_block();
  uint *const ofWarp = &counters[BINS256 * (threadIdx.x >> LOG2_WARP)];
  for (uint k = threadIdx.x; k < WARPS * BINS256; k += THREADS256) counters[k] = 0;
  cg::sync(cta);

  const uint step = __umul24(blockDim.x, gridDim.x);
  for (uint w = blockIdx.x * THREADS256 + threadIdx.x; w < count; w += step)
    countWord(ofWarp, words[w]);
  cg::sync(cta);

  for (uint bin = threadIdx.x; bin < BINS256; bin += THREADS256) {
    uint total = 0;
    for (uint warp = 0; warp < WARPS; ++warp) total += counters[warp * BINS256 + bin];
    partial[blockIdx.x * BINS256 + bin] = total;
  }
}

// A block per bin
__global__ void histogramMerge(uint *merged, const uint *partial, uint blocks) {
  __shared__ uint part[64];
  cg::thread_block cta = cg::this_thread_block();
  uint total = 0;
  for (uint b = threadIdx.x; b < blocks; b += 64) total += partial[b * gridDim.x + blockIdx.x];
  part[threadIdx.x] = total;
  for (uint half = 32; half > 0; half >>= 1) {
    cg::sync(cta);
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x == 0) merged[blockIdx.x] = part[0];
}

extern "C" void byteHistogram(uint *merged, uint *partial, void *bytes, uint count) {
  histogramOfWarps<<<120, THREADS256>>>(partial, (uint *)bytes, count / sizeof(uint));
  getLastCudaError("histogramOfWarps() failed\n");
  histogramMerge<<<BINS256, 64>>>(merged, partial, 120);
  getLastCudaError("histogramMerge() failed\n");
}
