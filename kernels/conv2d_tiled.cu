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
    const int N, const int C, const int H, const int W, const int O, const int KH, const int KW,
    const int OH, const int OW, const int sh, const int sw, const int ph, const int pw,
    const int dh, const int dw, const int groups) {
    const Conv2d at{N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups};
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, column = blockIdx.x * TILE + threadIdx.x;
    const int filters = at.group_filters(), taps = at.taps(), pixels = at.pixels();
    const T* own_filters = w + group * filters * taps;
    const Triple pixel = split(column, OH, OW);
    const T* image = x + (pixel.a * C + group * at.group_channels()) * H * W;

    const auto filter = [&](const int line, const int q) {
        const int o = first_row + line;
        return o < filters && q < taps ? own_filters[o * taps + q] : T(0);
    };
    // Lanes run along pixels, so `line` is always this thread's own column.
    const auto patch = [&](int, const int q) {
        const Triple tap = split(q, KH, KW);
        if (column >= pixels || q >= taps) return T(0);
        const int met = at.met_by(pixel.b, pixel.c, tap.b, tap.c);
        return met >= 0 ? image[tap.a * H * W + met] : T(0);
    };
    const T sum = tile_product<T, true, false>(filter, patch, taps);

    const int o = first_row + threadIdx.y;
    if (o >= filters || column >= pixels) return;
    const int channel = group * filters + o;
    y[((pixel.a * O + channel) * OH + pixel.b) * OW + pixel.c] = b ? sum + b[channel] : sum;
}

// The idea: the same with the roles changed. Rows are input channels, columns elements (n, h, w)
// of x; both walk along the (o, k, l) whose window can have reached such an element.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_data_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const int N, const int C,
    const int H, const int W, const int O, const int KH, const int KW, const int OH, const int OW,
    const int sh, const int sw, const int ph, const int pw, const int dh, const int dw,
    const int groups) {
    const Conv2d at{N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups};
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, column = blockIdx.x * TILE + threadIdx.x;
    const int channels = at.group_channels(), filters = at.group_filters(), depth = filters * KH * KW;
    const T* own_filters = w + group * filters * at.taps();
    const Triple element = split(column, H, W);
    const T* outputs = gy + (element.a * O + group * filters) * OH * OW;

    const auto weight = [&](const int line, const int r) {
        const int c = first_row + line, o = r / at.window();
        if (c >= channels || r >= depth) return T(0);
        return own_filters[(o * channels + c) * at.window() + r - o * at.window()];
    };
    const auto reached = [&](int, const int r) {
        const Triple tap = split(r, KH, KW);
        if (column >= N * H * W || r >= depth) return T(0);
        const int from = at.reaching(element.b, element.c, tap.b, tap.c);
        return from >= 0 ? outputs[tap.a * OH * OW + from] : T(0);
    };
    const T sum = tile_product<T, true, false>(weight, reached, depth);

    const int c = first_row + threadIdx.y;
    if (c >= channels || column >= N * H * W) return;
    gx[((element.a * C + group * channels + c) * H + element.b) * W + element.c] = sum;
}

// The idea: filters times taps, walking along the pixels of all images. Both matrices have
// neighbouring pixels side by side in memory, so lanes fetch both along pixels.
template <typename T>
__global__ void __launch_bounds__(256) conv2d_weight_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const int N, const int C,
    const int H, const int W, const int O, const int KH, const int KW, const int OH, const int OW,
    const int sh, const int sw, const int ph, const int pw, const int dh, const int dw,
    const int groups) {
    const Conv2d at{N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups};
    const int group = blockIdx.z, first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    const int filters = at.group_filters(), taps = at.taps(), pixels = at.pixels();
    const T* images = x + group * at.group_channels() * H * W;
    const T* outputs = gy + group * filters * OH * OW;
    // The tap that this thread fetches, which is not that of the weight it sums up.
    const int fetched = first_column + threadIdx.y;
    const Triple tap = split(fetched, KH, KW);

    const auto output = [&](const int line, const int p) {
        const int o = first_row + line, n = p / (OH * OW);
        return o < filters && p < pixels ? outputs[(n * O + o) * OH * OW + p - n * OH * OW] : T(0);
    };
    const auto patch = [&](int, const int p) {
        const Triple pixel = split(p, OH, OW);
        if (fetched >= taps || p >= pixels) return T(0);
        const int met = at.met_by(pixel.b, pixel.c, tap.b, tap.c);
        return met >= 0 ? images[(pixel.a * C + tap.a) * H * W + met] : T(0);
    };
    const T sum = tile_product<T, true, true>(output, patch, pixels);

    const int o = first_row + threadIdx.y, q = first_column + threadIdx.x;
    if (o < filters && q < taps) gw[(group * filters + o) * taps + q] = sum;
}
