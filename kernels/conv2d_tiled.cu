// conv2d_tiled.cu -- convolution through tiles in shared memory: the second rung of the ladder in
// conv2d.cu. Python side: minialex/ops/conv2d/cuda.py.
//
// The formulas stand in conv2d.cu, the three matrix products they amount to in conv2d.cuh. Every
// thread of the naive kernels fetches two numbers for each multiplication, though its neighbours
// need the same ones: a filter's weights serve all pixels, a patch serves all filters. Here the
// matrices are cut into tiles of 16 x 16 that a block fetches once into shared memory
// (tile_product.cuh): a 16th of the traffic. No matrix of patches exists: its elements are looked
// up in x when a tile is filled.
//
// Layout:  as in conv2d.cu.
// Launch:  blocks of TILE x TILE threads; the grid is (tiles of columns, tiles of rows, groups).
//              rows              columns
//   forward    filters           pixels (n, i, j)
//   data       channels          input elements (n, h, w)
//   weight     filters           taps (c, k, l)
// Cost:    as in conv2d.cu; fetched: 2 numbers for every 32 operations.
#include "conv2d.cuh"
#include "tile_product.cuh"

// The idea: filters (rows) times patches (columns), tap by tap. Lanes fetch filters along taps,
// where memory has them side by side, and patches along pixels.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_forward_tiled(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    const ConvShape s) {
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, column = blockIdx.x * TILE + threadIdx.x;
    const int filters = s.group_filters(), taps = s.taps(), pixels = s.pixels();
    const T* own_filters = w + group * filters * taps;
    const Triple pixel = split(column, s.OH, s.OW);
    const T* image = x + (pixel.a * s.C + group * s.group_channels()) * s.H * s.W;

    const auto filter = [&](const int line, const int q) {
        const int o = first_row + line;
        return o < filters && q < taps ? own_filters[o * taps + q] : T(0);
    };
    // Lanes run along pixels, so `line` is always this thread's own column.
    const auto patch = [&](int, const int q) {
        const Triple tap = split(q, s.KH, s.KW);
        if (column >= pixels || q >= taps) return T(0);
        const int met = s.met_by(pixel.b, pixel.c, tap.b, tap.c);
        return met >= 0 ? image[tap.a * s.H * s.W + met] : T(0);
    };
    const T sum = tile_product<T, true, false>(filter, patch, taps);

    const int o = first_row + threadIdx.y;
    if (o >= filters || column >= pixels) return;
    const int channel = group * filters + o;
    y[((pixel.a * s.O + channel) * s.OH + pixel.b) * s.OW + pixel.c] = b ? sum + b[channel] : sum;
}

// The idea: the same with the roles changed. Rows are input channels, columns elements (n, h, w)
// of x; both walk along the (o, k, l) whose window can have reached such an element.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_data_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const ConvShape s) {
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, column = blockIdx.x * TILE + threadIdx.x;
    const int channels = s.group_channels(), filters = s.group_filters(), depth = filters * s.KH * s.KW;
    const T* own_filters = w + group * filters * s.taps();
    const Triple element = split(column, s.H, s.W);
    const T* outputs = gy + (element.a * s.O + group * filters) * s.OH * s.OW;

    const auto weight = [&](const int line, const int r) {
        const int c = first_row + line, o = r / s.window();
        if (c >= channels || r >= depth) return T(0);
        return own_filters[(o * channels + c) * s.window() + r - o * s.window()];
    };
    const auto reached = [&](int, const int r) {
        const Triple tap = split(r, s.KH, s.KW);
        if (column >= s.N * s.H * s.W || r >= depth) return T(0);
        const int from = s.reaching(element.b, element.c, tap.b, tap.c);
        return from >= 0 ? outputs[tap.a * s.OH * s.OW + from] : T(0);
    };
    const T sum = tile_product<T, true, false>(weight, reached, depth);

    const int c = first_row + threadIdx.y;
    if (c >= channels || column >= s.N * s.H * s.W) return;
    gx[((element.a * s.C + group * channels + c) * s.H + element.b) * s.W + element.c] = sum;
}

// The idea: filters times taps, walking along the pixels of all images. Both matrices have
// neighbouring pixels side by side in memory, so lanes fetch both along pixels.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_weight_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const ConvShape s) {
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    const int filters = s.group_filters(), taps = s.taps(), pixels = s.pixels();
    const T* images = x + group * s.group_channels() * s.H * s.W;
    const T* outputs = gy + group * filters * s.OH * s.OW;
    // The tap that this thread fetches, which is not that of the weight it sums up.
    const int fetched = first_column + threadIdx.y;
    const Triple tap = split(fetched, s.KH, s.KW);

    const auto output = [&](const int line, const int p) {
        const int o = first_row + line, n = p / (s.OH * s.OW);
        return o < filters && p < pixels ? outputs[(n * s.O + o) * s.OH * s.OW + p - n * s.OH * s.OW] : T(0);
    };
    const auto patch = [&](int, const int p) {
        const Triple pixel = split(p, s.OH, s.OW);
        if (fetched >= taps || p >= pixels) return T(0);
        const int met = s.met_by(pixel.b, pixel.c, tap.b, tap.c);
        return met >= 0 ? images[(pixel.a * s.C + tap.a) * s.H * s.W + met] : T(0);
    };
    const T sum = tile_product<T, true, true>(output, patch, pixels);

    const int o = first_row + threadIdx.y, q = first_column + threadIdx.x;
    if (o < filters && q < taps) gw[(group * filters + o) * taps + q] = sum;
}
