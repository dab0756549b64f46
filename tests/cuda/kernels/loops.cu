// loops.cu -- loops that run as often as arguments say: in registers, and over what each block is told.
#include "common.cuh"

extern "C" __global__ void newton(const float* __restrict__ x, float* __restrict__ y,
                                  const int steps, const int n) {
    const int i = flat_index();
    if (i >= n) return;
    const float a = x[i];
    float r = 1;
    for (int s = 0; s < steps; ++s)
        r = r * (1.5f - 0.5f * a * r * r);
    y[i] = a * r;
}

extern "C" __global__ void newton_until(const float* __restrict__ x, float* __restrict__ y,
                                        const float error, const int n) {
    const int i = flat_index();
    if (i >= n) return;
    const float a = x[i];
    float r = 1, before;
    do {
        before = r;
        r = r * (1.5f - 0.5f * a * r * r);
    } while (fabsf(r - before) > error);
    y[i] = a * r;
}

// Launch: a block of 32 threads for each of `lengths`.
extern "C" __global__ void sums_of_some(const float* __restrict__ x,
                                        const int* __restrict__ lengths, float* __restrict__ y) {
    float sum = 0;
    for (int k = 0; k < lengths[blockIdx.x]; ++k) sum += x[k * 32 + threadIdx.x];
    y[flat_index()] = sum;
}
