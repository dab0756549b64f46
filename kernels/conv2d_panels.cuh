// conv2d_panels.cuh -- the convolution's matrices as loaders for panel_product.cuh. Included by
// conv2d_im2col.cu and conv2d_implicit_gemm.cuh.
//
// The idea: the address of the element under tap (c, k, l) at pixel (n, i, j) is the sum of one term
// that depends on the pixel only and one that depends on the tap only,
//
//   h = (i sh - ph) + (k dh)        w = (j sw - pw) + (l dw)
//   offset in x = (n C H W + h_pixel W + w_pixel) + (c H W + h_tap W + w_tap)
//
// and so each is computed once, with all its divisions, as a Coord: (offset, h, w). Loading an element
// of `patch` then takes three additions and two comparisons. One index of the matrix is a line, whose
// Coord a thread keeps in registers; the other is k, whose Coords are in shared memory, computed by
// one warp for the whole block (the table of panel_product.cuh).
//   3x3 window, H = W = 5, padding 1: pixel (0, 0, 0) is h = -1, w = -1, offset -6; tap (0, 2, 1)
//   is h = 2, w = 1, offset 11. The element is h = 1, w = 0, offset 5. Tap (0, 0, 1) is h = 0, w = 1,
//   offset 1: h = -1 is in the padding, whatever the offset is.
#include "conv2d.cuh"
#include "panel_product.cuh"

// Added to any h or w that occurs, this stays below zero and does not overflow, even twice.
constexpr int OUT_OF_IMAGE = -(1 << 30);

__device__ __forceinline__ Coord outside_image() { return {0, OUT_OF_IMAGE, OUT_OF_IMAGE, -1}; }

// Pixels (n, i, j). `dense` is the pixel's offset in y, for o = 0.
struct Pixels {
    static constexpr bool NEEDED = true;
    const ConvShape& s;

    __device__ __forceinline__ Coord coord(const int p, const int last) const {
        if (p >= last) return outside_image();
        const Index3 pixel = unravel(p, s.OH, s.OW);
        const int h = pixel.b * s.sh - s.ph, w = pixel.c * s.sw - s.pw;
        return {pixel.a * s.C * s.H * s.W + h * s.W + w, h, w,
                (pixel.a * s.O * s.OH + pixel.b) * s.OW + pixel.c};
    }
};

// Taps (c, k, l) of a filter.
struct Taps {
    static constexpr bool NEEDED = true;
    const ConvShape& s;

    __device__ __forceinline__ Coord coord(const int q, const int last) const {
        if (q >= last) return outside_image();
        const Index3 tap = unravel(q, s.KH, s.KW);
        const int h = tap.b * s.dh, w = tap.c * s.dw;
        return {(tap.a * s.H + h) * s.W + w, h, w, q};
    }
};

// ---- matrices ------------------------------------------------------------------------------------
// A matrix turns a line's index into what a thread keeps of it, a Line, and that and k into an
// element. Its array is indexed from the beginning; `start` is where the group begins.

// Patches: lines are pixels and k taps, or the reverse.
template <typename T, class Lines> struct PatchMatrix {
    const T* image;
    int start, H, W;
    Lines lines;
    int count;

    using Line = Coord;
    __device__ __forceinline__ Line line(const int i) const {
        const Coord coord = lines.coord(i, count);
        return {start + coord.offset, coord.h, coord.w, 0};
    }
    __device__ __forceinline__ T get(const Line& line, int, const Coord& k) const {
        const int h = line.h + k.h, w = line.w + k.w;
        const bool inside = unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W);
        return inside ? image[line.offset + k.offset] : T(0);
    }
};

// Lines `stride` apart, whose elements lie at `dense` of the table. Beyond the last line the last is
// read again: the results are not stored.
template <typename T> struct IndexedMatrix {
    const T* p;
    int start, stride, count;

    using Line = int;
    __device__ __forceinline__ Line line(const int i) const {
        return start + min(i, count - 1) * stride;
    }
    __device__ __forceinline__ T get(const Line line, int, const Coord& k) const {
        return k.dense >= 0 ? p[line + k.dense] : T(0);
    }
};

// ---- loaders -------------------------------------------------------------------------------------

// Lanes run along lines: for matrices that are contiguous across lines.
template <typename T, int LINES, int THREADS, class Matrix> class LoaderAlongLines {
    using Map = ThreadMap<THREADS, LINES, 1>;
    static constexpr int COUNT = LINES * TILE_K / THREADS;
    Matrix matrix;
    typename Matrix::Line line[Map::VECTORS_PER_ROW];
    T fragment[COUNT];

  public:
    __device__ LoaderAlongLines(const Matrix& matrix, const int first) : matrix(matrix) {
#pragma unroll
        for (int r = 0; r < Map::VECTORS_PER_ROW; ++r) line[r] = matrix.line(first + Map::column(r));
    }
    __device__ __forceinline__ void load(const int k, const Coord* table) {
#pragma unroll
        for (int r = 0; r < COUNT; ++r) {
            const int row = Map::row(r);
            const Coord coord = Coord::read(table + row);
            fragment[r] = matrix.get(line[r % Map::VECTORS_PER_ROW], k + row, coord);
        }
    }
    __device__ __forceinline__ void store(Panel<T, LINES>& panel) const {
#pragma unroll
        for (int r = 0; r < COUNT; ++r) panel[Map::row(r)][Map::column(r)] = fragment[r];
    }
};

// Lanes run along k: for matrices that are contiguous along k. A thread loads from up to 16 lines,
// whose Line structs would take too many registers: they are in shared memory, where the 8 lanes of a
// line read the same address (broadcast).
template <typename T, int LINES, int THREADS, class Matrix> class LoaderAlongK {
    using Map = ThreadMap<THREADS, TILE_K, 1>;
    static constexpr int COUNT = LINES * TILE_K / THREADS;
    Matrix matrix;
    const typename Matrix::Line* lines;
    T fragment[COUNT];

  public:
    // The barrier that panel_product has after its first Coords serves these lines too.
    __device__ LoaderAlongK(const Matrix& matrix, const int first) : matrix(matrix) {
        __shared__ typename Matrix::Line smem_lines[LINES];
        for (int i = threadIdx.x; i < LINES; i += THREADS) smem_lines[i] = matrix.line(first + i);
        lines = smem_lines;
    }
    __device__ __forceinline__ void load(const int k, const Coord* table) {
        const int column = Map::column(0);
        const Coord coord = table[column];
#pragma unroll
        for (int r = 0; r < COUNT; ++r)
            fragment[r] = matrix.get(lines[Map::row(r)], k + column, coord);
    }
    __device__ __forceinline__ void store(Panel<T, LINES>& panel) const {
#pragma unroll
        for (int r = 0; r < COUNT; ++r) panel[Map::column(0)][Map::row(r)] = fragment[r];
    }
};

// ---- epilogues ------------------------------------------------------------------------------------

// Rows are channels `stride` apart, columns lie at the `dense` of their Coords: images. Sums are T, and
// become Out, the type of the image, as they are stored.
template <typename T, class Columns, typename Out = T> struct ImageEpilogue {
    static constexpr bool IS_MATRIX = false;
    Out* p;
    const T* b;
    int stride, first_row, rows, first_column;
    Columns columns;
    int count;

    __device__ __forceinline__ int column(const int j) const {
        return columns.coord(first_column + j, count).dense;
    }
    __device__ __forceinline__ int lane_column(const int lane) const { return lane; }
    __device__ __forceinline__ void store(const int i, const int column_offset, const T value) const {
        const int row = first_row + i;
        if (column_offset >= 0 && row < rows)
            p[row * stride + column_offset] = Out(b ? value + b[row] : value);
    }
};
