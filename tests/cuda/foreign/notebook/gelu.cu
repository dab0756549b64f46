/*
gelu, there and back.

Compile: nvcc -O3 --use_fast_math gelu.cu -o gelu
*/
#include <stdio.h>
#include <stdlib.h>
#include <cuda_runtime.h>

#define ENABLE_BF16
#include "common.h"

// ----------------------------------------------------------------------------
// CPU code reference

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

void gelu_forward_cpu(float* out, const float* inp, int N) {
    for (int i = 0; i < N; i++) {
        out[i] = gelu(inp[i]);
    }
}

// ----------------------------------------------------------------------------
// GPU kernels

// kernel 1: a thread per number
__global__ void gelu_forward_kernel1(floatX* out, const floatX* inp, int N) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < N) {
        out[i] = (floatX)gelu((float)inp[i]);
    }
}

// eight bfloat16 at a time
__global__ void gelu_forward_kernel2(floatX* out, const floatX* inp, int N) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * x128::size;
    if (i < N) {
        x128 packed_out;
        x128 packed_inp = load128cs(inp + i);
        for(int k = 0; k < packed_inp.size; ++k) {
            packed_out[k] = (floatX)gelu((float)packed_inp[k]);
        }
        store128(out + i, packed_out);
    }
}

__global__ void gelu_backward1(floatX* dinp, const floatX* inp, const floatX* dout, int N) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < N) {
        dinp[i] = (floatX)(gelu_slope((float)inp[i]) * (float)dout[i]);
    }
}

__global__ void gelu_backward2(floatX* dinp, const floatX* inp, const floatX* dout, const int N) {
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * x128::size;
    if (i < N) {
        x128 packed_dinp;
        x128 packed_inp = load128cs(inp + i);
        x128 packed_dout = load128cs(dout + i);
        for (int k = 0; k < packed_inp.size; ++k) {
            packed_dinp[k] = (floatX)(gelu_slope((float)packed_inp[k]) * (float)packed_dout[k]);
        }
        store128(dinp + i, packed_dinp);
    }
}

// ----------------------------------------------------------------------------
// kernel launcher

void gelu_forward(int kernel_num, floatX* out, const floatX* inp, int B, int T, int C, int block_size) {
    const int N = B * T * C;
    switch (kernel_num) {
        case 1:
            gelu_forward_kernel1<<<ceil_div(N, block_size), block_size>>>(out, inp, N);
            break;
        case 2:
            gelu_forward_kernel2<<<ceil_div(N, block_size * (int)x128::size), block_size>>>(out, inp, N);
            break;
        default:
            printf("Invalid kernel number\n");
            exit(1);
    }
    cudaCheck(cudaGetLastError());
}

int main(int argc, const char **argv) {
    int B = 8, T = 1024, C = 768;
    float* out = (float*)malloc(B * T * C * sizeof(float));
    float* inp = make_random_float(B * T * C);
    int kernel_num = argc > 1 ? atoi(argv[1]) : 1;
    printf("Using kernel %d\n", kernel_num);
    gelu_forward_cpu(out, inp, B * T * C);
    floatX* d_out;
    floatX* d_inp;
    cudaCheck(cudaMalloc(&d_out, B * T * C * sizeof(floatX)));
    cudaCheck(cudaMalloc(&d_inp, B * T * C * sizeof(floatX)));
    int block_sizes[] = {32, 64, 128, 256, 512, 1024};
    for (int block_size : block_sizes) {
        gelu_forward(kernel_num, d_out, d_inp, B, T, C, block_size);
#if !defined(ENABLE_BF16) && !defined(ENABLE_FP16)
        float tol = 1e-5;
#else
        float tol = 1e-2f;
#endif
        validate_result(d_out, out, "out", B * T * C, tol);
        float elapsed_time = benchmark_kernel(1000, gelu_forward, kernel_num, d_out, d_inp, B, T, C, block_size);
        printf("block_size %4d | time %.4f ms\n", block_size, elapsed_time);
    }
    free(out);
    free(inp);
    return 0;
}
