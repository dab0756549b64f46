/*
Softmax over rows, each kernel with fewer passes than the one before.

    ./softmax_forward <kernel>
*/
#include <assert.h>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

void softmax_forward_cpu(float* y, const float* x, int rows, int width) {
    for (int r = 0; r < rows; r++) {
        float top = -INFINITY;
        for (int c = 0; c < width; c++) top = fmaxf(top, x[r * width + c]);
        double total = 0.0;
        for (int c = 0; c < width; c++) total += y[r * width + c] = expf(x[r * width + c] - top);
        for (int c = 0; c < width; c++) y[r * width + c] /= total;
    }
}

// kernel 1: a thread takes a row
__global__ void softmax_forward_kernel1(float* y, const float* x, int rows, int width) {
    const int r = threadIdx.x + blockIdx.x * blockDim.x;
    if (r >= rows) return;
    float top = -INFINITY;
    for (int c = 0; c < width; c++)
        if (x[r * width + c] > top) top = x[r * width + c];
    double total = 0.0;
    for (int c = 0; c < width; c++) {
        const float e = expf(x[r * width + c] - top);
        y[r * width + c] = e;
        total += e;
    }
    for (int c = 0; c < width; c++) y[r * width + c] /= (float)total;
}

// kernel 2: a block takes a row, two trees in the same of_warps memory
__global__ void softmax_forward_kernel2(float* y, const float* x, int width) {
    extern __shared__ float tree[];
    const int tid = threadIdx.x;
    x += blockIdx.x * width;
    y += blockIdx.x * width;
    float mine = -FLT_MAX;
    for (int c = tid; c < width; c += blockDim.x) mine = fmaxf(mine, x[c]);
    tree[tid] = mine;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (tid < half) tree[tid] = fmaxf(tree[tid], tree[tid + half]);
    }
    __syncthreads();
    const float top = tree[0];
    float total = 0.0f;
    for (int c = tid; c < width; c += blockDim.x) total += y[c] = expf(x[c] - top);
    __syncthreads();  // tree[0] has been read by all
    tree[tid] = total;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (tid < half) tree[tid] += tree[tid + half];
    }
    __syncthreads();
    for (int c = tid; c < width; c += blockDim.x) y[c] /= tree[0];
}

// kernel 3: a warp takes a row and needs no of_warps memory
__global__ void softmax_forward_kernel3(float* y, const float* x, int rows, int width) {
    const int lane = threadIdx.x % WARP_SIZE;
    const int r = blockIdx.x * (blockDim.x / WARP_SIZE) + threadIdx.x / WARP_SIZE;
    if (r >= rows) return;
    const float* from = x + r * width;
    float top = -INFINITY, total = 0.0f;
    for (int c = lane; c < width; c += WARP_SIZE) top = fmaxf(top, from[c]);
    top = max_over_warp(top);
    for (int c = lane; c < width; c += WARP_SIZE) total += expf(from[c] - top);
    total = sum_over_warp(total);
    for (int c = lane; c < width; c += WARP_SIZE) y[r * width + c] = expf(from[c] - top) / total;
}

// kernel 4: warps first, then the warps' results; the first half of of_warps memory has maxima
__global__ void softmax_forward_kernel4(float* y, const float* x, int width) {
    extern __shared__ float of_warps[];
    const int warps = blockDim.x / WARP_SIZE;
    const int w = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    float *maxima = of_warps, *totals = &of_warps[warps];
    const float* from = x + blockIdx.x * width;

    float top = -INFINITY;
    for (int c = threadIdx.x; c < width; c += blockDim.x) top = fmaxf(top, from[c]);
    top = max_over_warp(top);
    if (lane == 0) maxima[w] = top;
    __syncthreads();
    for (int i = 0; i < warps; i++) top = fmaxf(top, maxima[i]);

    float total = 0.0f;
    for (int c = threadIdx.x; c < width; c += blockDim.x) total += expf(from[c] - top);
    total = sum_over_warp(total);
    if (lane == 0) totals[w] = total;
    __syncthreads();
    total = 0.0f;
    for (int i = 0; i < warps; i++) total += totals[i];
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        y[blockIdx.x * width + c] = expf(from[c] - top) / total;
    }
}

// kernel 5: maximum and sum in one pass, as pairs that are folded
struct SumMax {
    float top;
    float total;
};

__device__ __forceinline__ SumMax fold(SumMax a, SumMax b) {
    const bool swap = b.top > a.top;
    const SumMax& high = swap ? b : a;
    const SumMax& low = swap ? a : b;
    return {high.top, high.total + low.total * expf(low.top - high.top)};
}

__global__ void softmax_forward_online_kernel5(float* y, const float* x, int rows, int width) {
    namespace cg = cooperative_groups;
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    const int r = blockIdx.x * warp.meta_group_size() + warp.meta_group_rank();
    if (r >= rows) return;
    SumMax mine = {-FLT_MAX, 0.0f};
    for (int c = warp.thread_rank(); c < width; c += warp.size()) {
        mine = fold(mine, {x[r * width + c], 1.0f});
    }
    const SumMax all = cg::reduce(warp, mine, fold);
    for (int c = warp.thread_rank(); c < width; c += warp.size()) {
        __stcs(y + r * width + c, expf(__ldcs(x + r * width + c) - all.top) / all.total);
    }
}

// kernel 6: causal, of (.., T, T) scores; float4 where a row is long enough; rows from last to first
__global__ void softmax_causal_kernel6(float* y, float scale, const float* x, int heads, int T) {
    assert(T % 4 == 0);
    const int lane = threadIdx.x % WARP_SIZE, warps = blockDim.x / WARP_SIZE;
    const int r = (gridDim.x - blockIdx.x - 1) * warps + threadIdx.x / WARP_SIZE;
    if (r >= heads * T) return;
    const int own = r % T, quads = own / 4;
    const float* from = x + (size_t)r * T;
    const float4* from4 = reinterpret_cast<const float4*>(from);
    float top = -FLT_MAX, total = 0.0f;
    for (int i = lane; i < quads; i += WARP_SIZE) {
        const float4 v = from4[i];
        const float before = top;
        top = fmaxf(top, fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)));
        total *= expf(scale * (before - top));
        total += expf(scale * (v.x - top)) + expf(scale * (v.y - top));
        total += expf(scale * (v.z - top)) + expf(scale * (v.w - top));
    }
    if (4 * quads + lane <= own) {
        const float before = top;
        top = fmaxf(top, from[4 * quads + lane]);
        total = total * expf(scale * (before - top)) + expf(scale * (from[4 * quads + lane] - top));
    }
    const float whole_top = max_over_warp(top);
    const float whole = sum_over_warp(total * expf(scale * (top - whole_top)));
    for (int i = lane; i <= own; i += WARP_SIZE) {
        __stcs(y + (size_t)r * T + i, expf(scale * (__ldcs(from + i) - whole_top)) / whole);
    }
}

int main(int argc, char* argv[]) {
    const int rows = 1024, width = 1000, threads = 256;
    float *x, *y;
    gpuCheck(cudaMalloc(&x, rows * width * sizeof(float)));
    gpuCheck(cudaMalloc(&y, rows * width * sizeof(float)));
    const int per_block = threads / WARP_SIZE;
    switch (argc > 1 ? atoi(argv[1]) : 0) {
        case 1: softmax_forward_kernel1<<<ceil_div(rows, threads), threads>>>(y, x, rows, width); break;
        case 2: softmax_forward_kernel2<<<rows, threads, threads * sizeof(float)>>>(y, x, width); break;
        case 3: softmax_forward_kernel3<<<ceil_div(rows, per_block), threads>>>(y, x, rows, width); break;
        case 4: softmax_forward_kernel4<<<rows, threads, 2 * per_block * sizeof(float)>>>(y, x, width); break;
        default: softmax_forward_online_kernel5<<<ceil_div(rows, per_block), threads>>>(y, x, rows, width);
    }
    gpuCheck(cudaPeekAtLastError());
    return 0;
}
