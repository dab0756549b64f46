// conv2d_panels.cuh -- the convolution's matrices as fetchers for panel_product.cuh. Included by
// conv2d_im2col.cu and conv2d_implicit_gemm.cuh.
//
// The idea: pixel and tap share the work. Where tap (c, k, l) meets pixel (n, i, j) is a sum of one
// term that only the pixel knows and one that only the tap knows,
//
//   h = (i sh - ph) + (k dh)        w = (j sw - pw) + (l dw)
//   place in x = (n C H W + h_pixel W + w_pixel) + (c H W + h_tap W + w_tap)
//
// and so each is worked out once, with all its divisions, as a *spot*: (offset, h, w). To fetch an
// element of `patch` is then three additions and two comparisons. One side of the matrix is a
// line, whose spot a thread keeps in registers; the other is k, whose spots lie in shared memory,
// worked out by one warp for all (the table of panel_product.cuh).
//   3x3 window, H = W = 5, padding 1: pixel (0, 0, 0) is h = -1, w = -1, offset -6; tap (0, 2, 1)
//   is h = 2, w = 1, offset 11. They meet at h = 1, w = 0, place 5. Tap (0, 0, 1) is h = 0, w = 1,
//   offset 1: h = -1 lies outside, whatever the offset says.
#include "conv2d.cuh"
#include "panel_product.cuh"

// Added to any h or w that occurs, this stays below zero and above the least int, even twice.
constexpr int OUTSIDE = -(1 << 30);

__device__ __forceinline__ Spot nowhere() { return {0, OUTSIDE, OUTSIDE, -1}; }

// Pixels (n, i, j). `dense` is the pixel's place in y, for o = 0.
struct Pixels {
    static constexpr bool NEEDED = true;
    const ConvShape& at;

    __device__ __forceinline__ Spot spot(const int p, const int last) const {
        if (p >= last) return nowhere();
        const Triple pixel = split(p, at.OH, at.OW);
        const int h = pixel.b * at.sh - at.ph, w = pixel.c * at.sw - at.pw;
        return {pixel.a * at.C * at.H * at.W + h * at.W + w, h, w,
                (pixel.a * at.O * at.OH + pixel.b) * at.OW + pixel.c};
    }
};

// Taps (c, k, l) of a filter.
struct Taps {
    static constexpr bool NEEDED = true;
    const ConvShape& at;

    __device__ __forceinline__ Spot spot(const int q, const int last) const {
        if (q >= last) return nowhere();
        const Triple tap = split(q, at.KH, at.KW);
        const int h = tap.b * at.dh, w = tap.c * at.dw;
        return {(tap.a * at.H + h) * at.W + w, h, w, q};
    }
};

// ---- matrices ------------------------------------------------------------------------------------
// A matrix turns a line's index into what is kept of it, and that and k into an element. Its array
// is indexed from the beginning; `start` is where the group begins.

// Patches: lines are pixels and k taps, or the reverse.
template <typename T, class Lines> struct Patches {
    const T* image;
    int start, H, W;
    Lines lines;
    int count;

    using Line = Spot;
    __device__ __forceinline__ Line line(const int i) const {
        const Spot spot = lines.spot(i, count);
        return {start + spot.offset, spot.h, spot.w, 0};
    }
    __device__ __forceinline__ T get(const Line& line, int, const Spot& k) const {
        const int h = line.h + k.h, w = line.w + k.w;
        const bool inside = unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W);
        return inside ? image[line.offset + k.offset] : T(0);
    }
};

// Lines `stride` apart, whose elements lie where the table says. Beyond the last line it is read
// again: what comes of that is not stored.
template <typename T> struct Tabled {
    const T* p;
    int start, stride, count;

    using Line = int;
    __device__ __forceinline__ Line line(const int i) const {
        return start + min(i, count - 1) * stride;
    }
    __device__ __forceinline__ T get(const Line line, int, const Spot& k) const {
        return k.dense >= 0 ? p[line + k.dense] : T(0);
    }
};

// ---- fetchers ------------------------------------------------------------------------------------

// Lanes run along lines: for matrices in which neighbouring lines are neighbours in memory.
template <typename T, int LINES, int THREADS, class Matrix> class LanesOnLines {
    using Lanes = Walk<THREADS, LINES, 1>;
    static constexpr int COUNT = LINES * DEPTH / THREADS;
    Matrix matrix;
    typename Matrix::Line line[Lanes::TURNS];
    T held[COUNT];

  public:
    __device__ LanesOnLines(const Matrix& matrix, const int first) : matrix(matrix) {
#pragma unroll
        for (int r = 0; r < Lanes::TURNS; ++r) line[r] = matrix.line(first + Lanes::across(r));
    }
    __device__ __forceinline__ void fetch(const int k, const Spot* table) {
#pragma unroll
        for (int r = 0; r < COUNT; ++r) {
            const int down = Lanes::down(r);
            held[r] = matrix.get(line[r % Lanes::TURNS], k + down, table[down]);
        }
    }
    __device__ __forceinline__ void lay(Panel<T, LINES>& panel) const {
#pragma unroll
        for (int r = 0; r < COUNT; ++r) panel[Lanes::down(r)][Lanes::across(r)] = held[r];
    }
};

// Lanes run along k: for matrices in which an element's neighbours in memory are its line's next.
// A thread sees up to 16 lines, and what is kept of them would take more registers than can be
// spared: it lies in shared memory, where the 8 lanes of a line read the same place.
template <typename T, int LINES, int THREADS, class Matrix> class LanesOnK {
    using Lanes = Walk<THREADS, DEPTH, 1>;
    static constexpr int COUNT = LINES * DEPTH / THREADS;
    Matrix matrix;
    const typename Matrix::Line* lines;
    T held[COUNT];

  public:
    // The barrier that panel_product has after its first spots stands for these lines too.
    __device__ LanesOnK(const Matrix& matrix, const int first) : matrix(matrix) {
        __shared__ typename Matrix::Line kept[LINES];
        for (int i = threadIdx.x; i < LINES; i += THREADS) kept[i] = matrix.line(first + i);
        lines = kept;
    }
    __device__ __forceinline__ void fetch(const int k, const Spot* table) {
        const int across = Lanes::across(0);
        const Spot spot = table[across];
#pragma unroll
        for (int r = 0; r < COUNT; ++r)
            held[r] = matrix.get(lines[Lanes::down(r)], k + across, spot);
    }
    __device__ __forceinline__ void lay(Panel<T, LINES>& panel) const {
#pragma unroll
        for (int r = 0; r < COUNT; ++r) panel[Lanes::across(0)][Lanes::down(r)] = held[r];
    }
};

// ---- where results go ----------------------------------------------------------------------------

// Rows are channels `stride` apart, columns lie where their spots say: an image of the result.
template <typename T, class Columns> struct IntoImages {
    static constexpr bool COLUMN_BIAS = false;
    T* p;
    const T* b;
    int stride, first_row, rows, first_column;
    Columns columns;
    int count;

    __device__ __forceinline__ int column(const int j) const {
        return columns.spot(first_column + j, count).dense;
    }
    __device__ __forceinline__ void put(const int i, const int place, const T value) const {
        const int row = first_row + i;
        if (place >= 0 && row < rows) p[row * stride + place] = b ? value + b[row] : value;
    }
};

// A plain matrix whose rows are `lead` apart.
template <typename T> struct IntoMatrix {
    static constexpr bool COLUMN_BIAS = false;
    T* p;
    int lead, first_row, rows, first_column, count;

    __device__ __forceinline__ int column(const int j) const { return first_column + j; }
    __device__ __forceinline__ void put(const int i, const int column, const T value) const {
        if (first_row + i < rows && column < count) p[(first_row + i) * lead + column] = value;
    }
};
