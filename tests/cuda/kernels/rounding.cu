// rounding.cu -- products and sums that a compiler may or may not round as one.
#include "common.cuh"

// A sum over a loop of known length: vectorised, its products would be rounded by themselves.
__global__ void sum_of_products(const float* __restrict__ x, const float* __restrict__ y,
                                float* __restrict__ out, const float first) {
    __shared__ float row[16][16 + 1];
    for (int d = 0; d < 16; ++d) row[threadIdx.x][d] = y[threadIdx.x * 16 + d];
    __syncthreads();
    float sum = first;
    for (int d = 0; d < 16; ++d) sum += x[threadIdx.x * 16 + d] * row[threadIdx.x][d];
    out[threadIdx.x] = sum;
}

// Two products of which one can be fused with the sum, in four neighbours.
__global__ void two_products(const float* __restrict__ x, const float* __restrict__ y,
                             float* __restrict__ out, const float a, const float b) {
    float sums[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float s = y[threadIdx.x * 4 + k] + b * x[threadIdx.x * 4 + k];
        sums[k] = a * x[threadIdx.x * 4 + k] + b * s;
    }
    for (int k = 0; k < 4; ++k) out[threadIdx.x * 4 + k] = sqrtf(fabsf(sums[k]));
}

// A product that is there or not, by a condition that is the same for all of a loop.
__global__ void maybe_product(const float* __restrict__ x, const float* __restrict__ y,
                              float* __restrict__ out, const float a, const bool with) {
    for (int k = 0; k < 16; ++k) {
        const int i = threadIdx.x * 16 + k;
        const float s = (a * x[i] + a) * (with ? y[k] : 1.0f);
        out[i] = a * (x[i] * y[i] - s);
    }
}
