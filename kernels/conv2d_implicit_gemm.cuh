// conv2d_implicit_gemm.cuh -- the three products of the convolution as implicit GEMMs: patches are
// gathered as they are needed and never written. Included by conv2d_implicit_gemm.cu and
// conv2d_tensor_core.cu; `Mma` multiplies in registers or on tensor cores.
//
// conv2d.cuh says what the three products are, panel_product.cuh how a block computes its tile of
// one, conv2d_panels.cuh how it gathers a patch.
//
// blockIdx.x is the block's tile, blockIdx.y the part of the sum (split-K), blockIdx.z the group.
// `workspace` is where the partial sums of a tile are added up, if they are (panel_product.cuh).
#include "conv2d_bias_gradient.cuh"
#include "conv2d_panels.cuh"

// The idea: rows are filters, loaded in vectors along their taps; columns are pixels, k is taps.
// Lanes run along pixels, which with a stride of 1 are neighbours in x.
template <class Mma, typename T, int ROWS>
__device__ __forceinline__ void implicit_gemm_forward(const T* x, const T* w, const T* b, T* y,
                                                  const ConvShape& s, const bool vector_aligned,
                                                  const int depth, const Workspace<T>& workspace) {
    using Tile = TileShape<T, ROWS>;
    const int group = blockIdx.z, filters = s.filters_per_group(), taps = s.taps();
    const int P = s.OH * s.OW, first = blockIdx.y * depth, last = min(taps, first + depth);
    const TileOrigin origin = tile_origin<T, ROWS>(filters);
    T* const target = workspace.result(y, size_t(s.N) * s.O * P);

    const DenseLoader<T, Tile::M, Tile::THREADS, true> weights(
        w, group * filters * taps, taps, origin.row, filters, last, vector_aligned);
    const PatchMatrix<T, Pixels> patches{
        x, group * s.channels_per_group() * s.H * s.W, s.H, s.W, {s}, s.pixels()};
    const LoaderAlongLines<T, Tile::N, Tile::THREADS, PatchMatrix<T, Pixels>> columns(
        patches, origin.column);
    const ImageEpilogue<T, Pixels> result{
        target + group * filters * P, b ? b + group * filters : b, P, origin.row, filters,
        origin.column, {s}, s.pixels()};
    panel_product<T, ROWS, Mma>(weights, columns, Taps{s}, result, first, last, workspace);
}

// ---- weight gradient -----------------------------------------------------------------------------

// The idea: rows are filters, columns taps, k is the pixels of all images: few outputs, each a long
// sum, so this is where split-K is needed most. Both matrices are contiguous along pixels, so lanes
// run along k.
//
// The bias gradient, the sums of gy over pixels, is wanted at the same time, is memory-bound where
// this is compute-bound, and has few blocks: they are appended to the grid beyond the tiles, instead
// of a launch of their own. Without gb there are none.
template <class Mma, typename T, int ROWS>
__device__ __forceinline__ void implicit_gemm_weight_gradient(const T* gy, const T* x, T* gw,
                                                          const ConvShape& s, const int depth,
                                                          const Workspace<T>& workspace,
                                                          const BiasGradient<T>& bias) {
    using Tile = TileShape<T, ROWS>;
    if (blockIdx.x >= workspace.tiles) {
        const int extra_block = blockIdx.x - workspace.tiles;
        bias.reduce(gy, s.N, s.O, s.OH * s.OW,
                    (extra_block * gridDim.z + blockIdx.z) * gridDim.y + blockIdx.y);
        return;
    }
    const int group = blockIdx.z, filters = s.filters_per_group(), taps = s.taps();
    const int P = s.OH * s.OW, first = blockIdx.y * depth;
    const int last = min(s.pixels(), first + depth);
    const TileOrigin origin = tile_origin<T, ROWS>(filters);
    T* const target = workspace.result(gw, size_t(s.O) * taps);

    const IndexedMatrix<T> outputs{gy, group * filters * P, P, filters};
    const LoaderAlongK<T, Tile::M, Tile::THREADS, IndexedMatrix<T>> rows(outputs, origin.row);
    const PatchMatrix<T, Taps> patches{
        x, group * s.channels_per_group() * s.H * s.W, s.H, s.W, {s}, taps};
    const LoaderAlongK<T, Tile::N, Tile::THREADS, PatchMatrix<T, Taps>> columns(patches, origin.column);
    const MatrixEpilogue<T> result{
        target + group * filters * taps, nullptr, taps, origin.row, filters, origin.column, taps};
    panel_product<T, ROWS, Mma>(rows, columns, Pixels{s}, result, first, last, workspace);
}

// ---- data gradient -------------------------------------------------------------------------------

// The stride phases of one axis (polyphase decomposition). With a stride of s, row h of x is covered
// by every s-th tap only: those k with k d = h + p (mod s). All rows with the same r = (h + p) mod s,
// one *phase*, have the same taps, and each block works on one phase (of each axis), so that no tap
// is multiplied in vain. Row a of a phase is h = first + a s; its tap u is k = tap + u step; together
// they belong to output row i = row + a - u row_step. So this is a convolution with a stride of 1.
//   stride 4, padding 2, 11 taps: r = 1 has h = 3, 7, 11, ... (h + 2 = 5, 9, 13) and k = 1, 5, 9;
//   h = 7 (a = 1) and k = 5 (u = 1) belong to i = (7 + 2 - 5) / 4 = 1 = 1 + 1 - 1.
struct Phase {
    int first, count, tap, step, taps, row, row_step;
};

__device__ __forceinline__ Phase phase_of(const int r, const int size, const int window,
                                          const int s, const int p, const int d) {
    const int first = (r + s - p % s) % s;
    int step = 1, tap = 0;
    while (step * d % s != 0) ++step;
    while (tap < step && tap * d % s != r) ++tap;
    const bool has_taps = tap < step && tap < window;
    return {first, first < size ? (size - 1 - first) / s + 1 : 0,
            tap, step, has_taps ? (window - 1 - tap) / step + 1 : 0,
            (first + p - tap * d) / s, step * d / s};
}

// The positions (n, h, w) of one phase of x. `dense` is their offset in gx, for c = 0.
struct PhasePixels {
    static constexpr bool NEEDED = true;
    const ConvShape& s;
    const Phase &vertical, &horizontal;

    __device__ __forceinline__ int count() const { return s.N * vertical.count * horizontal.count; }
    __device__ __forceinline__ Coord coord(const int u, const int last) const {
        if (u >= last) return outside_image();
        const Index3 position = unravel(u, vertical.count, horizontal.count);
        const int i = vertical.row + position.b, j = horizontal.row + position.c;
        const int h = vertical.first + position.b * s.sh, w = horizontal.first + position.c * s.sw;
        return {position.a * s.O * s.OH * s.OW + i * s.OW + j, i, j,
                (position.a * s.C * s.H + h) * s.W + w};
    }
};

// The (o, k, l) of a phase. `dense` is their offset in w, for c = 0.
struct PhaseTaps {
    static constexpr bool NEEDED = true;
    const ConvShape& s;
    const Phase &vertical, &horizontal;

    __device__ __forceinline__ int count() const {
        return s.filters_per_group() * vertical.taps * horizontal.taps;
    }
    __device__ __forceinline__ Coord coord(const int r, const int last) const {
        if (r >= last) return outside_image();
        const Index3 tap = unravel(r, vertical.taps, horizontal.taps);
        const int i = -tap.b * vertical.row_step, j = -tap.c * horizontal.row_step;
        const int k = vertical.tap + tap.b * vertical.step, l = horizontal.tap + tap.c * horizontal.step;
        return {(tap.a * s.OH + i) * s.OW + j, i, j, tap.a * s.taps() + k * s.KW + l};
    }
};

// The idea: rows are input channels, columns the positions of one phase of x, k its taps of all
// filters. blockIdx.z counts phases within groups.
template <class Mma, typename T, int ROWS>
__device__ __forceinline__ void implicit_gemm_data_gradient(const T* gy, const T* w, T* gx,
                                                        const ConvShape& s, const int depth,
                                                        const Workspace<T>& workspace) {
    using Tile = TileShape<T, ROWS>;
    const int phases = s.sh * s.sw, group = blockIdx.z / phases, phase = blockIdx.z % phases;
    // In shared memory, as 14 registers per thread would spill.
    __shared__ Phase vertical, horizontal;
    if (threadIdx.x == 0) vertical = phase_of(phase / s.sw, s.H, s.KH, s.sh, s.ph, s.dh);
    if (threadIdx.x == WARP_SIZE) horizontal = phase_of(phase % s.sw, s.W, s.KW, s.sw, s.pw, s.dw);
    // The phase is written before any thread reads it.
    __syncthreads();
    const PhasePixels positions{s, vertical, horizontal};
    const PhaseTaps phase_taps{s, vertical, horizontal};
    const int channels = s.channels_per_group(), filters = s.filters_per_group();
    const int first = blockIdx.y * depth, last = min(phase_taps.count(), first + depth);
    const TileOrigin origin = tile_origin<T, ROWS>(channels);
    // The grid has room for the largest phase.
    if (origin.column >= positions.count()) return;
    T* const target = workspace.result(gx, size_t(s.N) * s.C * s.H * s.W);

    const IndexedMatrix<T> weights{w, group * filters * s.taps(), s.window_size(), channels};
    const LoaderAlongK<T, Tile::M, Tile::THREADS, IndexedMatrix<T>> rows(weights, origin.row);
    const PatchMatrix<T, PhasePixels> gy_patches{
        gy, group * filters * s.OH * s.OW, s.OH, s.OW, positions, positions.count()};
    const LoaderAlongLines<T, Tile::N, Tile::THREADS, PatchMatrix<T, PhasePixels>> columns(
        gy_patches, origin.column);
    const ImageEpilogue<T, PhasePixels> result{
        target + group * channels * s.H * s.W, nullptr, s.H * s.W, origin.row, channels,
        origin.column, positions, positions.count()};
    panel_product<T, ROWS, Mma>(rows, columns, phase_taps, result, first, last, workspace);
}
