// conv2d_im2col.cu -- convolution by way of a matrix of patches: the third rung of the ladder in
// conv2d.cu. Python side: minialex/ops/conv2d/cuda.py.
//
// The formulas stand in conv2d.cu, the three matrix products in conv2d.cuh. Here the matrix of
// patches is written to memory, and everything else is a plain matrix product, summed up in
// registers (register_product.cuh). The price is that matrix: KH KW / (sh sw) times the size of x,
// written once and read again. So it is made for a few images at a time, as many as fit into a
// scratch of bounded size (about that of the L2 cache), and N below is that number of images.
//
//   forward           patches = im2col(x)          y = w patches
//   data gradient     patches = w^T gy             gx = col2im(patches)
//   weight gradient   patches = im2col(x)          gw = gy patches^T, added up over all images
//
// Layout:  patches (C KH KW, N P), with P = OH OW: row (c, k, l), column (n, i, j). The rows of a
//          group lie together. Rows are padded with zeros to whole vectors, so that whoever reads
//          them can read vectors. The rest as in conv2d.cu.
// Launch:  im2col: a grid of (blocks of pixels, channels), one thread a pixel and channel.
//          col2im: a 1-D grid, one thread an element of gx.
//          products: blocks of ROWS * 16 threads; the grid is (tiles of rows * tiles of columns,
//          parts, groups), with parts as in conv2d_implicit_gemm.cu (the data gradient: one).
//          vectors: whether the rows of w begin and end at whole vectors of 16 bytes.
// Cost:    as in conv2d.cu, plus the matrix of patches: C KH KW N P numbers written and read.
#include "conv2d_panels.cuh"
#include "register_product.cuh"

// How far apart the rows of the matrix of patches are.
template <typename T> __device__ __forceinline__ int padded(const int columns) {
    return (columns + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T>;
}

// The idea: copying only. A thread copies the whole window of one channel at one pixel, so its
// divisions are done once for KH KW numbers; neighbouring threads write neighbouring columns.
template <typename T>
__global__ void conv2d_im2col(const T* __restrict__ x, T* __restrict__ patches, const ConvShape s) {
    const int column = flat_index(), lead = padded<T>(s.pixels());
    if (column >= lead) return;
    const bool padding = column >= s.pixels();
    const Triple pixel = split(column, s.OH, s.OW);
    for (int c = blockIdx.y; c < s.C; c += gridDim.y) {
        const int image = (pixel.a * s.C + c) * s.H * s.W;
        int out = c * s.window() * lead + column;
        for (int k = 0; k < s.KH; ++k)
            for (int l = 0; l < s.KW; ++l, out += lead) {
                const int met = s.met_by(pixel.b, pixel.c, k, l);
                patches[out] = met < 0 || padding ? T(0) : x[image + met];
            }
    }
}

// The idea: the way back is a sum, for windows overlap and an element of x went into several
// patches. Each element collects what it is owed, in a fixed order, and nobody adds to a number
// that another thread adds to.
template <typename T>
__global__ void conv2d_col2im(const T* __restrict__ patches, T* __restrict__ gx, const ConvShape s) {
    const int index = flat_index(), lead = padded<T>(s.pixels());
    if (index >= s.N * s.C * s.H * s.W) return;
    const Triple place = split(index, s.H, s.W);
    const int n = place.a / s.C, c = place.a % s.C;
    int row = c * s.window() * lead + n * s.OH * s.OW;

    typename Accumulator<T>::type sum = 0;
    for (int k = 0; k < s.KH; ++k)
        for (int l = 0; l < s.KW; ++l, row += lead) {
            const int from = s.reaching(place.b, place.c, k, l);
            if (from >= 0) sum += patches[row + from];
        }
    gx[index] = sum;
}

// The idea: rows are filters, columns pixels, k is taps. Both matrices are plain; only the result
// is not, as y has its images apart.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_im2col(
    const T* __restrict__ patches, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    T* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vectors, const int depth) {
    using Block = Blocking<T, ROWS>;
    const int group = blockIdx.z, filters = s.group_filters(), taps = s.taps(), P = s.OH * s.OW;
    const int lead = padded<T>(s.N * P);
    const int first = blockIdx.y * depth, last = min(taps, first + depth);
    const Home here = home<T, ROWS>(filters);
    const Workspace<T> workspace{parts, arrived, int(gridDim.x)};
    T* const own = workspace.result(y, size_t(s.N) * s.O * P);

    const Plain<T, Block::M, Block::THREADS, true> rows(
        w, group * filters * taps, taps, here.row, filters, last, vectors);
    const Plain<T, Block::N, Block::THREADS, false> columns(
        patches, group * taps * lead, lead, here.column, lead, last, true);
    const IntoImages<T, Pixels> result{own + group * filters * P, b ? b + group * filters : b, P,
                                       here.row, filters, here.column, {s}, s.N * P};
    panel_product<T, ROWS, InRegisters<T, ROWS>>(rows, columns, NoSpots{}, result, first, last,
                                                 workspace);
}

// Outputs (lines) by pixels (k or lines), each in its image: element (o, p) lies at o P plus the
// pixel's own place.
template <typename T> struct Outputs {
    const T* gy;
    Pixels pixels;
    int start, P, count, filters;

    using Line = int;
    __device__ __forceinline__ Line line(const int p) const {
        const int place = pixels.spot(p, count).dense;
        return place >= 0 ? start + place : -1;
    }
    __device__ __forceinline__ T get(const Line place, const int o, const Spot&) const {
        return place >= 0 && o < filters ? gy[o * P + place] : T(0);
    }
};

// The idea: rows are taps, columns pixels, k is filters: the transpose of w, which lanes read along
// taps, times gy.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_im2col(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ patches, const ConvShape s, const bool vectors, const int depth) {
    using Block = Blocking<T, ROWS>;
    const int group = blockIdx.z, filters = s.group_filters(), taps = s.taps(), P = s.OH * s.OW;
    // Taps are many enough to keep a GPU busy: there is one part, and depth is all of it.
    const int lead = padded<T>(s.N * P), last = min(filters, depth);
    const Home here = home<T, ROWS>(taps);

    const Plain<T, Block::M, Block::THREADS, false> rows(
        w, group * filters * taps, taps, here.row, taps, last, vectors);
    const Outputs<T> outputs{gy, {s}, group * filters * P, P, s.N * P, last};
    const LanesOnLines<T, Block::N, Block::THREADS, Outputs<T>> columns(outputs, here.column);
    const IntoMatrix<T> result{patches + group * taps * lead, lead, here.row, taps, here.column,
                               s.N * P};
    panel_product<T, ROWS, InRegisters<T, ROWS>>(rows, columns, NoSpots{}, result, 0, last,
                                                 Workspace<T>{});
}

// The idea: rows are filters, columns taps, k is the pixels of these images: gy times the transpose
// of the patches, which lanes read along pixels.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_im2col(
    const T* __restrict__ gy, const T* __restrict__ patches, T* __restrict__ gw,
    T* __restrict__ parts, unsigned* __restrict__ arrived, const ConvShape s, const int depth) {
    using Block = Blocking<T, ROWS>;
    const int group = blockIdx.z, filters = s.group_filters(), taps = s.taps(), P = s.OH * s.OW;
    const int lead = padded<T>(s.N * P);
    const int first = blockIdx.y * depth, last = min(s.N * P, first + depth);
    const Home here = home<T, ROWS>(filters);
    const Workspace<T> workspace{parts, arrived, int(gridDim.x)};
    T* const own = workspace.result(gw, size_t(s.O) * taps);

    const Tabled<T> outputs{gy, group * filters * P, P, filters};
    const LanesOnK<T, Block::M, Block::THREADS, Tabled<T>> rows(outputs, here.row);
    // It reads on into the padding, which is zero.
    const Plain<T, Block::N, Block::THREADS, true> columns(
        patches, group * taps * lead, lead, here.column, taps, min(lead, first + depth), true);
    const IntoMatrix<T> result{own + group * filters * taps, taps, here.row, filters, here.column,
                               taps};
    panel_product<T, ROWS, InRegisters<T, ROWS>>(rows, columns, Pixels{s}, result, first, last,
                                                 workspace);
}
