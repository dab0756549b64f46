// conv2d_implicit_gemm.cuh -- the three products of the convolution, with patches looked up where
// they are needed and never written. Included by conv2d_implicit_gemm.cu, which multiplies in
// registers, and conv2d_tensor_core.cu, which does so on tensor cores; `Product` says which.
//
// conv2d.cuh says what the three products are, panel_product.cuh how a block walks through one,
// conv2d_panels.cuh how it finds a patch.
//
// A block's tile is given by blockIdx.x, the part of the sum by blockIdx.y, the group by blockIdx.z.
// `workspace` is where the parts of a tile are added up, if they are here (panel_product.cuh).
#include "conv2d_bias_gradient.cuh"
#include "conv2d_panels.cuh"

// The idea: rows are filters, fetched in vectors along their taps; columns are pixels, k is taps.
// Lanes run along pixels, which with a stride of 1 are neighbours in x.
template <class Product, typename T, int ROWS>
__device__ __forceinline__ void conv2d_forward_by(const T* x, const T* w, const T* b, T* y,
                                                  const ConvShape& at, const bool vectors,
                                                  const int depth, const Workspace<T>& workspace) {
    using Block = Blocking<T, ROWS>;
    const int group = blockIdx.z, filters = at.group_filters(), taps = at.taps();
    const int P = at.OH * at.OW, first = blockIdx.y * depth, last = min(taps, first + depth);
    const Home here = home<T, ROWS>(filters);
    T* const own = workspace.result(y, size_t(at.N) * at.O * P);

    const Plain<T, Block::M, Block::THREADS, true> weights(
        w, group * filters * taps, taps, here.row, filters, last, vectors);
    const Patches<T, Pixels> patches{
        x, group * at.group_channels() * at.H * at.W, at.H, at.W, {at}, at.pixels()};
    const LanesOnLines<T, Block::N, Block::THREADS, Patches<T, Pixels>> columns(
        patches, here.column);
    const IntoImages<T, Pixels> result{
        own + group * filters * P, b ? b + group * filters : b, P, here.row, filters,
        here.column, {at}, at.pixels()};
    panel_product<T, ROWS, Product>(weights, columns, Taps{at}, result, first, last, workspace);
}

// ---- weight gradient -----------------------------------------------------------------------------

// The idea: rows are filters, columns taps, k is the pixels of all images: few outputs, each a long
// sum, so this is where parts are needed most. Both matrices have neighbouring pixels side by side
// in memory, so lanes run along k.
//
// The bias gradient, the sums of gy over pixels, is asked for at the same time, waits for memory
// where this waits for multiply-adds, and has few blocks: they stand beyond the tiles in the grid,
// instead of in a launch of their own. Without gb there are none.
template <class Product, typename T, int ROWS>
__device__ __forceinline__ void conv2d_weight_gradient_by(const T* gy, const T* x, T* gw,
                                                          const ConvShape& at, const int depth,
                                                          const Workspace<T>& workspace,
                                                          const BiasGradient<T>& bias) {
    using Block = Blocking<T, ROWS>;
    if (blockIdx.x >= workspace.tiles) {
        const int across = blockIdx.x - workspace.tiles;
        bias.add_up(gy, at.N, at.O, at.OH * at.OW,
                    (across * gridDim.z + blockIdx.z) * gridDim.y + blockIdx.y);
        return;
    }
    const int group = blockIdx.z, filters = at.group_filters(), taps = at.taps();
    const int P = at.OH * at.OW, first = blockIdx.y * depth;
    const int last = min(at.pixels(), first + depth);
    const Home here = home<T, ROWS>(filters);
    T* const own = workspace.result(gw, size_t(at.O) * taps);

    const Tabled<T> outputs{gy, group * filters * P, P, filters};
    const LanesOnK<T, Block::M, Block::THREADS, Tabled<T>> rows(outputs, here.row);
    const Patches<T, Taps> patches{
        x, group * at.group_channels() * at.H * at.W, at.H, at.W, {at}, taps};
    const LanesOnK<T, Block::N, Block::THREADS, Patches<T, Taps>> columns(patches, here.column);
    const IntoMatrix<T> result{
        own + group * filters * taps, taps, here.row, filters, here.column, taps};
    panel_product<T, ROWS, Product>(rows, columns, Pixels{at}, result, first, last, workspace);
}

// ---- data gradient -------------------------------------------------------------------------------

// One axis of it. With a stride of s, an element of x is reached by every s-th window element only:
// those k with k d = h + p (mod s). So elements are sorted by r = (h + p) mod s; all of one such
// *phase* are reached by the same k, and each block works on one phase (of each axis), where no tap
// is in vain. Element a of a phase is h = first + a s; tap u is k = tap + u step; they meet at
// output row i = row + a - u up. So this is a convolution again, run backwards.
//   stride 4, padding 2, 11 window elements: r = 1 has h = 3, 7, 11, ... (h + 2 = 5, 9, 13) and
//   k = 1, 5, 9; h = 7 (a = 1) and k = 5 (u = 1) meet at i = (7 + 2 - 5) / 4 = 1 = 1 + 1 - 1.
struct Phase {
    int first, count, tap, step, taps, row, up;
};

__device__ __forceinline__ Phase phase_of(const int r, const int size, const int window,
                                          const int s, const int p, const int d) {
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
    const ConvShape& at;
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
    const ConvShape& at;
    const Phase &down, &across;

    __device__ __forceinline__ int count() const {
        return at.group_filters() * down.taps * across.taps;
    }
    __device__ __forceinline__ Spot spot(const int r, const int last) const {
        if (r >= last) return nowhere();
        const Triple tap = split(r, down.taps, across.taps);
        const int i = -tap.b * down.up, j = -tap.c * across.up;
        const int k = down.tap + tap.b * down.step, l = across.tap + tap.c * across.step;
        return {(tap.a * at.OH + i) * at.OW + j, i, j, tap.a * at.taps() + k * at.KW + l};
    }
};

// The idea: rows are input channels, columns the elements of one phase of x, k the filters' window
// elements that reach it. blockIdx.z counts phases within groups.
template <class Product, typename T, int ROWS>
__device__ __forceinline__ void conv2d_data_gradient_by(const T* gy, const T* w, T* gx,
                                                        const ConvShape& at, const int depth,
                                                        const Workspace<T>& workspace) {
    using Block = Blocking<T, ROWS>;
    const int phases = at.sh * at.sw, group = blockIdx.z / phases, phase = blockIdx.z % phases;
    // Kept in shared memory, as 14 registers are more than can be spared.
    __shared__ Phase down, across;
    if (threadIdx.x == 0) down = phase_of(phase / at.sw, at.H, at.KH, at.sh, at.ph, at.dh);
    if (threadIdx.x == WARP) across = phase_of(phase % at.sw, at.W, at.KW, at.sw, at.pw, at.dw);
    // The phase is known before anyone asks what belongs to it.
    __syncthreads();
    const Elements elements{at, down, across};
    const Reaching reaching{at, down, across};
    const int channels = at.group_channels(), filters = at.group_filters();
    const int first = blockIdx.y * depth, last = min(reaching.count(), first + depth);
    const Home here = home<T, ROWS>(channels);
    // The grid has room for the largest phase.
    if (here.column >= elements.count()) return;
    T* const own = workspace.result(gx, size_t(at.N) * at.C * at.H * at.W);

    const Tabled<T> weights{w, group * filters * at.taps(), at.window(), channels};
    const LanesOnK<T, Block::M, Block::THREADS, Tabled<T>> rows(weights, here.row);
    const Patches<T, Elements> met{
        gy, group * filters * at.OH * at.OW, at.OH, at.OW, elements, elements.count()};
    const LanesOnLines<T, Block::N, Block::THREADS, Patches<T, Elements>> columns(
        met, here.column);
    const IntoImages<T, Elements> result{
        own + group * channels * at.H * at.W, nullptr, at.H * at.W, here.row, channels,
        here.column, elements, elements.count()};
    panel_product<T, ROWS, Product>(rows, columns, reaching, result, first, last, workspace);
}
