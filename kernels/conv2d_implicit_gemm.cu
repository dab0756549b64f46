// conv2d_implicit_gemm.cu -- convolution as matrix products summed up in registers, with patches
// looked up where they are needed and never written: the top rung of the ladder in conv2d.cu for
// ordinary arithmetic. Python side: minialex/ops/conv2d_cuda.py.
//
// The formulas stand in conv2d.cu, the three matrix products in conv2d.cuh, how a block computes
// one in register_product.cuh (registers, vectors, double buffering, and the sizes' arithmetic),
// how it finds a patch in conv2d_panels.cuh.
//
// Layout:  as in conv2d.cu.
// Launch:  blocks of ROWS * 16 threads. The grid is (tiles of rows * tiles of columns, parts,
//          groups), for the data gradient (.., parts, groups * sh * sw). A tile is ROWS * 8 rows of
//          128 columns (double: ROWS * 4 of 64). vectors: whether the rows of w begin and end at
//          whole vectors of 16 bytes.
// Parts:   where tiles are too few to fill a GPU, the sum is cut into parts of `depth` terms each (a
//          multiple of 8). Part s writes at out + s * (size of the result); sum_parts.cu adds them
//          up in order, and then the bias. With one part, out is the result itself.
// Cost:    as in conv2d.cu; fetched: 2 numbers for every 256 operations with ROWS = 16.
#include "conv2d_panels.cuh"

// The idea: rows are filters, fetched in vectors along their taps; columns are pixels, k is taps.
// Lanes run along pixels, which with a stride of 1 are neighbours in x.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, ROWS == 16 ? 2 : 24 / ROWS) conv2d_forward_implicit_gemm(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    const int N, const int C, const int H, const int W, const int O, const int KH, const int KW,
    const int OH, const int OW, const int sh, const int sw, const int ph, const int pw,
    const int dh, const int dw, const int groups, const bool vectors, const int depth) {
    using Block = Blocking<T, ROWS>;
    const Conv2d at{N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups};
    const int group = blockIdx.z, filters = at.group_filters(), taps = at.taps(), P = OH * OW;
    const int first = blockIdx.y * depth, last = min(taps, first + depth);
    const Home here = home<T, ROWS>(filters);
    T* const part = y + size_t(blockIdx.y) * N * O * P;

    const Plain<T, Block::M, Block::THREADS, true> weights(
        w, group * filters * taps, taps, here.row, filters, last, vectors);
    const Patches<T, Pixels> patches{x, group * at.group_channels() * H * W, H, W, {at}, N * P};
    const LanesOnLines<T, Block::N, Block::THREADS, Patches<T, Pixels>> columns(patches, here.column);
    const IntoImages<T, Pixels> result{part + group * filters * P, b ? b + group * filters : b, P,
                                       here.row, filters, here.column, {at}, N * P};
    register_product<T, ROWS>(weights, columns, Taps{at}, result, first, last);
}

// One axis of the data gradient. With a stride of s, an element of x is reached by every s-th window
// element only: those k with k d = h + p (mod s). So elements are sorted by r = (h + p) mod s; all
// of one such *phase* are reached by the same k, and each block works on one phase (of each axis),
// where no tap is in vain. Element a of a phase is h = first + a s; tap u is k = tap + u step; they
// meet at output row i = row + a - u up. So this is a convolution again, run backwards.
//   stride 4, padding 2, 11 window elements: r = 1 has h = 3, 7, 11, ... (h + 2 = 5, 9, 13) and
//   k = 1, 5, 9; h = 7 (a = 1) and k = 5 (u = 1) meet at i = (7 + 2 - 5) / 4 = 1 = 1 + 1 - 1.
struct Phase {
    int first, count, tap, step, taps, row, up;
};

__device__ __forceinline__ Phase phase_of(const int r, const int size, const int window, const int s, const int p,
                          const int d) {
    const int first = (r + s - p % s) % s;
    int step = 1, tap = 0;
    while (step * d % s != 0) ++step;
    while (tap < step && tap * d % s != r) ++tap;
    const bool reached = tap < step && tap < window;
    return {first, first < size ? (size - 1 - first) / s + 1 : 0,
            tap, step, reached ? (window - 1 - tap) / step + 1 : 0,
            (first + p - tap * d) / s, step * d / s};
}

// Elements (n, h, w) of one phase of x. `dense` is their place in gx, for c = 0.
struct Elements {
    static constexpr bool NEEDED = true;
    const Conv2d& at;
    const Phase &down, &across;

    __device__ __forceinline__ int count() const { return at.N * down.count * across.count; }
    __device__ __forceinline__ Spot spot(const int u, const int last) const {
        if (u >= last) return nowhere();
        const Triple element = split(u, down.count, across.count);
        const int i = down.row + element.b, j = across.row + element.c;
        const int h = down.first + element.b * at.sh, w = across.first + element.c * at.sw;
        return {element.a * at.O * at.OH * at.OW + i * at.OW + j, i, j,
                (element.a * at.C * at.H + h) * at.W + w};
    }
};

// The (o, k, l) that reach a phase. `dense` is their place in w, for c = 0.
struct Reaching {
    static constexpr bool NEEDED = true;
    const Conv2d& at;
    const Phase &down, &across;

    __device__ __forceinline__ int count() const { return at.group_filters() * down.taps * across.taps; }
    __device__ __forceinline__ Spot spot(const int r, const int last) const {
        if (r >= last) return nowhere();
        const Triple tap = split(r, down.taps, across.taps);
        const int i = -tap.b * down.up, j = -tap.c * across.up;
        const int k = down.tap + tap.b * down.step, l = across.tap + tap.c * across.step;
        return {(tap.a * at.OH + i) * at.OW + j, i, j, tap.a * at.taps() + k * at.KW + l};
    }
};

// The idea: rows are input channels, columns the elements of one phase of x, k the filters' window
// elements that reach it.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, ROWS == 16 ? 2 : 24 / ROWS) conv2d_data_gradient_implicit_gemm(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const int N, const int C,
    const int H, const int W, const int O, const int KH, const int KW, const int OH, const int OW,
    const int sh, const int sw, const int ph, const int pw, const int dh, const int dw,
    const int groups, const int depth) {
    using Block = Blocking<T, ROWS>;
    const Conv2d at{N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups};
    const int group = blockIdx.z / (sh * sw), phase = blockIdx.z % (sh * sw);
    // Kept in shared memory, as 14 registers are more than can be spared.
    __shared__ Phase down, across;
    if (threadIdx.x == 0) down = phase_of(phase / sw, H, KH, sh, ph, dh);
    if (threadIdx.x == 32) across = phase_of(phase % sw, W, KW, sw, pw, dw);
    // The phase is known before anyone asks what belongs to it.
    __syncthreads();
    const Elements elements{at, down, across};
    const Reaching reaching{at, down, across};
    const int channels = at.group_channels(), filters = at.group_filters();
    const int first = blockIdx.y * depth, last = min(reaching.count(), first + depth);
    const Home here = home<T, ROWS>(channels);
    // The grid has room for the largest phase.
    if (here.column >= elements.count()) return;
    T* const part = gx + size_t(blockIdx.y) * N * C * H * W;

    const Tabled<T> weights{w, group * filters * at.taps(), KH * KW, channels};
    const LanesOnK<T, Block::M, Block::THREADS, Tabled<T>> rows(weights, here.row);
    const Patches<T, Elements> met{gy, group * filters * OH * OW, OH, OW, elements,
                                   elements.count()};
    const LanesOnLines<T, Block::N, Block::THREADS, Patches<T, Elements>> columns(met, here.column);
    const IntoImages<T, Elements> result{part + group * channels * H * W, nullptr, H * W, here.row,
                                         channels, here.column, elements, elements.count()};
    register_product<T, ROWS>(rows, columns, reaching, result, first, last);
}

// The idea: rows are filters, columns taps, k is the pixels of all images: few outputs, each a long
// sum, so this is where parts are needed most. Both matrices have neighbouring pixels side by side
// in memory, so lanes run along k.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, ROWS == 16 ? 2 : 24 / ROWS) conv2d_weight_gradient_implicit_gemm(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const int N, const int C,
    const int H, const int W, const int O, const int KH, const int KW, const int OH, const int OW,
    const int sh, const int sw, const int ph, const int pw, const int dh, const int dw,
    const int groups, const int depth) {
    using Block = Blocking<T, ROWS>;
    const Conv2d at{N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups};
    const int group = blockIdx.z, filters = at.group_filters(), taps = at.taps(), P = OH * OW;
    const int first = blockIdx.y * depth, last = min(N * P, first + depth);
    const Home here = home<T, ROWS>(filters);
    T* const part = gw + size_t(blockIdx.y) * O * taps;

    const Tabled<T> outputs{gy, group * filters * P, P, filters};
    const LanesOnK<T, Block::M, Block::THREADS, Tabled<T>> rows(outputs, here.row);
    const Patches<T, Taps> patches{x, group * at.group_channels() * H * W, H, W, {at}, taps};
    const LanesOnK<T, Block::N, Block::THREADS, Patches<T, Taps>> columns(patches, here.column);
    const IntoMatrix<T> result{part + group * filters * taps, taps, here.row, filters, here.column,
                               taps};
    register_product<T, ROWS>(rows, columns, Pixels{at}, result, first, last);
}
