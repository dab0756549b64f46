/*
Forward pass of layernorm, from one thread per row to packs of 128 bits.

    nvcc -O3 layernorm_forward.cu -o layernorm_forward && ./layernorm_forward 3
*/

#include <assert.h>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

#define EPSILON 1e-5f

// on the CPU

void layernorm_forward_cpu(float* y, float* means, float* rstds, const float* x,
                           const float* gamma, const float* beta, int rows, int width) {
    for (int r = 0; r < rows; r++, x += width, y += width) {
        double total = 0, squares = 0;
        for (int c = 0; c < width; c++) total += x[c];
        const double center = total / width;
        for (int c = 0; c < width; c++) squares += (x[c] - center) * (x[c] - center);
        const double scale = 1.0 / sqrt(squares / width + EPSILON);
        for (int c = 0; c < width; c++) y[c] = (x[c] - center) * scale * gamma[c] + beta[c];
        means[r] = center;
        rstds[r] = scale;
    }
}

// on the GPU

// kernel 1: what the CPU does, a thread takes a row
__global__ void layernorm_forward_kernel1(float* y, float* means, float* rstds, const float* x,
                                          const float* gamma, const float* beta,
                                          int rows, int width) {
    const int r = threadIdx.x + blockIdx.x * blockDim.x;
    if (r >= rows) return;
    x += r * width;
    y += r * width;
    float total = 0.0f, squares = 0.0f;
    for (int c = 0; c < width; c++) total += x[c];
    const float center = total / width;
    for (int c = 0; c < width; c++) squares += (x[c] - center) * (x[c] - center);
    const float scale = 1.0f / sqrtf(squares / width + EPSILON);
    for (int c = 0; c < width; c++) y[c] = (x[c] - center) * scale * gamma[c] + beta[c];
    means[r] = center;
    rstds[r] = scale;
}

// kernel 2 in three parts: means, then scales, each by a tree in shared memory, then all numbers
__global__ void mean_kernel(float* means, const float* x, int width) {
    extern __shared__ float tree[];
    const float* row = x + blockIdx.x * width;
    float mine = 0.0f;
    for (int c = threadIdx.x; c < width; c += blockDim.x) mine += row[c];
    tree[threadIdx.x] = mine;
    for (int half = blockDim.x / 2; half >= 1; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) tree[threadIdx.x] += tree[threadIdx.x + half];
    }
    // thread 0 made the last sum itself
    if (threadIdx.x == 0) means[blockIdx.x] = tree[0] / width;
}

__global__ void rstd_kernel(float* rstds, const float* x, const float* means, int width) {
    extern __shared__ float squares[];
    const float center = means[blockIdx.x];
    float mine = 0.0f;
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        const float off = x[blockIdx.x * width + c] - center;
        mine = fmaf(off, off, mine);
    }
    squares[threadIdx.x] = mine;
    __syncthreads();
    for (unsigned half = blockDim.x >> 1; half; half >>= 1) {
        if (threadIdx.x < half) squares[threadIdx.x] += squares[threadIdx.x + half];
        __syncthreads();
    }
    if (!threadIdx.x) rstds[blockIdx.x] = rsqrtf(squares[0] / width + EPSILON);
}

__global__ void normalization_kernel(float* y, const float* x, const float* means,
                                     const float* rstds, const float* gamma, const float* beta,
                                     int rows, int width) {
    const int at = threadIdx.x + blockIdx.x * blockDim.x;
    const int r = at / width, c = at % width;
    if (r < rows) {
        y[at] = (x[at] - means[r]) * rstds[r] * gamma[c] + beta[c];
    }
}

// kernel 3: a warp takes a row
__global__ void layernorm_forward_kernel3(float* __restrict__ y, float* __restrict__ means,
                                          float* __restrict__ rstds, const float* __restrict__ x,
                                          const float* __restrict__ gamma,
                                          const float* __restrict__ beta, int rows, int width) {
    namespace cg = cooperative_groups;
    auto block = cg::this_thread_block();
    auto warp = cg::tiled_partition<32>(block);
    const int r = warp.meta_group_rank() + warp.meta_group_size() * blockIdx.x;
    if (r >= rows) return; // the whole warp goes
    const float* from = x + r * width;

    float part = 0.0f;
    for (int c = warp.thread_rank(); c < width; c += warp.size()) part += from[c];
    const float center = cg::reduce(warp, part, cg::plus<float>()) / width;

    part = 0.0f;
    for (int c = warp.thread_rank(); c < width; c += warp.size()) {
        part += (from[c] - center) * (from[c] - center);
    }
    const float scale = rsqrtf(cg::reduce(warp, part, cg::plus<float>()) / width + EPSILON);

    for (int c = warp.thread_rank(); c < width; c += warp.size()) {
        __stcs(&y[r * width + c], (__ldcs(&from[c]) - center) * scale * gamma[c] + beta[c]);
    }
    if (means != nullptr && warp.thread_rank() == 0) __stcs(&means[r], center);
    if (rstds != nullptr && warp.thread_rank() == 0) __stcs(&rstds[r], scale);
}

// kernel 4: one pass, as the variance is E[x^2] - E[x]^2; half a warp takes a row
__global__ void layernorm_forward_kernel4(float* __restrict__ y, const float* __restrict__ x,
                                          const float* __restrict__ gamma,
                                          const float* __restrict__ beta, int rows, int width) {
    namespace cg = cooperative_groups;
    cg::thread_block_tile<16> team = cg::tiled_partition<16>(cg::this_thread_block());
    const int r = team.meta_group_rank() + team.meta_group_size() * blockIdx.x;
    if (r >= rows) return;
    float first = 0.0f, second = 0.0f;
    for (int c = team.thread_rank(); c < width; c += team.num_threads()) {
        const float value = x[r * width + c];
        first += value;
        second += value * value;
    }
    for (int step = team.size() / 2; step > 0; step /= 2) {
        first += team.shfl_xor(first, step);
        second += team.shfl_xor(second, step);
    }
    first /= width;
    second /= width;
    const float scale = rsqrtf(second - first * first + EPSILON);
    for (int c = team.thread_rank(); c < width; c += team.num_threads()) {
        y[r * width + c] = (x[r * width + c] - first) * scale * gamma[c] + beta[c];
    }
}

// kernel 5: a block takes a row; all lanes of a warp store the warp's sum
__global__ void layernorm_forward_kernel5(float* __restrict__ y, const float* __restrict__ x,
                                          const float* __restrict__ gamma,
                                          const float* __restrict__ beta, int width) {
    namespace cg = cooperative_groups;
    const cg::thread_block block = cg::this_thread_block();
    const cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
    __shared__ float sums[32], squares[32];
    const int w = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    const float* from = x + size_t(blockIdx.x) * width;

    float a = 0.0f, b = 0.0f;
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        a += from[c];
        b += from[c] * from[c];
    }
    sums[w] = cg::reduce(warp, a, cg::plus<float>{});
    squares[w] = cg::reduce(warp, b, cg::plus<float>{});
    block.sync();
    a = cg::reduce(warp, lane < warps ? sums[lane] : 0.0f, cg::plus<float>{}) / width;
    b = cg::reduce(warp, lane < warps ? squares[lane] : 0.0f, cg::plus<float>{}) / width;
    const float scale = rsqrtf(b - a * a + EPSILON);
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        __stcs(y + size_t(blockIdx.x) * width + c, (from[c] - a) * scale * gamma[c] + beta[c]);
    }
}

// kernel 6: packs; gamma, beta and the rows are kept in shared memory. Blocks are (32, warps).
__global__ void layernorm_forward_kernel6(floatX* __restrict__ y, const floatX* __restrict__ x,
                                          const floatX* __restrict__ gamma,
                                          const floatX* __restrict__ beta, int rows, int width) {
    assert(blockDim.x == WARP_SIZE);
    extern __shared__ char memory[];
    const int packs = width / pack_x::size;
    pack_x* s_gamma = reinterpret_cast<pack_x*>(memory);
    pack_x* s_beta = s_gamma + packs;
    pack_x* s_row = s_beta + packs + threadIdx.y * packs;

    const int tid = threadIdx.y * WARP_SIZE + threadIdx.x;
    for (int p = tid; p < packs; p += blockDim.y * WARP_SIZE) {
        s_gamma[p] = load_pack(gamma + p * pack_x::size);
        s_beta[p] = load_pack(beta + p * pack_x::size);
    }
    __syncthreads();
    const int r = threadIdx.y + blockIdx.x * blockDim.y;
    if (r >= rows) return; // not before the barrier

    float total = 0.0f;
    for (int p = threadIdx.x; p < packs; p += WARP_SIZE) {
        const pack_x pack = load_pack_once(x + r * width + p * pack_x::size);
        for (int k = 0; k < pack_x::size; k++) total += (float)pack[k];
        s_row[p] = pack;
    }
    const float center = sum_over_warp(total) / width;
    float spread = 0.0f;
    for (int p = threadIdx.x; p < packs; p += WARP_SIZE) {
        const pack_x pack = s_row[p];
        for (int k = 0; k < pack_x::size; k++) {
            spread += ((float)pack[k] - center) * ((float)pack[k] - center);
        }
    }
    const float scale = rsqrtf(sum_over_warp(spread) / width + EPSILON);
    for (int p = threadIdx.x; p < packs; p += WARP_SIZE) {
        const pack_x pack = s_row[p], g = s_gamma[p], b = s_beta[p];
        pack_x result;
        for (int k = 0; k < pack_x::size; k++) {
            result[k] = (floatX)(((float)pack[k] - center) * scale * (float)g[k] + (float)b[k]);
        }
        store_pack_once(y + r * width + p * pack_x::size, result);
    }
}

// launchers

void layernorm_forward(int number, float* y, float* means, float* rstds, const float* x,
                       const float* gamma, const float* beta, int rows, int width, int threads) {
    const int warps = threads / 32;
    switch (number) {
        case 1:
            layernorm_forward_kernel1<<<ceil_div(rows, threads), threads>>>(
                y, means, rstds, x, gamma, beta, rows, width);
            break;
        case 2:
            mean_kernel<<<rows, threads, threads * sizeof(float)>>>(means, x, width);
            rstd_kernel<<<rows, threads, threads * sizeof(float)>>>(rstds, x, means, width);
            normalization_kernel<<<ceil_div(rows * width, 256), 256>>>(
                y, x, means, rstds, gamma, beta, rows, width);
            break;
        case 3:
            layernorm_forward_kernel3<<<ceil_div(rows, warps), threads>>>(
                y, means, rstds, x, gamma, beta, rows, width);
            break;
        case 4:
            layernorm_forward_kernel4<<<ceil_div(rows, 2 * warps), threads>>>(y, x, gamma, beta, rows, width);
            break;
        case 5:
            layernorm_forward_kernel5<<<rows, threads>>>(y, x, gamma, beta, width);
            break;
        case 6: {
            const size_t bytes = (2 + warps) * width * sizeof(floatX);
            auto status = cudaFuncSetAttribute(layernorm_forward_kernel6,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
            if (status != cudaSuccess) printf("%zu bytes are too many\n", bytes);
            layernorm_forward_kernel6<<<ceil_div(rows, warps), dim3(32, warps), bytes>>>(
                y, x, gamma, beta, rows, width);
            break;
        }
        default:
            printf("no kernel %d\n", number);
            exit(1);
    }
    gpuCheck(cudaPeekAtLastError());
}

int main(int argc, char* argv[]) {
    const int rows = 2048, width = 768;
    const int number = argc > 1 ? atoi(argv[1]) : 1;
    float* x = random_floats(rows * width);
    float *d_x, *d_y;
    gpuCheck(cudaMalloc(&d_x, rows * width * sizeof(float)));
    gpuCheck(cudaMalloc(&d_y, rows * width * sizeof(float)));
    gpuCheck(cudaMemcpy(d_x, x, rows * width * sizeof(float), cudaMemcpyHostToDevice));
    for (int threads : {32, 64, 128, 256, 512}) {
        layernorm_forward(number, d_y, nullptr, nullptr, d_x, d_x, d_x, rows, width, threads);
    }
    free(x);
    gpuCheck(cudaFree(d_x));
    return 0;
}
