// conv2d_im2col.cu -- convolution by way of a matrix of patches: the third rung of the ladder in
// conv2d.cu. Python side: minialex/ops/conv2d/cuda.py.
//
// The formulas are in conv2d.cu, the three matrix products in conv2d.cuh. Here the matrix of patches
// is written to memory, and the rest is a dense matrix product, accumulated in registers
// (register_product.cuh). The price is that matrix: KH KW / (sh sw) times the size of x, written once
// and read again. So it is made for a few images at a time, as many as fit into a workspace of
// bounded size (about that of the L2 cache), and N below is that number of images.
//
//   forward           patches = im2col(x)          y = w patches
//   data gradient     patches = w^T gy             gx = col2im(patches)
//   weight gradient   patches = im2col(x)          gw = gy patches^T, summed over all images
//
// Layout:  patches (C KH KW, N P), with P = OH OW: row (c, k, l), column (n, i, j). The rows of a
//          group are contiguous. Rows are padded with zeros to a multiple of the vector width, so
//          that they can be read in 16-byte vectors. The rest as in conv2d.cu.
// Launch:  im2col: a grid of (blocks of pixels, channels), one thread per pixel and channel.
//          col2im: a 1-D grid, one thread per element of gx.
//          products: blocks of ROWS * 16 threads; the grid is (tiles of rows * tiles of columns,
//          parts, groups), with parts as in conv2d_implicit_gemm.cu (the data gradient: one).
//          vector_aligned: whether the rows of w are whole 16-byte vectors.
// Cost:    as in conv2d.cu, plus the matrix of patches: C KH KW N P numbers written and read.
#include "conv2d_panels.cuh"
#include "register_product.cuh"

// The leading dimension (ld) of the matrix of patches.
template <typename T> __device__ __forceinline__ int padded_row(const int columns) {
    return (columns + VECTOR_WIDTH<T> - 1) / VECTOR_WIDTH<T> * VECTOR_WIDTH<T>;
}

// The idea: copying only. A thread copies the window of one channel at one pixel, so its divisions
// are done once for KH KW numbers; neighbouring threads write neighbouring columns (coalesced).
template <typename T>
__global__ void conv2d_im2col(const T* __restrict__ x, T* __restrict__ patches, const ConvShape s) {
    const int column = flat_index(), ld = padded_row<T>(s.pixels());
    if (column >= ld) return;
    const bool padding = column >= s.pixels();
    const Index3 pixel = unravel(column, s.OH, s.OW);
    for (int c = blockIdx.y; c < s.C; c += gridDim.y) {
        const int image = (pixel.a * s.C + c) * s.H * s.W;
        int out = c * s.window_size() * ld + column;
        for (int k = 0; k < s.KH; ++k)
            for (int l = 0; l < s.KW; ++l, out += ld) {
                const int offset = s.input_offset(pixel.b, pixel.c, k, l);
                patches[out] = offset < 0 || padding ? T(0) : x[image + offset];
            }
    }
}

// The idea: the inverse is a sum, as windows overlap and an element of x is in several patches. Each
// element gathers its terms in a fixed order: no atomics.
template <typename T>
__global__ void conv2d_col2im(const T* __restrict__ patches, T* __restrict__ gx, const ConvShape s) {
    const int index = flat_index(), ld = padded_row<T>(s.pixels());
    if (index >= s.N * s.C * s.H * s.W) return;
    const Index3 in = unravel(index, s.H, s.W);
    const int n = in.a / s.C, c = in.a % s.C;
    int row = c * s.window_size() * ld + n * s.OH * s.OW;

    typename Accumulator<T>::type sum = 0;
    for (int k = 0; k < s.KH; ++k)
        for (int l = 0; l < s.KW; ++l, row += ld) {
            const int offset = s.output_offset(in.b, in.c, k, l);
            if (offset >= 0) sum += patches[row + offset];
        }
    gx[index] = sum;
}

// The idea: rows are filters, columns pixels, k is taps. Both operands are dense matrices; the result
// is not, as y has one matrix per image.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_im2col(
    const T* __restrict__ patches, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vector_aligned, const int depth) {
    using Tile = TileShape<T, ROWS>;
    const int group = blockIdx.z, filters = s.filters_per_group(), taps = s.taps(), P = s.OH * s.OW;
    const int ld = padded_row<T>(s.N * P);
    const int first = blockIdx.y * depth, last = min(taps, first + depth);
    const TileOrigin origin = tile_origin<T, ROWS>(filters);
    const Workspace<T> workspace{partials, arrived, int(gridDim.x)};
    T* const target = workspace.result(y, size_t(s.N) * s.O * P);

    const DenseLoader<T, Tile::M, Tile::THREADS, true> rows(
        w, group * filters * taps, taps, origin.row, filters, last, vector_aligned);
    const DenseLoader<T, Tile::N, Tile::THREADS, false> columns(
        patches, group * taps * ld, ld, origin.column, ld, last, true);
    const ImageEpilogue<T, Pixels> result{target + group * filters * P, b ? b + group * filters : b, P,
                                          origin.row, filters, origin.column, {s}, s.N * P};
    panel_product<T, ROWS, SimtMma<T, ROWS>>(rows, columns, NoCoords{}, result, first, last,
                                             workspace);
}

// gy as a matrix of filters by pixels: element (o, p) lies at o P plus the pixel's offset.
template <typename T> struct OutputMatrix {
    const T* gy;
    Pixels pixels;
    int start, P, count, filters;

    using Line = int;
    __device__ __forceinline__ Line line(const int p) const {
        const int offset = pixels.coord(p, count).dense;
        return offset >= 0 ? start + offset : -1;
    }
    __device__ __forceinline__ T get(const Line offset, const int o, const Coord&) const {
        return offset >= 0 && o < filters ? gy[o * P + offset] : T(0);
    }
};

// The idea: rows are taps, columns pixels, k is filters: the transpose of w, which lanes load along
// taps, times gy.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_im2col(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ patches, const ConvShape s,
    const bool vector_aligned, const int depth) {
    using Tile = TileShape<T, ROWS>;
    const int group = blockIdx.z, filters = s.filters_per_group(), taps = s.taps(), P = s.OH * s.OW;
    // Taps are many enough to keep a GPU busy: there is one part, and depth is all of it.
    const int ld = padded_row<T>(s.N * P), last = min(filters, depth);
    const TileOrigin origin = tile_origin<T, ROWS>(taps);

    const DenseLoader<T, Tile::M, Tile::THREADS, false> rows(
        w, group * filters * taps, taps, origin.row, taps, last, vector_aligned);
    const OutputMatrix<T> outputs{gy, {s}, group * filters * P, P, s.N * P, last};
    const LoaderAlongLines<T, Tile::N, Tile::THREADS, OutputMatrix<T>> columns(outputs, origin.column);
    const MatrixEpilogue<T> result{
        patches + group * taps * ld, nullptr, ld, origin.row, taps, origin.column, s.N * P};
    panel_product<T, ROWS, SimtMma<T, ROWS>>(rows, columns, NoCoords{}, result, 0, last,
                                             Workspace<T>{});
}

// The idea: rows are filters, columns taps, k is the pixels of these images: gy times the transpose
// of the patches, which lanes load along pixels.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_im2col(
    const T* __restrict__ gy, const T* __restrict__ patches, T* __restrict__ gw,
    T* __restrict__ partials, unsigned* __restrict__ arrived, const ConvShape s, const int depth) {
    using Tile = TileShape<T, ROWS>;
    const int group = blockIdx.z, filters = s.filters_per_group(), taps = s.taps(), P = s.OH * s.OW;
    const int ld = padded_row<T>(s.N * P);
    const int first = blockIdx.y * depth, last = min(s.N * P, first + depth);
    const TileOrigin origin = tile_origin<T, ROWS>(filters);
    const Workspace<T> workspace{partials, arrived, int(gridDim.x)};
    T* const target = workspace.result(gw, size_t(s.O) * taps);

    const IndexedMatrix<T> outputs{gy, group * filters * P, P, filters};
    const LoaderAlongK<T, Tile::M, Tile::THREADS, IndexedMatrix<T>> rows(outputs, origin.row);
    // It also reads the padding, which is zero.
    const DenseLoader<T, Tile::N, Tile::THREADS, true> columns(
        patches, group * taps * ld, ld, origin.column, taps, min(ld, first + depth), true);
    const MatrixEpilogue<T> result{
        target + group * filters * taps, nullptr, taps, origin.row, filters, origin.column, taps};
    panel_product<T, ROWS, SimtMma<T, ROWS>>(rows, columns, Pixels{s}, result, first, last,
                                             workspace);
}
