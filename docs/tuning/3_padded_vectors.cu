// 3_padded_vectors.cu -- layer normalisation, the third stage of ../tuning.md: no bank conflicts, vectors
// of four. 1_naive.cu has the formula and the layout.
//
// Layout:  C is one of the instances, and P a multiple of 4; x, y, gamma and beta begin at a multiple of 16 bytes.
// Launch:  blocks of 256 threads, 32 pixels per block, the grid (ceil(P / 32), N).
#include "common.cuh"
// The sum over 8 neighbouring lanes, in each of them. All 32 lanes take part.
__device__ __forceinline__ float sum_of_eight(float value) {
#pragma unroll
    for (int step = 4; step > 0; step /= 2) value += __shfl_xor_sync(FULL_MASK, value, step);
    return value;
}

// The idea: a column of padding, so that element (c, p) of the tile is in bank (c + p) % 32, and lanes
// in both halves of the kernel are 4 along one axis by 8 vectors of 4 along the other. Then all 32 are
// in different banks, as a lane's row or column plus four times its vector takes each of 0 to 31 once:
//
//          copy: lane 8 r + v has channel r, pixels 4 v to 4 v + 3          bank r + 4 v + k
//          rest: lane 8 r + v has pixel r, channels 4 v to 4 v + 3          bank r + 4 v + k
//
// A lane keeps its C / 8 channels in registers: the tile is read once, not three times. For that C is
// known to the compiler.
// instances: C = 64, 128
template <int C>
__global__ void __launch_bounds__(256) layer_norm(const float* __restrict__ x,
                                                  const float* __restrict__ gamma,
                                                  const float* __restrict__ beta,
                                                  float* __restrict__ y, const int P,
                                                  const float eps) {
    __shared__ float tile[C][32 + 1];
    const int row = threadIdx.x / 8, column = threadIdx.x % 8 * 4, first = blockIdx.x * 32;
    x += blockIdx.y * C * P + first;
    y += (blockIdx.y * P + first) * C;
    if (first + column < P)
#pragma unroll
        for (int c = row; c < C; c += 32) {
            const float4 four = *reinterpret_cast<const float4*>(&x[c * P + column]);  // the copy
            tile[c][column + 0] = four.x;  // pixel 0
            tile[c][column + 1] = four.y;  // pixel 1
            tile[c][column + 2] = four.z;  // pixel 2
            tile[c][column + 3] = four.w;  // pixel 3
        }
    // The tile is complete before a warp reads channels that others copied.
    __syncthreads();
    // A warp has 4 neighbouring pixels. P is a multiple of 4, so it is here as a whole or not at all.
    if (first + row >= P) return;
    float mine[C / 8], sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < C / 8; ++i) {
        mine[i] = tile[i / 4 * 32 + column + i % 4][row];  // all its channels
        sum += mine[i];
    }
    const float mean = sum_of_eight(sum) / C;
#pragma unroll
    for (int i = 0; i < C / 8; ++i) {
        mine[i] -= mean;
        squares += mine[i] * mine[i];
    }
    const float scale = rsqrtf(sum_of_eight(squares) / C + eps);
#pragma unroll
    for (int i = 0; i < C / 8; i += 4) {
        const int c = i / 4 * 32 + column;
        const float4 g = *reinterpret_cast<const float4*>(&gamma[c]);  // four of gamma
        const float4 b = *reinterpret_cast<const float4*>(&beta[c]);   // four of beta
        const float4 result = make_float4(g.x * mine[i] * scale + b.x, g.y * mine[i + 1] * scale + b.y,
                                          g.z * mine[i + 2] * scale + b.z, g.w * mine[i + 3] * scale + b.w);
        *reinterpret_cast<float4*>(&y[row * C + c]) = result;  // the result
    }
}
