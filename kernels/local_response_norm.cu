// local_response_norm.cu -- local response normalisation across channels. Python side:
// minialex/ops/local_response_norm/.
//
//   s[c]  = k + alpha sum of x[j]^2 over the channels j within `half` of c
//   y[c]  = x[c] s[c]^-beta
//   gx[c] = gy[c] s[c]^-beta - 2 alpha beta x[c] sum of gy[j] x[j] s[j]^(-beta - 1) over the same j
//
// pixel by pixel; half is 2 for AlexNet's windows of 5 channels. At the first and last channels the
// window is cut off.
//
// Layout:  x, s, y, gy, gx (N, C, P), C-contiguous, where P = H W are the pixels of an image: the
//          channels of a pixel lie P numbers apart.
// Launch:  blocks of WARP x TEAM threads, the grid (tiles of pixels * tiles of channels), those of
//          channels first, so that blocks which share channels run at about the same time.
// Cost:    memory bounds it: forward moves x, s and y once, backward gy, x, s and gx. What is added
//          up, x^2 or gy x s^(-beta - 1), is computed once by a block and shared through shared
//          memory; only at the edges of a tile two blocks compute the same, 4 channels of 36 for
//          AlexNet, which come from the L2 cache. From there a window costs 2 half + 1 reads of
//          shared memory and as many additions.
//
//          Why not carry a running sum, adding the channel that enters and taking off the one that
//          leaves? Each step would leave its rounding error behind: after one large activation what
//          is left of it can be more than all that follows.

constexpr int TEAM = 8;                       // threads that share the channels of a pixel
constexpr int EACH = 4;                       // the channels of a thread
constexpr int CHANNELS = TEAM * EACH;         // the channels of a block
constexpr int SHELVES = CHANNELS + 16;        // channels that fit into shared memory at a time

// Where a thread is: at one pixel, and from channel `first` on at every TEAM-th.
//   P = 50 and C = 96, so 3 tiles of channels: block 7 has tile 7/3 = 2 of the pixels and 7%3 = 1 of
//   the channels. Its lane 0 is pixel 64 of all images, which is pixel 14 of image 1.
struct Column {
    bool inside;     // the last tile of pixels may stick out past the end
    int base, step;  // channel c lies at base + c step
    int tile;        // the first channel of the block

    __device__ __forceinline__ Column(const int N, const int C, const int P) : step(P) {
        const int tiles = (C + CHANNELS - 1) / CHANNELS;
        const int pixel = blockIdx.x / tiles * WARP + threadIdx.x, n = pixel / P;
        inside = pixel < N * P;
        base = n * C * P + (pixel - n * P);
        tile = blockIdx.x % tiles * CHANNELS;
    }

    __device__ __forceinline__ int channel(const int i) const { return tile + threadIdx.y + i * TEAM; }
    __device__ __forceinline__ int at(const int c) const { return base + c * step; }
};

// The sums of value(j) over the channels j within `half` of each of this thread's.
//
// All channels that the block's windows hold, C + 2 half of them, go over the shelves, as many at a
// time as there is room for: once is enough up to windows of 17, and a window of any size takes more
// rounds. The lanes of a warp are neighbouring pixels, in memory and on a shelf: no bank conflicts.
//   tile = 32, half = 2, C = 96: channels 30 to 65 are put on shelves 0 to 35. Channel 40 adds up
//   channels 38 to 42, which are shelves 8 to 12.
template <typename T, typename Value>
__device__ __forceinline__ void window_sums(const Column at, const int C, const int half, Value value,
                                            T (&sums)[EACH]) {
    __shared__ T shelves[SHELVES][WARP];
    const int end = min(C, at.tile + CHANNELS + half);
    for (int low = max(0, at.tile - half); low < end; low += SHELVES) {
        const int high = min(end, low + SHELVES);
        for (int j = low + threadIdx.y; j < high; j += TEAM)
            shelves[j - low][threadIdx.x] = at.inside ? value(at.at(j)) : T(0);
        // The shelves are full before any thread adds up what others have put there.
        __syncthreads();
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int c = at.channel(i), last = min(high, c + half + 1);
            for (int j = max(low, c - half); j < last; ++j) sums[i] += shelves[j - low][threadIdx.x];
        }
        // In the next round no thread overwrites what a slower one still reads.
        __syncthreads();
    }
}

// s^-beta. For the paper's 3/4 it is r sqrt(r) with r = 1 / sqrt(s): two instructions of the special
// units and a few more, instead of the hundred of a power.
template <typename T>
__device__ __forceinline__ T power(const T s, const T beta) {
    if (beta != T(0.75)) return pow(s, -beta);
    const T root = rsqrt(s);
    return root * sqrt(root);
}

// The idea: s from the window of squares, y from s and the thread's own x, which is in the L1 cache
// from being squared.
template <typename T>
__global__ void __launch_bounds__(256) local_response_norm_forward(
    const T* __restrict__ x, T* __restrict__ y, T* __restrict__ s, const int N, const int C, const int P,
    const int half, const T alpha, const T beta, const T k) {
    const Column column(N, C, P);
    T sums[EACH] = {};
    window_sums(column, C, half, [=](int at) { return x[at] * x[at]; }, sums);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int c = column.channel(i), at = column.at(c);
        if (!column.inside || c >= C) continue;
        s[at] = k + alpha * sums[i];
        y[at] = x[at] * power(k + alpha * sums[i], beta);
    }
}

// The idea: channel j gave to every window that holds it, and because windows are symmetric those
// are the channels within `half` of it: the sum runs over the same window as in forward. Four blocks
// a multiprocessor are enough, three of doubles: left alone, the compiler squeezes in eight and
// spills registers.
template <typename T>
__global__ void __launch_bounds__(256, sizeof(T) == sizeof(float) ? 4 : 3) local_response_norm_backward(
    const T* __restrict__ gy, const T* __restrict__ x, const T* __restrict__ s, T* __restrict__ gx,
    const int N, const int C, const int P, const int half, const T alpha, const T beta) {
    const Column column(N, C, P);
    T sums[EACH] = {};
    window_sums(column, C, half,
                [=](int at) { return gy[at] * power(s[at], beta) * x[at] / s[at]; }, sums);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int c = column.channel(i), at = column.at(c);
        if (!column.inside || c >= C) continue;
        gx[at] = gy[at] * power(s[at], beta) - T(2) * alpha * beta * x[at] * sums[i];
    }
}
