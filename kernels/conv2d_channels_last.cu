// conv2d_channels_last.cu -- the operands of conv2d_multistage.cuh, rewritten with their channels last
//
//   y[b, p, g, c] = x[b, g, c, p]      zero for c = C ... Cp - 1, Cp being C padded to whole chunks
//
// for images (N, groups, C, H W), filters (O, 1, C, KH KW) and gradients (N, groups, O / groups, OH OW):
// for as many of them as a pass needs, in one launch. A chunk is 16 bytes: 4 floats or 8 bfloat16
// numbers.
//
// Layout:  x (B, G, C, P), y (B, P, G, Cp), C-contiguous.
// Launch:  blocks of 256 threads, one per tile of channels x pixels numbers of one b and g: as many
//          channels as the next power of two has, 32 at most, and 1024 numbers.
// Cost:    reads and writes everything once.
// needs: sm_80

#include "bfloat16.cuh"
#include "conv2d.cuh"
#include "mma.cuh"
#include "vectors.cuh"

constexpr int LOG_TILE_NUMBERS = 10, TILE_NUMBERS = 1 << LOG_TILE_NUMBERS;
constexpr int MAX_TILE_CHANNELS = 32, THREADS = 256;

// An array and what it becomes; y is null where it is not wanted.
template <typename T> struct Rewriting {
    const float* x;
    T* y;
    int B, G, C, P;

    __device__ __forceinline__ int width() const { return padded<T>(C); }
    // The binary logarithm of a tile's channels.
    __device__ __forceinline__ int log_channels() const {
        return WARP_SIZE - __clz(min(width(), MAX_TILE_CHANNELS) - 1);
    }
    __device__ __forceinline__ int row_tiles() const { return tiles_of(width(), log_channels()); }
    __device__ __forceinline__ int column_tiles() const {
        return tiles_of(P, LOG_TILE_NUMBERS - log_channels());
    }
    __device__ __forceinline__ int tiles() const { return y ? B * G * row_tiles() * column_tiles() : 0; }

  private:
    static __device__ __forceinline__ int tiles_of(const int count, const int log_size) {
        return (count + (1 << log_size) - 1) >> log_size;
    }
};

__device__ __forceinline__ void write_chunk(const float* from, float* to) { write_vector(from, to); }
__device__ __forceinline__ void write_chunk(const float* from, __nv_bfloat16* to) {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(bfloat16_pair(from[0], from[1]), bfloat16_pair(from[2], from[3]),
                   bfloat16_pair(from[4], from[5]), bfloat16_pair(from[6], from[7]));
}

// The idea: a transposition through shared memory, so that lanes read along pixels and write along
// channels, a chunk at a time. Of few channels a tile has more pixels. Numbers are rounded once, to
// TF32's 10 bits of fraction (TO_TF32) or as they are written, and not each time that one is multiplied.
//
// A row of the tile, a channel, is padded to 1056 / channels numbers. Lanes that read a chunk of W
// channels of a pixel, c = W k + e, have k = 0 ... channels / W - 1 and 32 W / channels pixels: banks
// 32 W k / channels + pixel, apart from what they have in common, which are 32 different ones.
template <bool TO_TF32, typename T>
__device__ __forceinline__ void rewrite(const float* x, T* x_chunks, const float* w, T* w_chunks,
                                        const float* gy, T* gy_chunks, const ConvShape& s) {
    __shared__ float tile[TILE_NUMBERS + MAX_TILE_CHANNELS];
    constexpr int W = VECTOR_WIDTH<T>;
    int block = blockIdx.x;
    Rewriting<T> own{x, x_chunks, s.N, s.groups, s.channels_per_group(), s.H * s.W};
    if (block >= own.tiles()) {
        block -= own.tiles();
        own = {w, w_chunks, s.O, 1, s.channels_per_group(), s.window_size()};
    }
    if (block >= own.tiles()) {
        block -= own.tiles();
        own = {gy, gy_chunks, s.N, s.groups, s.filters_per_group(), s.OH * s.OW};
    }
    const int log_channels = own.log_channels(), log_pixels = LOG_TILE_NUMBERS - log_channels;
    const int channels = 1 << log_channels, pixels = 1 << log_pixels;
    const int row_length = pixels + (MAX_TILE_CHANNELS >> log_channels);
    // Tile (channels, pixels) of image and group.
    const Index3 at = unravel(block, own.row_tiles(), own.column_tiles());
    const int first_c = at.b * channels, first_p = at.c * pixels;

#pragma unroll
    for (int i = threadIdx.x; i < TILE_NUMBERS; i += THREADS) {
        const int row = i >> log_pixels, column = i & (pixels - 1);
        const int c = first_c + row, p = first_p + column;
        float value = 0;
        if (c < own.C && p < own.P) value = own.x[(at.a * own.C + c) * own.P + p];
        if constexpr (TO_TF32) value = __uint_as_float(to_tf32(value));
        tile[row * row_length + column] = value;
    }
    // The tile is complete before any thread reads what others have read.
    __syncthreads();
    const int first = threadIdx.x * W, chunk = first & (channels - 1), column = first >> log_channels;
    const int c = first_c + chunk, p = first_p + column, b = at.a / own.G, g = at.a % own.G;
    if (first >= TILE_NUMBERS || c >= own.width() || p >= own.P) return;
    float vector[W];
#pragma unroll
    for (int e = 0; e < W; ++e) vector[e] = tile[(chunk + e) * row_length + column];
    write_chunk(vector, own.y + ((b * own.P + p) * own.G + g) * own.width() + c);
}

// instances: ROUND = 0, 1
template <int ROUND>
__global__ void __launch_bounds__(THREADS) conv2d_channels_last(
    const float* __restrict__ x, float* __restrict__ x_chunks, const float* __restrict__ w,
    float* __restrict__ w_chunks, const float* __restrict__ gy, float* __restrict__ gy_chunks,
    const ConvShape s) {
    rewrite<ROUND == 1>(x, x_chunks, w, w_chunks, gy, gy_chunks, s);
}

__global__ void __launch_bounds__(THREADS) conv2d_channels_last_bf16(
    const float* __restrict__ x, __nv_bfloat16* __restrict__ x_chunks, const float* __restrict__ w,
    __nv_bfloat16* __restrict__ w_chunks, const float* __restrict__ gy,
    __nv_bfloat16* __restrict__ gy_chunks, const ConvShape s) {
    rewrite<false>(x, x_chunks, w, w_chunks, gy, gy_chunks, s);
}
