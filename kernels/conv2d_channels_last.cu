// conv2d_channels_last.cu -- the operands of conv2d_multistage.cu, rewritten with their channels last
//
//   y[b, p, g, c] = x[b, g, c, p]      zero for c = C ... Cp - 1, Cp being C padded to a multiple of 4
//
// Images are (N, groups, C, H W), filters (O, 1, C, KH KW), gradients (N, groups, O / groups, OH OW).
//
// Layout:  x (B, G, C, P), y (B, P, G, Cp), C-contiguous.
// Launch:  blocks of 256 threads, one per tile of channels x pixels numbers of one b and g: as many
//          channels as the next power of two has, 32 at most, and 1024 numbers.
// Cost:    reads and writes everything once.
// needs: sm_80

#include "mma.cuh"
#include "vectors.cuh"

constexpr int LOG_TILE_NUMBERS = 10, TILE_NUMBERS = 1 << LOG_TILE_NUMBERS;
constexpr int MAX_TILE_CHANNELS = 32, THREADS = 256;

// The idea: a transposition through shared memory, so that lanes read along pixels and write along
// channels, four at a time. Of few channels a tile has more pixels. For ROUND = 1 numbers are rounded
// to TF32's 10 bits of fraction, once, and not each time that one is multiplied.
//
// A row of the tile, a channel, is padded to 1056 / channels numbers. Lanes that read four channels of a
// pixel, c = 4 k + e, have k = 0 ... channels / 4 - 1 and 128 / channels pixels: banks 128 k / channels
// + pixel, apart from what they have in common, which are 32 different ones.
// instances: ROUND = 0, 1
template <int ROUND>
__global__ void __launch_bounds__(THREADS) conv2d_channels_last(
    const float* __restrict__ x, float* __restrict__ y, const int B, const int G, const int C,
    const int P) {
    __shared__ float tile[TILE_NUMBERS + MAX_TILE_CHANNELS];
    const int padded = (C + 3) / 4 * 4;
    const int log_channels = WARP_SIZE - __clz(min(padded, MAX_TILE_CHANNELS) - 1);
    const int log_pixels = LOG_TILE_NUMBERS - log_channels;
    const int channels = 1 << log_channels, pixels = 1 << log_pixels;
    const int row_length = pixels + (MAX_TILE_CHANNELS >> log_channels);
    const int tiles_p = (P + pixels - 1) / pixels, tiles_c = (padded + channels - 1) / channels;
    // Tile (channels, pixels) of image and group.
    const Index3 own = unravel(blockIdx.x, tiles_c, tiles_p);
    const int first_c = own.b * channels, first_p = own.c * pixels, b = own.a / G, g = own.a % G;

#pragma unroll
    for (int i = threadIdx.x; i < TILE_NUMBERS; i += THREADS) {
        const int row = i >> log_pixels, column = i & (pixels - 1), c = first_c + row, p = first_p + column;
        float value = 0;
        if (c < C && p < P) value = x[(own.a * C + c) * P + p];
        if constexpr (ROUND == 1) value = __uint_as_float(to_tf32(value));
        tile[row * row_length + column] = value;
    }
    // The tile is complete before any thread reads what others have read.
    __syncthreads();
    const int chunk = threadIdx.x * 4 & (channels - 1), column = threadIdx.x * 4 >> log_channels;
    const int c = first_c + chunk, p = first_p + column;
    if (c >= padded || p >= P) return;
    float vector[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) vector[e] = tile[(chunk + e) * row_length + column];
    write_vector(vector, y + ((b * P + p) * G + g) * padded + c);
}
