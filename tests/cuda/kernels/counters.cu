// counters.cu -- variables at file scope of a file that keeps the house rules, and is compiled whole.
#include "common.cuh"

__constant__ int step;
__device__ int total = 5, unused;

__global__ void add(int* __restrict__ out) {
    if (threadIdx.x == 0) out[0] = atomicAdd(&total, step);
}

// instances: N = 1, 2
template <int N> __global__ void add_more(int* __restrict__ out) {
    if (threadIdx.x == 0) out[0] = atomicAdd(&total, N * step);
}

__global__ void racing(int* __restrict__ out) {
    total = threadIdx.x;  // FAULT total
    out[threadIdx.x] = 0;
}
