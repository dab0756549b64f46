// conv2d_multistage.cuh -- the three products of the convolution, of arrays whose channels lie last, in
// panels that are copied several stages ahead (multistage_product.cuh). Included by
// conv2d_multistage.cu and conv2d_bf16.cu.
//
// The idea: as conv2d_channels_last.cu writes them, a tap's channels are chunks of 16 bytes in x, w and
// gy, which cp.async copies whole, inside the image or not. The terms of a sum are in the order
// (k, l, c) in place of (c, k, l).
//
// blockIdx.x is the block's tile, blockIdx.y the part of the sum (split-K), blockIdx.z the group.
#include "conv2d_bias_gradient.cuh"
#include "conv2d_implicit_gemm.cuh"
#include "multistage_product.cuh"

// ---- indices -------------------------------------------------------------------------------------
// As in conv2d_panels.cuh, offsets being those in arrays with channels last.

// Pixels (n, i, j). `dense` is the pixel's offset in y, for o = 0.
template <typename T> struct ChunkPixels {
    static constexpr bool NEEDED = true;
    const ConvShape& s;

    __device__ __forceinline__ Coord coord(const int p, const int last) const {
        if (p >= last) return outside_image();
        const Index3 pixel = unravel(p, s.OH, s.OW);
        const int h = pixel.b * s.sh - s.ph, w = pixel.c * s.sw - s.pw;
        return {((pixel.a * s.H + h) * s.W + w) * s.groups * padded<T>(s.channels_per_group()), h, w,
                (pixel.a * s.O * s.OH + pixel.b) * s.OW + pixel.c};
    }
};

// Taps (k, l, c) of a filter, of which c, the last, counts to Cp.
template <typename T> struct ChunkTaps {
    static constexpr bool NEEDED = true;
    const ConvShape& s;

    __device__ __forceinline__ int count() const {
        return s.window_size() * padded<T>(s.channels_per_group());
    }
    __device__ __forceinline__ Coord coord(const int q, const int last) const {
        if (q >= last) return outside_image();
        const int channels = padded<T>(s.channels_per_group());
        const Index3 tap = unravel(q, s.KW, channels);
        const int h = tap.a * s.dh, w = tap.b * s.dw;
        return {(h * s.W + w) * s.groups * channels + tap.c, h, w, q};
    }
};

// Taps as columns of the weight gradient: a chunk, or two that fill a sector of x where channels are
// even chunks, are channels under the tap (k, l), and the next ones the same channels under the next
// tap, so that, channel by channel, they are neighbours in gw. `dense` is the offset in gw, for o = 0,
// -1 of padding.
template <typename T> struct TapColumns {
    const ConvShape& s;

    __device__ __forceinline__ int count() const {
        return s.window_size() * padded<T>(s.channels_per_group());
    }
    // The channels under a tap that lie side by side.
    __device__ __forceinline__ int width() const {
        return padded<T>(s.channels_per_group()) % (2 * CHUNK<T>) == 0 ? 2 * CHUNK<T> : CHUNK<T>;
    }
    __device__ __forceinline__ Coord coord(const int column, const int last) const {
        if (column >= last) return outside_image();
        const Index3 tap = unravel(column / width(), s.KH, s.KW);
        const int h = tap.b * s.dh, w = tap.c * s.dw;
        const int channels = s.channels_per_group(), c = tap.a * width() + column % width();
        return {(h * s.W + w) * s.groups * padded<T>(channels) + c, h, w,
                c < channels ? c * s.window_size() + tap.b * s.KW + tap.c : -1};
    }
};

// The positions of one phase of x, as PhasePixels, and the (k, l, o) of a phase, of which o counts to Op.
template <typename T> struct PhaseChunkPixels {
    const ConvShape& s;
    const Phase &vertical, &horizontal;

    __device__ __forceinline__ int count() const { return s.N * vertical.count * horizontal.count; }
    __device__ __forceinline__ Coord coord(const int u, const int last) const {
        if (u >= last) return outside_image();
        const Index3 position = unravel(u, vertical.count, horizontal.count);
        const int i = vertical.row + position.b, j = horizontal.row + position.c;
        const int h = vertical.first + position.b * s.sh, w = horizontal.first + position.c * s.sw;
        return {((position.a * s.OH + i) * s.OW + j) * s.groups * padded<T>(s.filters_per_group()), i, j,
                (position.a * s.C * s.H + h) * s.W + w};
    }
};
// `dense` is the offset in w, for c = 0, -1 of padding.
template <typename T> struct PhaseChunkTaps {
    static constexpr bool NEEDED = true;
    const ConvShape& s;
    const Phase &vertical, &horizontal;

    __device__ __forceinline__ int count() const {
        return vertical.taps * horizontal.taps * padded<T>(s.filters_per_group());
    }
    __device__ __forceinline__ Coord coord(const int r, const int last) const {
        if (r >= last) return outside_image();
        const int filters = padded<T>(s.filters_per_group());
        const Index3 tap = unravel(r, horizontal.taps, filters);
        const int i = -tap.a * vertical.row_step, j = -tap.b * horizontal.row_step, o = tap.c;
        const int k = vertical.tap + tap.a * vertical.step, l = horizontal.tap + tap.b * horizontal.step;
        const int row = (o * s.KH + k) * s.KW + l;
        return {(i * s.OW + j) * s.groups * filters + o, i, j,
                o < s.filters_per_group() ? row * padded<T>(s.channels_per_group()) : -1};
    }
};

// ---- matrices (multistage_product.cuh) -----------------------------------------------------------

// Patches: one index of the matrix is a position or a tap of Lines, the other that of k.
template <typename T, bool CONTIGUOUS_ALONG_K, class Lines> struct PatchChunks {
    using Number = T;
    static constexpr bool ALONG_K = CONTIGUOUS_ALONG_K, NEEDS_COORD = true;
    const T* p;
    int start, H, W;
    Lines lines;
    int count;

    using Line = Coord;
    static constexpr __device__ bool has_whole_chunks() { return true; }
    __device__ __forceinline__ Line line(const int i) const {
        const Coord coord = lines.coord(i, count);
        return {start + coord.offset, coord.h, coord.w, 0};
    }
    __device__ __forceinline__ int offset(const Line& line, int, const Coord& k) const {
        const int h = line.h + k.h, w = line.w + k.w;
        const bool is_inside = unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W);
        return is_inside ? line.offset + k.offset : -1;
    }
    __device__ __forceinline__ int element(const Line&, int, int) const { return -1; }
};

// Filters across k: row k lies at `dense` of its Coord, lines are channels.
template <typename T> struct FilterChunks {
    using Number = T;
    static constexpr bool ALONG_K = false, NEEDS_COORD = true;
    const T* p;
    int start, lines;

    using Line = int;
    static constexpr __device__ bool has_whole_chunks() { return true; }
    __device__ __forceinline__ Line line(const int i) const { return i; }
    __device__ __forceinline__ int offset(const Line line, int, const Coord& k) const {
        return line < lines && k.dense >= 0 ? start + k.dense + line : -1;
    }
    __device__ __forceinline__ int element(const Line, int, int) const { return -1; }
};

// ---- forward -------------------------------------------------------------------------------------

// The idea: filters times patches, both along k: ldmatrix loads both.
template <int STAGES, class Arithmetic, int ROWS, typename Out,
          typename T = typename Arithmetic::Number>
__device__ __forceinline__ void multistage_forward(const T* x, const T* w, const float* b, Out* y,
                                                   const ConvShape& s, const int depth,
                                                   const Workspace<float>& workspace) {
    using Mma = MultistageMma<ROWS, Arithmetic, true, true>;
    const int group = blockIdx.z, filters = s.filters_per_group(), P = s.OH * s.OW;
    const ChunkTaps<T> taps{s};
    const int first = blockIdx.y * depth, last = min(taps.count(), first + depth);
    const TileOrigin origin = tile_origin<float, ROWS>(filters);
    Out* const target = workspace.result(y, size_t(s.N) * s.O * P);

    const DenseChunks<T, true> weights{
        w, group * filters * taps.count(), taps.count(), filters, last, true};
    const RowCopier<ROWS, DenseChunks<T, true>> rows(weights, origin.row);
    const PatchChunks<T, true, ChunkPixels<T>> patches{
        x, group * padded<T>(s.channels_per_group()), s.H, s.W, {s}, s.pixels()};
    const ColumnCopier<ROWS, PatchChunks<T, true, ChunkPixels<T>>> columns(
        patches, origin.column);
    const ImageEpilogue<float, ChunkPixels<T>, Out> result{
        target + group * filters * P, b ? b + group * filters : b, P, origin.row, filters,
        origin.column, {s}, s.pixels()};
    multistage_product<ROWS, STAGES, Mma>(rows, columns, taps, result, first, last, workspace);
}

// ---- data gradient -------------------------------------------------------------------------------

// The idea: the transposed filters times the outputs whose window covers an element of x, one stride
// phase at a time (conv2d_implicit_gemm.cuh). Filters are across k, patches of gy along it.
template <int STAGES, class Arithmetic, int ROWS, typename Out,
          typename T = typename Arithmetic::Number>
__device__ __forceinline__ void multistage_data_gradient(const T* gy, const T* w, Out* gx,
                                                         const ConvShape& s, const int depth,
                                                         const Workspace<float>& workspace) {
    using Mma = MultistageMma<ROWS, Arithmetic, false, true>;
    const int phases = s.sh * s.sw, group = blockIdx.z / phases, phase = blockIdx.z % phases;
    __shared__ Phase vertical, horizontal;
    if (threadIdx.x == 0) vertical = phase_of(phase / s.sw, s.H, s.KH, s.sh, s.ph, s.dh);
    if (threadIdx.x == WARP_SIZE) horizontal = phase_of(phase % s.sw, s.W, s.KW, s.sw, s.pw, s.dw);
    // The phase is written before any thread reads it.
    __syncthreads();
    const PhaseChunkPixels<T> positions{s, vertical, horizontal};
    const PhaseChunkTaps<T> phase_taps{s, vertical, horizontal};
    const int channels = s.channels_per_group(), filters = s.filters_per_group();
    const int first = blockIdx.y * depth, last = min(phase_taps.count(), first + depth);
    const TileOrigin origin = tile_origin<float, ROWS>(channels);
    // The grid has room for the largest phase.
    if (origin.column >= positions.count()) return;
    Out* const target = workspace.result(gx, size_t(s.N) * s.C * s.H * s.W);

    const int width = padded<T>(channels);
    const FilterChunks<T> weights{w, group * filters * s.window_size() * width, width};
    const RowCopier<ROWS, FilterChunks<T>> rows(weights, origin.row);
    const PatchChunks<T, true, PhaseChunkPixels<T>> gy_patches{
        gy, group * padded<T>(filters), s.OH, s.OW, positions, positions.count()};
    const ColumnCopier<ROWS, PatchChunks<T, true, PhaseChunkPixels<T>>> columns(
        gy_patches, origin.column);
    const ImageEpilogue<float, PhaseChunkPixels<T>, Out> result{
        target + group * channels * s.H * s.W, nullptr, s.H * s.W, origin.row, channels,
        origin.column, positions, positions.count()};
    multistage_product<ROWS, STAGES, Mma>(rows, columns, phase_taps, result, first, last, workspace);
}

// ---- weight gradient -----------------------------------------------------------------------------

// Neighbouring lanes have one channel under neighbouring taps: of a part's 32 columns, two to eight.
template <typename T> struct TapEpilogue : ImageEpilogue<float, TapColumns<T>> {
    __device__ __forceinline__ int lane_column(const int lane) const {
        const int taps = WARP_SIZE / this->columns.width();
        return lane % taps * this->columns.width() + lane / taps;
    }
};

// The idea: gy times the transposed patches, a long sum over all pixels (split-K). Both are across k.
template <int STAGES, class Arithmetic, int ROWS, typename In,
          typename T = typename Arithmetic::Number>
__device__ __forceinline__ void multistage_weight_gradient(
    const In* gy, const T* gy_chunks, const T* x, float* gw, const ConvShape& s, const int depth,
    const Workspace<float>& workspace, const BiasGradient<float>& bias) {
    using Mma = MultistageMma<ROWS, Arithmetic, false, false>;
    if (blockIdx.x >= workspace.tiles) {
        const int extra_block = blockIdx.x - workspace.tiles;
        bias.reduce(gy, s.N, s.O, s.OH * s.OW,
                    (extra_block * gridDim.z + blockIdx.z) * gridDim.y + blockIdx.y);
        return;
    }
    const int group = blockIdx.z, filters = s.filters_per_group();
    const int first = blockIdx.y * depth, last = min(s.pixels(), first + depth);
    const TileOrigin origin = tile_origin<float, ROWS>(filters);
    float* const target = workspace.result(gw, size_t(s.O) * s.taps());

    const int width = padded<T>(filters);
    const DenseChunks<T, false> outputs{gy_chunks, group * width, s.groups * width, width, last, true};
    const RowCopier<ROWS, DenseChunks<T, false>> rows(outputs, origin.row);
    const TapColumns<T> taps{s};
    const PatchChunks<T, false, TapColumns<T>> patches{
        x, group * padded<T>(s.channels_per_group()), s.H, s.W, taps, taps.count()};
    const ColumnCopier<ROWS, PatchChunks<T, false, TapColumns<T>>> columns(patches, origin.column);
    const TapEpilogue<T> result{{target + group * filters * s.taps(), nullptr, s.taps(), origin.row,
                                 filters, origin.column, taps, taps.count()}};
    multistage_product<ROWS, STAGES, Mma>(
        rows, columns, ChunkPixels<T>{s}, result, first, last, workspace);
}
