// local_response_norm.cu -- local response normalisation across channels. Python side:
// minialex/ops/local_response_norm/.
//
//   s[c]  = k + alpha sum of x[j]^2 over the channels j within `half` of c
//   y[c]  = x[c] s[c]^-beta
//   gx[c] = gy[c] s[c]^-beta - 2 alpha beta x[c] sum of gy[j] x[j] s[j]^(-beta - 1) over the same j
//
// pixel by pixel; half is 2 for AlexNet's windows of 5 channels. At the first and last channels the
// window is truncated.
//
// Layout:  x, s, y, gy, gx (N, C, P), C-contiguous, where P = H W are the pixels of an image: the
//          channels of a pixel lie P numbers apart. s is of the type A that is computed with, float
//          where the others are of bfloat16: a rounded s would give other gradients.
// Launch:  blocks of WARP_SIZE x THREADS_PER_PIXEL threads, the grid (tiles of pixels * tiles of
//          channels), channels varying fastest, so that blocks which share channels run at about the
//          same time.
// Cost:    memory-bound: forward moves x, s and y once, backward gy, x, s and gx. The terms of the
//          sums, x^2 or gy x s^(-beta - 1), are computed once per block and shared through shared
//          memory; only at the edges of a tile do two blocks compute the same, 4 channels of 36 for
//          AlexNet, which come from the L2 cache. From there a window costs 2 half + 1 reads of
//          shared memory and as many additions. Numbers of bfloat16, which are widened to float as
//          they are read, take half as much; s does not.
//
//          Why not a running sum, adding the channel that enters and subtracting the one that
//          leaves? Each step would leave its rounding error behind: after one large activation what
//          is left of it can be more than all that follows.

constexpr int THREADS_PER_PIXEL = 8;
constexpr int CHANNELS_PER_THREAD = 4;
constexpr int CHANNELS_PER_BLOCK = THREADS_PER_PIXEL * CHANNELS_PER_THREAD;
constexpr int SMEM_ROWS = CHANNELS_PER_BLOCK + 16;  // channels in shared memory at a time

// The pixel and the channels of one thread: from its first on every THREADS_PER_PIXEL-th.
//   P = 50 and C = 96, so 3 tiles of channels: block 7 has tile 7/3 = 2 of the pixels and 7%3 = 1 of
//   the channels. Its lane 0 is pixel 64 of all images, which is pixel 14 of image 1.
struct PixelChannels {
    bool inside;             // the last tile of pixels may extend past the end
    int base, stride;        // channel c lies at base + c stride
    int first;               // the first channel of the block

    __device__ __forceinline__ PixelChannels(const int N, const int C, const int P) : stride(P) {
        const int tiles = (C + CHANNELS_PER_BLOCK - 1) / CHANNELS_PER_BLOCK;
        const int pixel = blockIdx.x / tiles * WARP_SIZE + threadIdx.x, n = pixel / P;
        inside = pixel < N * P;
        base = n * C * P + (pixel - n * P);
        first = blockIdx.x % tiles * CHANNELS_PER_BLOCK;
    }

    __device__ __forceinline__ int channel(const int i) const {
        return first + threadIdx.y + i * THREADS_PER_PIXEL;
    }
    __device__ __forceinline__ int offset(const int c) const { return base + c * stride; }
};

// The sums of value(offset of j) over the channels j within `half` of each of this thread's.
//
// All channels that the block's windows cover, CHANNELS_PER_BLOCK + 2 half of them, go through
// shared memory, SMEM_ROWS at a time: one pass suffices up to windows of 17, larger ones take more.
// The lanes of a warp are neighbouring pixels, in global and in shared memory: no bank conflicts.
//   first = 32, half = 2, C = 96: channels 30 to 65 are in rows 0 to 35. Channel 40 adds up channels
//   38 to 42, which are rows 8 to 12.
template <typename T, typename Value>
__device__ __forceinline__ void window_sums(const PixelChannels own, const int C, const int half,
                                            Value value, T (&sums)[CHANNELS_PER_THREAD]) {
    __shared__ T smem[SMEM_ROWS][WARP_SIZE];
    const int end = min(C, own.first + CHANNELS_PER_BLOCK + half);
    for (int low = max(0, own.first - half); low < end; low += SMEM_ROWS) {
        const int high = min(end, low + SMEM_ROWS);
        for (int j = low + threadIdx.y; j < high; j += THREADS_PER_PIXEL)
            smem[j - low][threadIdx.x] = own.inside ? value(own.offset(j)) : T(0);
        // All rows are written before any thread reads those of others.
        __syncthreads();
#pragma unroll
        for (int i = 0; i < CHANNELS_PER_THREAD; ++i) {
            const int c = own.channel(i), last = min(high, c + half + 1);
            for (int j = max(low, c - half); j < last; ++j) sums[i] += smem[j - low][threadIdx.x];
        }
        // All threads have read these rows before the next pass overwrites them.
        __syncthreads();
    }
}

// s^-beta. For the paper's 3/4 it is r sqrt(r) with r = 1 / sqrt(s): two instructions of the special
// function units and a few more, instead of a hundred for pow().
template <typename T>
__device__ __forceinline__ T power(const T s, const T beta) {
    if (beta != T(0.75)) return pow(s, -beta);
    const T root = rsqrt(s);
    return root * sqrt(root);
}

// The idea: s from the window of squares, y from s and the thread's own x, which is in the L1 cache
// since it was squared.
// instances: T = float, double, __nv_bfloat16; A = float, double
template <typename T, typename A>
__global__ void __launch_bounds__(256) local_response_norm_forward(
    const T* __restrict__ x, T* __restrict__ y, A* __restrict__ s, const int N, const int C, const int P,
    const int half, const A alpha, const A beta, const A k) {
    const PixelChannels own(N, C, P);
    A sums[CHANNELS_PER_THREAD] = {};
    window_sums(own, C, half, [=](int at) { return A(x[at]) * A(x[at]); }, sums);
#pragma unroll
    for (int i = 0; i < CHANNELS_PER_THREAD; ++i) {
        const int c = own.channel(i), at = own.offset(c);
        if (!own.inside || c >= C) continue;
        s[at] = k + alpha * sums[i];
        y[at] = T(A(x[at]) * power(k + alpha * sums[i], beta));
    }
}

// The idea: channel j contributes to every window that contains it, and because windows are
// symmetric those are the channels within `half` of it: the sum runs over the same window as in
// forward. Four blocks per multiprocessor suffice, three of doubles: without __launch_bounds__ the
// compiler aims at eight and spills registers.
// instances: T = float, double, __nv_bfloat16; A = float, double
template <typename T, typename A>
__global__ void __launch_bounds__(256, sizeof(A) == sizeof(float) ? 4 : 3) local_response_norm_backward(
    const T* __restrict__ gy, const T* __restrict__ x, const A* __restrict__ s, T* __restrict__ gx,
    const int N, const int C, const int P, const int half, const A alpha, const A beta) {
    const PixelChannels own(N, C, P);
    A sums[CHANNELS_PER_THREAD] = {};
    window_sums(own, C, half,
                [=](int at) { return A(gy[at]) * power(s[at], beta) * A(x[at]) / s[at]; }, sums);
#pragma unroll
    for (int i = 0; i < CHANNELS_PER_THREAD; ++i) {
        const int c = own.channel(i), at = own.offset(c);
        if (!own.inside || c >= C) continue;
        // Of the two products one is not rounded. fma says which, where compilers choose for each T.
        const A nearby = A(2) * alpha * beta * A(x[at]) * sums[i];
        gx[at] = T(fma(A(gy[at]), power(s[at], beta), -nearby));
    }
}
