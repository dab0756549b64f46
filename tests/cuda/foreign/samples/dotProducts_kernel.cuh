// Dot products of pairs of vectors. Each of SLOTS partial sums takes every SLOTS-th
// element; SLOTS is a power of two and a multiple of the warp.
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

__global__ void dotProductsKernel(float *d_Dots, float *d_Left, float *d_Right, int pairs,
                                  int elements) {
  cg::thread_block cta = cg::this_thread_block();
  __shared__ float slots[SLOTS];

  for (int pair = blockIdx.x; pair < pairs; pair += gridDim.x) {
    const int begin = IMUL(elements, pair), end = begin + elements;
    for (int slot = threadIdx.x; slot < SLOTS; slot += blockDim.x) {
      float sum = 0;
      for (int at = begin + slot; at < end; at += SLOTS) sum += d_Left[at] * d_Right[at];
      slots[slot] = sum;
    }
    for (int half = SLOTS / 2; half > 0; half >>= 1) {
      cg::sync(cta);
      for (int slot = threadIdx.x; slot < half; slot += blockDim.x) slots[slot] += slots[half + slot];
    }
    cg::sync(cta);
    if (threadIdx.x == 0) d_Dots[pair] = slots[0];
    cg::sync(cta);  // before the next pair
  }
}
