/*
Losses of a language model: -log p of the right token, and its gradient, apart and fused.
*/
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include "common.h"

void crossentropy_forward_cpu(float* losses, const float* probs, const int* targets, int rows, int V) {
    for (int r = 0; r < rows; r++) {
        losses[r] = -logf(probs[r * V + targets[r]]);
    }
}

__global__ void crossentropy_forward_kernel1(float* losses, const float* probs, const int* targets,
                                             int rows, int V) {
    const int r = threadIdx.x + blockIdx.x * blockDim.x;
    if (r < rows) losses[r] = -logf(probs[r * V + targets[r]]);
}

// from probabilities; the target's own column is one less
__global__ void crossentropy_softmax_backward_kernel1(float* dlogits, const float* dlosses,
                                                      const float* probs, const int* targets,
                                                      int rows, int V) {
    const int i = threadIdx.x + blockIdx.x * blockDim.x;
    if (i >= rows * V) return;
    const int r = i / V;
    const float indicator = i % V == targets[r] ? 1.0f : 0.0f;
    dlogits[i] += (probs[i] - indicator) * dlosses[r];
}

struct SoftmaxParams {
    float Scale;
    float Offset;
};

// every warp reduces, then every warp reduces what the warps have
template <float (*warp_reduction)(float)>
__device__ __forceinline__ float blockReduce(float value, bool last_sync, float out_of_bounds) {
    __shared__ float of_warps[WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE, w = threadIdx.x / WARP_SIZE;
    value = warp_reduction(value);
    if (lane == 0) { of_warps[w] = value; }
    __syncthreads();
    const int warps = blockDim.x / WARP_SIZE;
    value = warp_reduction(lane < warps ? of_warps[lane] : out_of_bounds);
    if (last_sync) { __syncthreads(); }  // the memory is used again
    return value;
}

__device__ SoftmaxParams prepare_softmax(const float* logits, int V, int P) {
    float top = -INFINITY, total = 0.0f;
    for (int i = (P / 4 + blockDim.x - 1) / blockDim.x * blockDim.x - blockDim.x + threadIdx.x;
         i >= 0; i -= blockDim.x) {
        if (i >= P / 4) continue;
        const f128 pack = load128(logits + 4 * i);
        for (int k = 0; k < f128::size; ++k) {
            if (4 * i + k >= V) break;
            const float before = top;
            top = fmaxf(top, pack[k]);
            total = total * expf(before - top) + expf(pack[k] - top);
        }
    }
    const float block_top = blockReduce<warpReduceMax>(top, true, -INFINITY);
    const float mine = top == -INFINITY ? 0.0f : total * expf(top - block_top);
    return {1.0f / blockReduce<warpReduceSum>(mine, true, 0.0f), block_top};
}

// a block per row; logits become their gradients in place. V of the P columns are real ones.
template <bool WriteProbs = false>
__global__ void __launch_bounds__(256)
fused_classifier_kernel(float* logits, float* losses, float* probs, const float* dlosses,
                        const int* targets, int V, int P) {
    logits += (size_t)blockIdx.x * P;
    const int target = targets[blockIdx.x];
    const SoftmaxParams softmax = prepare_softmax(logits, V, P);
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = -logf(expf(logits[target] - softmax.Offset) * softmax.Scale);
    }
    __syncthreads();  // its logit is about to be overwritten
    const float dloss = dlosses != NULL ? dlosses[blockIdx.x] : 1.0f / gridDim.x;
    for (int c = threadIdx.x; c < V; c += blockDim.x) {
        const float prob = expf(__ldcs(&logits[c]) - softmax.Offset) * softmax.Scale;
        __stcs(&logits[c], (prob - (c == target)) * dloss);
        if constexpr (WriteProbs) {
            __stcs(&probs[(size_t)blockIdx.x * P + c], prob);
        }
    }
}

void fused_classifier(float* logits, float* losses, const float* dlosses, const int* targets,
                      int B, int T, int V, int P) {
    fused_classifier_kernel<false><<<B * T, 256>>>(logits, losses, NULL, dlosses, targets, V, P);
    cudaCheck(cudaGetLastError());
}

int main() {
    const int rows = 64, V = 50257;
    float* probs = make_random_float(rows * V);
    int* targets = (int*)calloc(rows, sizeof(int));
    float* losses = (float*)malloc(rows * sizeof(float));
    crossentropy_forward_cpu(losses, probs, targets, rows, V);
    float* d_probs;
    cudaCheck(cudaMalloc(&d_probs, rows * V * sizeof(float)));
    crossentropy_forward_kernel1<<<1, rows>>>(d_probs, d_probs, NULL, rows, V);
    crossentropy_softmax_backward_kernel1<<<ceil_div(rows * V, 256), 256>>>(d_probs, d_probs, d_probs, NULL, rows, V);
    free(probs);
    free(targets);
    free(losses);
    return 0;
}
