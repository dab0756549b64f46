/*
Residual connections, and the encoder, which adds the embeddings of tokens and of places.

./residual_and_encoder [kernel]
*/
#include <cassert>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

__global__ void residual_forward_kernel1(floatX* sum, const floatX* left, const floatX* right, int n) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i < n) sum[i] = (floatX)((float)left[i] + (float)right[i]);
}

__global__ void residual_forward_kernel2(floatX* sum, const floatX* left, const floatX* right, int n) {
    const int i = pack_x::size * (threadIdx.x + blockIdx.x * blockDim.x);
    if (i >= n) return;
    pack_x a = load_pack_once(left + i), b = load_pack_once(right + i), c;
    #pragma unroll
    for (int k = 0; k < c.size; ++k) {
        c[k] = (floatX)((float)a[k] + (float)b[k]);
    }
    store_pack(sum + i, c);
}

// kernel 1: a thread per token
__global__ void encoder_forward_kernel1(floatX* y, const int* tokens, const floatX* token_table,
                                        const floatX* place_table, int batch, int length, int width) {
    const int at = threadIdx.x + blockIdx.x * blockDim.x;
    if (at >= batch * length) return;
    const floatX* token = token_table + tokens[at] * width;
    const floatX* place = place_table + at % length * width;
    for (int c = 0; c < width; c++) {
        y[at * width + c] = (floatX)((float)token[c] + (float)place[c]);
    }
}

// kernel 2: a thread per number
__global__ void encoder_forward_kernel2(floatX* y, const int* tokens, const floatX* token_table,
                                        const floatX* place_table, int batch, int length, int width) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    const int at = i / width, c = i % width;
    if (at < batch * length) {
        y[i] = (floatX)((float)token_table[tokens[at] * width + c] +
                        (float)place_table[at % length * width + c]);
    }
}

// kernel 3: a thread per pack
__global__ void encoder_forward_kernel3(floatX* y, const int* tokens, const floatX* token_table,
                                        const floatX* place_table, int batch, int length, int width) {
    const int i = (threadIdx.x + blockIdx.x * blockDim.x) * pack_x::size;
    if (i >= batch * length * width) return;
    const int at = i / width, c = i % width;
    const pack_x token = load_pack_once(&token_table[tokens[at] * width + c]);
    const pack_x place = load_pack_once(&place_table[at % length * width + c]);
    pack_x both;
    #pragma unroll
    for (int k = 0; k < token.size; k++) both[k] = (floatX)((float)token[k] + (float)place[k]);
    store_pack(&y[i], both);
}

// backward, kernel 1: a token may stand in many places, so the sums are atomic
__global__ void encoder_backward_kernel1(float* dtokens, float* dplaces, const float* dy,
                                         const int* tokens, int batch, int length, int width) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i >= batch * length * width) return;
    const int at = i / width, c = i % width;
    atomicAdd(&dtokens[tokens[at] * width + c], dy[i]);
    atomicAdd(&dplaces[at % length * width + c], dy[i]);
}

// backward, kernel 2: a thread per channel goes through all rows and needs no atomics
__global__ void encoder_backward_kernel2(float* dtokens, float* dplaces, const float* dy,
                                         const int* tokens, int rows, int length, int width) {
    const int c = threadIdx.x + blockIdx.x * blockDim.x;
    if (c < width) {
        for (int at = 0; at < rows; at++) {
            dtokens[tokens[at] * width + c] += dy[at * width + c];
            dplaces[at % length * width + c] += dy[at * width + c];
        }
    }
}

int main(int argc, char* argv[]) {
    const int batch = 4, length = 64, width = 96, threads = 128;
    const int number = argc == 2 ? atoi(argv[1]) : 3;
    floatX *y, *tables;
    int* tokens;
    gpuCheck(cudaMalloc(&y, batch * length * width * sizeof(floatX)));
    gpuCheck(cudaMalloc(&tables, 1000 * width * sizeof(floatX)));
    gpuCheck(cudaMalloc(&tokens, batch * length * sizeof(int)));
    const int rows = batch * length, n = rows * width;
    if (number == 1)
        encoder_forward_kernel1<<<ceil_div(rows, threads), threads>>>(y, tokens, tables, tables, batch, length, width);
    else if (number == 2)
        encoder_forward_kernel2<<<ceil_div(n, threads), threads>>>(y, tokens, tables, tables, batch, length, width);
    else
        encoder_forward_kernel3<<<ceil_div(n, threads * (int)pack_x::size), threads>>>(y, tokens, tables, tables, batch, length, width);
    residual_forward_kernel1<<<ceil_div(n, threads), threads>>>(y, y, y, n);
    encoder_backward_kernel1<<<ceil_div(n, threads), threads>>>(tables, tables, y, tokens, batch, length, width);
    gpuCheck(cudaDeviceSynchronize());
    return EXIT_SUCCESS;
}
