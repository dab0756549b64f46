/*
Losses of a language model: -log p of the right token, and its gradient, apart and fused.
*/
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

void crossentropy_forward_cpu(float* losses, const float* p, const int* right, int rows, int V) {
    for (int r = 0; r < rows; r++) {
        losses[r] = -logf(p[r * V + right[r]]);
    }
}

__global__ void crossentropy_forward_kernel1(float* losses, const float* p, const int* right,
                                             int rows, int V) {
    const int r = threadIdx.x + blockIdx.x * blockDim.x;
    if (r < rows) losses[r] = -logf(p[r * V + right[r]]);
}

// from probabilities; the own's own column is one less
__global__ void crossentropy_softmax_backward_kernel1(float* dlogits, const float* dlosses,
                                                      const float* p, const int* right,
                                                      int rows, int V) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i >= rows * V) return;
    const int r = i / V;
    const float indicator = i % V == right[r] ? 1.0f : 0.0f;
    dlogits[i] += (p[i] - indicator) * dlosses[r];
}

struct Norm {
    float inverse;
    float top;
};

// every warp reduces, then every warp reduces what the warps have
template <float (*fold_warp)(float)>
__device__ __forceinline__ float blockReduce(float value, bool last_sync, float out_of_bounds) {
    __shared__ float of_warps[WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE, w = threadIdx.x / WARP_SIZE;
    value = fold_warp(value);
    if (lane == 0) { of_warps[w] = value; }
    __syncthreads();
    const int warps = blockDim.x / WARP_SIZE;
    value = fold_warp(lane < warps ? of_warps[lane] : out_of_bounds);
    if (last_sync) { __syncthreads(); }  // the memory is used again
    return value;
}

__device__ Norm norm_of_row(const float* logits, int V, int P) {
    float top = -INFINITY, total = 0.0f;
    for (int i = (P / 4 + blockDim.x - 1) / blockDim.x * blockDim.x - blockDim.x + threadIdx.x;
         i >= 0; i -= blockDim.x) {
        if (i >= P / 4) continue;
        const pack_f pack = load_pack(logits + 4 * i);
        for (int k = 0; k < pack_f::size; ++k) {
            if (4 * i + k >= V) break;
            const float before = top;
            top = fmaxf(top, pack[k]);
            total = total * expf(before - top) + expf(pack[k] - top);
        }
    }
    const float block_top = blockReduce<max_over_warp>(top, true, -INFINITY);
    const float mine = top == -INFINITY ? 0.0f : total * expf(top - block_top);
    return {1.0f / blockReduce<sum_over_warp>(mine, true, 0.0f), block_top};
}

// a block per row; logits become their gradients in place. V of the P columns are real ones.
template <bool KEEP = false>
__global__ void __launch_bounds__(256)
fused_classifier_kernel(float* logits, float* losses, float* p, const float* dlosses,
                        const int* right, int V, int P) {
    logits += (size_t)blockIdx.x * P;
    const int own = right[blockIdx.x];
    const Norm softmax = norm_of_row(logits, V, P);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = -logf(expf(logits[own] - softmax.top) * softmax.inverse);
    }
    __syncthreads();  // its logit is about to be overwritten
    const float dloss = dlosses != NULL ? dlosses[blockIdx.x] : 1.0f / gridDim.x;
    for (int c = threadIdx.x; c < V; c += blockDim.x) {
        const float prob = expf(__ldcs(&logits[c]) - softmax.top) * softmax.inverse;
        __stcs(&logits[c], (prob - (c == own)) * dloss);
        if constexpr (KEEP) {
            __stcs(&p[(size_t)blockIdx.x * P + c], prob);
        }
    }
}

void fused_classifier(float* logits, float* losses, const float* dlosses, const int* right,
                      int B, int T, int V, int P) {
    fused_classifier_kernel<false><<<B * T, 256>>>(logits, losses, NULL, dlosses, right, V, P);
    gpuCheck(cudaPeekAtLastError());
}

int main() {
    const int rows = 64, V = 50257;
    float* p = random_floats(rows * V);
    int* right = (int*)calloc(rows, sizeof(int));
    float* losses = (float*)malloc(rows * sizeof(float));
    crossentropy_forward_cpu(losses, p, right, rows, V);
    float* d_probs;
    gpuCheck(cudaMalloc(&d_probs, rows * V * sizeof(float)));
    crossentropy_forward_kernel1<<<1, rows>>>(d_probs, d_probs, NULL, rows, V);
    crossentropy_softmax_backward_kernel1<<<ceil_div(rows * V, 256), 256>>>(d_probs, d_probs, d_probs, NULL, rows, V);
    free(p);
    free(right);
    free(losses);
    return 0;
}
