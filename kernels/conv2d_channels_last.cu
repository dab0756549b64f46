// conv2d_channels_last.cu -- the operands of conv2d_multistage.cuh, rewritten with their channels last
//
//   y[b, p, g, c] = x[b, g, c, p]      zero for c = C ... Cp - 1, Cp being C padded to whole chunks
//
// for images (N, groups, C, H W), filters (O, 1, C, KH KW) and gradients (N, groups, O / groups, OH OW):
// for as many of them as a pass needs, in one launch. A chunk is 16 bytes: 4 floats or 8 bfloat16
// numbers.
//
// Layout:  x (B, G, C, P), y (B, P, G, Cp), C-contiguous. Images and gradients of floats, or, where they
//          become bfloat16 numbers, of these (In); filters of floats.
// Launch:  a 1-D grid of blocks of 128 threads, one thread per pixel of two chunks of channels of a b and g.
// Cost:    reads and writes everything once.
// needs: sm_80

#include "bfloat16.cuh"
#include "conv2d.cuh"
#include "mma.cuh"
#include "vectors.cuh"

constexpr int THREADS = 128, CHUNKS = 2;

// An array and what it becomes; y is null where it is not wanted.
template <typename In, typename T> struct Rewriting {
    const In* x;
    T* y;
    int B, G, C, P;

    __device__ __forceinline__ int width() const { return padded<T>(C); }
    __device__ __forceinline__ int channel_blocks() const {
        return (C + CHUNKS * VECTOR_WIDTH<T> - 1) / (CHUNKS * VECTOR_WIDTH<T>);
    }
    __device__ __forceinline__ int threads() const { return y ? B * G * channel_blocks() * P : 0; }
};

__device__ __forceinline__ void write_chunk(const float* from, float* to) { write_vector(from, to); }
template <typename In> __device__ __forceinline__ void write_chunk(const In* from, __nv_bfloat16* to) {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(bfloat16_pair(from[0], from[1]), bfloat16_pair(from[2], from[3]),
                   bfloat16_pair(from[4], from[5]), bfloat16_pair(from[6], from[7]));
}

// The idea: a transposition in registers. A thread has one pixel, so that lanes read along pixels, and of
// it two chunks of channels, a sector of 32 bytes. All of its numbers, eight floats or sixteen of bfloat16,
// are on their way at a time, and nothing but them and their place costs instructions. Numbers are
// rounded once, to TF32's 10 bits of fraction (TO_TF32) or as they are written, and not each time that
// one is multiplied; those of bfloat16 only change places. Threads count pixels, then chunks, then images,
// across blocks: filters have too few pixels for a block of their own.
template <bool TO_TF32, typename In, typename T>
__device__ __forceinline__ void rewrite_pixel(const Rewriting<In, T>& own, const int thread) {
    if (thread >= own.threads()) return;
    constexpr int W = VECTOR_WIDTH<T>;
    // Image and group, chunks of channels, pixel.
    const Index3 at = unravel(thread, own.channel_blocks(), own.P);
    const int c = at.b * CHUNKS * W, p = at.c, b = at.a / own.G, g = at.a % own.G;
    const In* const from = own.x + (at.a * own.C + c) * own.P + p;
    T* const to = own.y + ((b * own.P + p) * own.G + g) * own.width() + c;
    In numbers[CHUNKS * W];
#pragma unroll
    for (int e = 0; e < CHUNKS * W; ++e) {
        numbers[e] = c + e < own.C ? from[e * own.P] : In{};
        if constexpr (TO_TF32) numbers[e] = __uint_as_float(to_tf32(numbers[e]));
    }
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk)
        if (c + chunk * W < own.C) write_chunk(numbers + chunk * W, to + chunk * W);
}

template <bool TO_TF32, typename In, typename T>
__device__ __forceinline__ void rewrite(const In* x, T* x_chunks, const float* w, T* w_chunks,
                                        const In* gy, T* gy_chunks, const ConvShape& s) {
    int thread = flat_index();
    Rewriting<In, T> own{x, x_chunks, s.N, s.groups, s.channels_per_group(), s.H * s.W};
    if (thread >= own.threads()) {
        thread -= own.threads();
        own = {gy, gy_chunks, s.N, s.groups, s.filters_per_group(), s.OH * s.OW};
    }
    const Rewriting<float, T> filters{w, w_chunks, s.O, 1, s.channels_per_group(), s.window_size()};
    if constexpr (sizeof(In) == sizeof(float)) {
        if (thread >= own.threads()) {
            thread -= own.threads();
            own = filters;
        }
        rewrite_pixel<TO_TF32>(own, thread);
    } else if (thread < own.threads()) {
        rewrite_pixel<TO_TF32>(own, thread);
    } else {
        rewrite_pixel<TO_TF32>(filters, thread - own.threads());
    }
}

// instances: ROUND = 0, 1
template <int ROUND>
__global__ void __launch_bounds__(THREADS) conv2d_channels_last(
    const float* __restrict__ x, float* __restrict__ x_chunks, const float* __restrict__ w,
    float* __restrict__ w_chunks, const float* __restrict__ gy, float* __restrict__ gy_chunks,
    const ConvShape s) {
    rewrite<ROUND == 1>(x, x_chunks, w, w_chunks, gy, gy_chunks, s);
}

// instances: In = float, __nv_bfloat16
template <typename In>
__global__ void __launch_bounds__(THREADS) conv2d_channels_last_bf16(
    const In* __restrict__ x, __nv_bfloat16* __restrict__ x_chunks, const float* __restrict__ w,
    __nv_bfloat16* __restrict__ w_chunks, const In* __restrict__ gy,
    __nv_bfloat16* __restrict__ gy_chunks, const ConvShape s) {
    rewrite<false>(x, x_chunks, w, w_chunks, gy, gy_chunks, s);
}
