// 1_naive.cu -- layer normalisation of every pixel, from channels first to channels last. ../tuning.md
// tunes it in three stages; this is the first.
//
//   mean[n, p] = 1 / C sum over c of x[n, c, p]
//   var[n, p]  = 1 / C sum over c of (x[n, c, p] - mean[n, p])^2
//   y[n, p, c] = gamma[c] (x[n, c, p] - mean[n, p]) / sqrt(var[n, p] + eps) + beta[c]
//
// Layout:  x (N, C, P), y (N, P, C), gamma and beta (C,), C-contiguous; P = H W pixels.
// Launch:  blocks of 256 threads, one warp per pixel, the grid (ceil(P / 8), N).
// Cost:    x read once and y written once are all that is needed, 8 bytes per element.
#include "common.cuh"
// The idea: a warp per pixel, a lane per channel, the formula line by line.
__global__ void __launch_bounds__(256) layer_norm(const float* __restrict__ x,
                                                  const float* __restrict__ gamma,
                                                  const float* __restrict__ beta,
                                                  float* __restrict__ y, const int C,
                                                  const int P, const float eps) {
    const int lane = threadIdx.x % 32, p = blockIdx.x * 8 + threadIdx.x / 32;
    if (p >= P) return;
    x += blockIdx.y * C * P + p;
    y += (blockIdx.y * P + p) * C;
    float sum = 0, squares = 0;
    for (int c = lane; c < C; c += 32)
        sum += x[c * P];  // for the mean
    const float mean = warp_sum(sum) / C;
    for (int c = lane; c < C; c += 32) {
        const float difference = x[c * P] - mean;  // for the variance
        squares += difference * difference;
    }
    const float scale = rsqrtf(warp_sum(squares) / C + eps);
    for (int c = lane; c < C; c += 32) {
        const float normalised = (x[c * P] - mean) * scale;  // to normalise it
        y[c] = gamma[c] * normalised + beta[c];              // the result
    }
}
