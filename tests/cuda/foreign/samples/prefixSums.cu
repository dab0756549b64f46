/*
 * Prefix sums of unsigned integers: short rows in shared memory, four elements
 * per thread; what is longer gets its blocks' bases afterwards.
 */
#include <cooperative_groups.h>
#include <helper_cuda.h>
#include "prefixSums_common.h"

namespace cg = cooperative_groups;

// The first half of the row's buffer stays zero, so that no thread asks
// whether it is the first.
inline __device__ uint inclusiveInRow(uint mine, volatile uint *buffer, uint row,
                                      cg::thread_block cta) {
  uint slot = 2 * row * (threadIdx.x / row) + threadIdx.x % row;
  buffer[slot] = 0;
  slot += row;
  buffer[slot] = mine;
  for (uint back = 1; back < row; back <<= 1) {
    cg::sync(cta);  // written before it is read
    const uint both = buffer[slot] + buffer[slot - back];
    cg::sync(cta);  // read before it is written again
    buffer[slot] = both;
  }
  return buffer[slot];
}

inline __device__ uint4 inclusiveInRow4(uint4 mine, volatile uint *buffer, uint row,
                                        cg::thread_block cta) {
  mine.y += mine.x;
  mine.z += mine.y;
  mine.w += mine.z;
  const uint base = inclusiveInRow(mine.w, buffer, row / 4, cta) - mine.w;
  return make_uint4(mine.x + base, mine.y + base, mine.z + base, mine.w + base);
}

__global__ void prefixRows(uint4 *after, uint4 *before, uint row) {
  __shared__ uint buffer[2 * PREFIX_THREADS];
  cg::thread_block cta = cg::this_thread_block();
  const uint quad = PREFIX_THREADS * blockIdx.x + threadIdx.x;
  const uint4 mine = before[quad];
  uint4 sum = inclusiveInRow4(mine, buffer, row, cta);
  // exclusive: without the element itself
  sum.x -= mine.x;
  sum.y -= mine.y;
  sum.z -= mine.z;
  sum.w -= mine.w;
  after[quad] = sum;
}

// What lies in front of each row: the last sum of a row and its last element
__global__ void prefixBases(uint *bases, const uint *after, const uint *before, uint rows) {
  __shared__ uint buffer[2 * PREFIX_THREADS];
  cg::thread_block cta = cg::this_thread_block();
  const uint end = PREFIX_ROW * (threadIdx.x + 1) - 1;
  uint whole = 0;
  if (threadIdx.x < rows) whole = after[end] + before[end];
  const uint sum = inclusiveInRow(whole, buffer, PREFIX_THREADS, cta);
  if (threadIdx.x < rows) bases[threadIdx.x] = sum - whole;
}

__global__ void prefixAddBases(uint4 *after, const uint *bases) {
  __shared__ uint base;
  if (threadIdx.x == 0) base = bases[blockIdx.x];
  __syncthreads();
  uint4 &quad = after[blockIdx.x * PREFIX_THREADS + threadIdx.x];
  quad.x += base;
  quad.y += base;
  quad.z += base;
  quad.w += base;
}

extern "C" void prefixSums(uint *after, uint *before, uint *bases, uint count) {
  const uint rows = count / PREFIX_ROW;
  prefixRows<<<rows, PREFIX_THREADS>>>((uint4 *)after, (uint4 *)before, PREFIX_ROW);
  getLastCudaError("rows");
  prefixBases<<<1, PREFIX_THREADS>>>(bases, after, before, rows);
  getLastCudaError("bases");
  prefixAddBases<<<rows, PREFIX_THREADS>>>((uint4 *)after, bases);
  getLastCudaError("sums of rows and bases");
}
