/*
gelu, there and back, in bfloat16.

    nvcc -O3 --use_fast_math gelu.cu -o gelu && ./gelu 2
*/
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#define WITH_BF16
#include "common.h"

#define ROOT_2_PI sqrtf(2.0f / M_PI)
#define CUBIC 0.044715f

__host__ __device__ inline float gelu(float x) {
    const float inner = ROOT_2_PI * (x + CUBIC * x * x * x);
    return x * (1.0f + tanhf(inner)) / 2.0f;
}

__host__ __device__ inline float gelu_slope(float x) {
    const float t = tanhf(ROOT_2_PI * (x + CUBIC * x * x * x));
    const float inner_slope = ROOT_2_PI * (1.0f + 3.0f * CUBIC * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner_slope;
}

// ---- on the CPU

void gelu_cpu(float* y, const float* x, int count) {
    while (count--) *y++ = gelu(*x++);
}

// ---- on the GPU: kernels 1 a thread per number, kernels 2 a thread per pack

__global__ void gelu_forward_kernel1(floatX* y, const floatX* x, int count) {
    int i = threadIdx.x + blockDim.x * blockIdx.x;
    if (i < count) {
        y[i] = (floatX)gelu((float)x[i]);
    }
}

__global__ void gelu_forward_kernel2(floatX* y, const floatX* x, int count) {
    int i = pack_x::size * (threadIdx.x + blockDim.x * blockIdx.x);
    if (i < count) {
        pack_x in = load_pack_once(x + i), out;
        for (int j = 0; j < in.size; ++j) {
            out[j] = (floatX)gelu((float)in[j]);
        }
        store_pack(y + i, out);
    }
}

__global__ void gelu_backward_kernel1(floatX* dx, const floatX* x, const floatX* dy, int count) {
    int i = threadIdx.x + blockDim.x * blockIdx.x;
    if (i >= count) return;
    dx[i] = (floatX)(gelu_slope((float)x[i]) * (float)dy[i]);
}

__global__ void gelu_backward_kernel2(floatX* dx, const floatX* x, const floatX* dy, const int count) {
    int i = pack_x::size * (threadIdx.x + blockDim.x * blockIdx.x);
    if (i >= count) return;
    const pack_x in = load_pack_once(x + i), above = load_pack_once(dy + i);
    pack_x slope;
    for (int j = 0; j < slope.size; ++j) {
        slope[j] = (floatX)(gelu_slope((float)in[j]) * (float)above[j]);
    }
    store_pack(dx + i, slope);
}

// ---- launchers

void gelu_forward(int number, floatX* y, const floatX* x, int count, int threads) {
    if (number == 1)
        gelu_forward_kernel1<<<ceil_div(count, threads), threads>>>(y, x, count);
    else
        gelu_forward_kernel2<<<ceil_div(count, threads * (int)pack_x::size), threads>>>(y, x, count);
    gpuCheck(cudaPeekAtLastError());
}

int main(int argc, char* argv[]) {
    const int count = 1 << 20, number = argc > 1 ? atoi(argv[1]) : 2;
    float* x = random_floats(count);
    float* y = new float[count];
    gelu_cpu(y, x, count);
    floatX* both;
    gpuCheck(cudaMalloc(&both, 2 * count * sizeof(floatX)));
    for (int threads = 64; threads <= 512; threads *= 2) {
        printf("%d threads: %.4f ms\n", threads, timed(100, gelu_forward, number, both + count, both, count, threads));
    }
#if defined(WITH_BF16) || defined(WITH_FP16)
    printf("to two digits\n");
#endif
    return 0;
}
