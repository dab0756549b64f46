/*
Backward pass of layernorm. Gradients of gamma and beta are sums over all rows.

kernel 1: a thread per row, everything atomic
kernel 2: a warp per row, a block's sums meet in shared memory; numbers are bfloat16
kernel 3: a block per strip of columns, which nothing else writes
*/
#define WITH_BF16
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include "common.h"

namespace cg = cooperative_groups;

__global__ void layernorm_backward_kernel1(float* dx, float* dgamma, float* dbeta, const float* dy,
                                           const float* x, const float* gamma, const float* means,
                                           const float* rstds, int rows, int width) {
    const int r = threadIdx.x + blockIdx.x * blockDim.x;
    if (r >= rows) { return; }
    const float center = means[r], scale = rstds[r];
    float along = 0.0f, along_x = 0.0f;
    for (int at = r * width; at < (r + 1) * width; at++) {
        const float g = gamma[at - r * width] * dy[at];
        along += g;
        along_x += g * (x[at] - center) * scale;
    }
    for (int c = 0; c < width; c++) {
        const int at = r * width + c;
        const float normed = (x[at] - center) * scale;
        atomicAdd(dbeta + c, dy[at]);
        atomicAdd(dgamma + c, dy[at] * normed);
        dx[at] += scale * (gamma[c] * dy[at] - (along + normed * along_x) / width);
    }
}

// dgamma and dbeta stay float, or else small additions would be lost
__global__ void layernorm_backward_kernel2(floatX* dx, float* dgamma, float* dbeta,
                                           const floatX* dy, const floatX* x, const floatX* gamma,
                                           const float* __restrict__ means,
                                           const float* __restrict__ rstds, int rows, int width) {
    extern __shared__ float sums[]; // 2 * width
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
    float *beta_sums = sums, *gamma_sums = sums + width;
    #pragma unroll 4
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        beta_sums[c] = gamma_sums[c] = 0.0f;
    }
    cg::sync(block);

    const int r = blockIdx.x * warp.meta_group_size() + warp.meta_group_rank();
    if (r < rows) {
        const size_t first = size_t(r) * width;
        const float center = means[r], scale = rstds[r];
        float along = 0.0f, along_x = 0.0f;
        for (int c = warp.thread_rank(); c < width; c += 32) {
            const float g = (float)gamma[c] * (float)dy[first + c];
            along += g;
            along_x += g * ((float)x[first + c] - center) * scale;
        }
        along = cg::reduce(warp, along, cg::plus<float>{}) / width;
        along_x = cg::reduce(warp, along_x, cg::plus<float>{}) / width;
        for (int c = warp.thread_rank(); c < width; c += 32) {
            const float above = (float)__ldcs(&dy[first + c]);
            const float normed = ((float)__ldcs(&x[first + c]) - center) * scale;
            atomicAdd(&beta_sums[c], above);
            atomicAdd(&gamma_sums[c], above * normed);
            const float change = scale * ((float)gamma[c] * above - along - normed * along_x);
            dx[first + c] = (floatX)((float)dx[first + c] + change);
        }
    }
    block.sync();
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        atomicAdd(&dbeta[c], beta_sums[c]);
        atomicAdd(&dgamma[c], gamma_sums[c]);
    }
}

// blocks are (32, 8): 32 columns, eight threads for each
__global__ void layernorm_backward_kernel3(float* dgamma, float* dbeta, const float* dy,
                                           const float* x, const float* means,
                                           const float* rstds, int rows, int width) {
    __shared__ float2 parts[8][32 + 1];
    const int c = blockIdx.x * 32 + threadIdx.x;
    float2 part = make_float2(0.0f, 0.0f);
    if (c < width) {
        for (int r = threadIdx.y; r < rows; r += blockDim.y) {
            const float above = dy[r * width + c];
            part.x += above * (x[r * width + c] - means[r]) * rstds[r];
            part.y += above;
        }
    }
    parts[threadIdx.y][threadIdx.x] = part;
    __syncthreads();
    if (threadIdx.y == 0 && c < width) {
        for (int i = 1; i < blockDim.y; i++) {
            part.x += parts[i][threadIdx.x].x;
            part.y += parts[i][threadIdx.x].y;
        }
        dgamma[c] = part.x;
        dbeta[c] = part.y;
    }
}

void layernorm_backward(int number, floatX* dx, float* dgamma, float* dbeta, const floatX* dy,
                        const floatX* x, const floatX* gamma, const float* means,
                        const float* rstds, int rows, int width, int threads) {
    if (number != 2) {
        fprintf(stderr, "kernel %d has no bfloat16\n", number);
        exit(EXIT_FAILURE);
    }
    const size_t bytes = 2 * width * sizeof(float);
    layernorm_backward_kernel2<<<ceil_div(32 * rows, threads), threads, bytes>>>(
        dx, dgamma, dbeta, dy, x, gamma, means, rstds, rows, width);
    gpuCheck(cudaPeekAtLastError());
}
