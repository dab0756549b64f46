// 2_shared_tile.cu -- layer normalisation, the second stage of ../tuning.md: x by way of shared memory.
// 1_naive.cu has the formula and the layout.
//
// Launch:  blocks of 256 threads, 32 pixels per block, the grid (ceil(P / 32), N); 128 C bytes of
//          dynamic shared memory.
#include "common.cuh"
// The idea: the block copies its 32 pixels of every channel to shared memory, lanes along pixels, as x
// lies in memory. Then each warp takes one pixel after another, lanes along channels, as y lies.
__global__ void __launch_bounds__(256) layer_norm(const float* __restrict__ x,
                                                  const float* __restrict__ gamma,
                                                  const float* __restrict__ beta,
                                                  float* __restrict__ y, const int C,
                                                  const int P, const float eps) {
    extern __shared__ float tile[];  // (C, 32)
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * 32;
    const int pixels = P - first < 32 ? P - first : 32;
    x += blockIdx.y * C * P + first;
    y += (blockIdx.y * P + first) * C;
    if (lane < pixels)
        for (int c = warp; c < C; c += 8)
            tile[c * 32 + lane] = x[c * P + lane];  // the copy
    // The tile is complete before a warp reads channels that others copied.
    __syncthreads();
    for (int p = warp; p < pixels; p += 8) {
        float sum = 0, squares = 0;
        for (int c = lane; c < C; c += 32)
            sum += tile[c * 32 + p];  // for the mean
        const float mean = warp_sum(sum) / C;
        for (int c = lane; c < C; c += 32) {
            const float difference = tile[c * 32 + p] - mean;  // for the variance
            squares += difference * difference;
        }
        const float scale = rsqrtf(warp_sum(squares) / C + eps);
        for (int c = lane; c < C; c += 32) {
            const float normalised = (tile[c * 32 + p] - mean) * scale;  // to normalise it
            y[p * C + c] = gamma[c] * normalised + beta[c];              // the result
        }
    }
}
