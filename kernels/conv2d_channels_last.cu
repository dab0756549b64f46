// conv2d_channels_last.cu -- the operands of conv2d_multistage.cu, rewritten with their channels last
//
//   y[b, p, g, c] = x[b, g, c, p]      zero for c = C ... Cp - 1, Cp being C padded to a multiple of 4
//
// Images are (N, groups, C, H W), filters (O, 1, C, KH KW), gradients (N, groups, O / groups, OH OW).
//
// Layout:  x (B, G, C, P), y (B, P, G, Cp), C-contiguous.
// Launch:  blocks of 256 threads, one per tile of CHANNELS x PIXELS numbers of one b and g.
// Cost:    reads and writes everything once.
// needs: sm_80

#include "mma.cuh"

constexpr int TILE_NUMBERS = 1024, MAX_TILE_CHANNELS = 32;

// The idea: a transposition through shared memory, so that lanes read along pixels and write along
// channels. Of few channels a tile has more pixels. For ROUND = 1 numbers are rounded to TF32's 10 bits
// of fraction, once, and not each time that one is multiplied.
// instances: ROUND = 0, 1
template <int ROUND>
__global__ void __launch_bounds__(256) conv2d_channels_last(
    const float* __restrict__ x, float* __restrict__ y, const int B, const int G, const int C,
    const int P) {
    // One number of padding per row of pixels, of which there are 32 at most.
    __shared__ float tile[TILE_NUMBERS + MAX_TILE_CHANNELS];
    const int padded = (C + 3) / 4 * 4, channels = min(padded, MAX_TILE_CHANNELS);
    const int pixels = TILE_NUMBERS / channels / 32 * 32;
    const int tiles_p = (P + pixels - 1) / pixels, tiles_c = (padded + channels - 1) / channels;
    // Tile (channels, pixels) of image and group.
    const Index3 own = unravel(blockIdx.x, tiles_c, tiles_p);
    const int first_c = own.b * channels, first_p = own.c * pixels, b = own.a / G, g = own.a % G;

    for (int i = threadIdx.x; i < channels * pixels; i += blockDim.x) {
        const int row = i / pixels, c = first_c + row, p = first_p + i % pixels;
        float value = 0;
        if (c < C && p < P) value = x[(own.a * C + c) * P + p];
        if constexpr (ROUND == 1) value = __uint_as_float(to_tf32(value));
        tile[row * (pixels + 1) + i % pixels] = value;
    }
    // The tile is complete before any thread reads what others have read.
    __syncthreads();
    for (int i = threadIdx.x; i < channels * pixels; i += blockDim.x) {
        const int row = i % channels, c = first_c + row, p = first_p + i / channels;
        if (c < padded && p < P)
            y[((b * P + p) * G + g) * padded + c] = tile[row * (pixels + 1) + i / channels];
    }
}
