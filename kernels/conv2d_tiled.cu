// conv2d_tiled.cu -- convolution through tiles in shared memory: the second rung of the ladder in
// conv2d.cu. Python side: minialex/ops/conv2d/cuda.py.
//
// The formulas are in conv2d.cu, the three matrix products that they amount to in conv2d.cuh. Every
// thread of the naive kernels loads two numbers per multiplication, though its neighbours need the
// same ones: a filter's weights serve all pixels, a patch serves all filters. Here the matrices are
// divided into tiles of 16 x 16 that a block loads once into shared memory (tile_product.cuh): a
// 16th of the traffic. The matrix of patches is never stored (implicit GEMM): its elements are
// gathered from x when a tile is loaded.
//
// Layout:  as in conv2d.cu.
// Launch:  blocks of TILE x TILE threads; the grid is (tiles of columns, tiles of rows, groups).
//              rows (M)          columns (N)                  summed over (K)
//   forward    filters           pixels (n, i, j)             taps (c, k, l)
//   data       channels          input positions (n, h, w)    (o, k, l)
//   weight     filters           taps (c, k, l)               pixels (n, i, j)
// Cost:    as in conv2d.cu; 2 numbers loaded per 32 operations.
#include "conv2d.cuh"
#include "tile_product.cuh"

// The idea: filters times patches. Lanes load filters along taps, which are contiguous in memory, and
// patches along pixels.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_forward_tiled(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    const ConvShape s) {
    const int group = blockIdx.z, first_row = blockIdx.y * TILE;
    const int column = blockIdx.x * TILE + threadIdx.x;
    const int filters = s.filters_per_group(), taps = s.taps(), pixels = s.pixels();
    const T* group_filters = w + group * filters * taps;
    const Index3 pixel = unravel(column, s.OH, s.OW);
    const T* image = x + (pixel.a * s.C + group * s.channels_per_group()) * s.H * s.W;

    const auto weight = [&](const int row, const int q) {
        const int o = first_row + row;
        return o < filters && q < taps ? group_filters[o * taps + q] : T(0);
    };
    // Lanes run along pixels, so the column to load is this thread's own.
    const auto patch = [&](int, const int q) {
        const Index3 tap = unravel(q, s.KH, s.KW);
        if (column >= pixels || q >= taps) return T(0);
        const int offset = s.input_offset(pixel.b, pixel.c, tap.b, tap.c);
        return offset >= 0 ? image[tap.a * s.H * s.W + offset] : T(0);
    };
    const T sum = tile_product<T, true, false>(weight, patch, taps);

    const int o = first_row + threadIdx.y;
    if (o >= filters || column >= pixels) return;
    const int channel = group * filters + o;
    y[((pixel.a * s.O + channel) * s.OH + pixel.b) * s.OW + pixel.c] = b ? sum + b[channel] : sum;
}

// The idea: the same with x and y exchanged: each input position gathers gy from the outputs whose
// window covers it. Rows are input channels, and the sum runs over filters and their taps.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_data_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const ConvShape s) {
    const int group = blockIdx.z, first_row = blockIdx.y * TILE;
    const int column = blockIdx.x * TILE + threadIdx.x;
    const int channels = s.channels_per_group(), filters = s.filters_per_group();
    const int K = filters * s.window_size();
    const T* group_filters = w + group * filters * s.taps();
    const Index3 position = unravel(column, s.H, s.W);
    const T* outputs = gy + (position.a * s.O + group * filters) * s.OH * s.OW;

    const auto weight = [&](const int row, const int r) {
        const int c = first_row + row, o = r / s.window_size();
        if (c >= channels || r >= K) return T(0);
        return group_filters[(o * channels + c) * s.window_size() + r - o * s.window_size()];
    };
    const auto output = [&](int, const int r) {
        const Index3 tap = unravel(r, s.KH, s.KW);
        if (column >= s.N * s.H * s.W || r >= K) return T(0);
        const int offset = s.output_offset(position.b, position.c, tap.b, tap.c);
        return offset >= 0 ? outputs[tap.a * s.OH * s.OW + offset] : T(0);
    };
    const T sum = tile_product<T, true, false>(weight, output, K);

    const int c = first_row + threadIdx.y;
    if (c >= channels || column >= s.N * s.H * s.W) return;
    gx[((position.a * s.C + group * channels + c) * s.H + position.b) * s.W + position.c] = sum;
}

// The idea: gy times the transposed patches, summed over the pixels of all images. Both matrices are
// contiguous along pixels, so lanes load both along pixels.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_weight_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const ConvShape s) {
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    const int filters = s.filters_per_group(), taps = s.taps(), pixels = s.pixels();
    const T* images = x + group * s.channels_per_group() * s.H * s.W;
    const T* outputs = gy + group * filters * s.OH * s.OW;
    // The tap that this thread loads, which is not that of the weight that it sums up.
    const int loaded = first_column + threadIdx.y;
    const Index3 tap = unravel(loaded, s.KH, s.KW);

    const int P = s.OH * s.OW;

    const auto output = [&](const int row, const int p) {
        const int o = first_row + row, n = p / P;
        return o < filters && p < pixels ? outputs[(n * s.O + o) * P + p - n * P] : T(0);
    };
    const auto patch = [&](int, const int p) {
        const Index3 pixel = unravel(p, s.OH, s.OW);
        if (loaded >= taps || p >= pixels) return T(0);
        const int offset = s.input_offset(pixel.b, pixel.c, tap.b, tap.c);
        return offset >= 0 ? images[(pixel.a * s.C + tap.a) * s.H * s.W + offset] : T(0);
    };
    const T sum = tile_product<T, true, true>(output, patch, pixels);

    const int o = first_row + threadIdx.y, q = first_column + threadIdx.x;
    if (o < filters && q < taps) gw[(group * filters + o) * taps + q] = sum;
}
