// linear.cu -- the fully connected layer: three products of matrices, in three rungs. Python side:
// minialex/ops/linear/.
//
//   forward           y[r, o]  = b[o] + sum over i of x[r, i]  w[o, i]         y  = x w^T + b
//   data gradient     gx[r, i] =        sum over o of gy[r, o] w[o, i]         gx = gy w
//   weight gradient   gw[o, i] =        sum over r of gy[r, o] x[r, i]         gw = gy^T x
//   bias gradient     gb[o]    =        sum over r of gy[r, o]
//
// Layout:  x (R, I), w (O, I), b (O,) or null, y (R, O), C-contiguous; R is the number of rows,
//          whatever axes they came in.
// Launch:  naive: blocks of threads (x, y), one thread per number of the result.
//          tiled: blocks of TILE x TILE threads, the grid (tiles of columns, tiles of rows).
//          register_blocked: blocks of ROWS * 16 threads, the grid (tiles of rows * tiles of
//          columns, parts); tiles and split-K as in conv2d_implicit_gemm.cu, and so are the blocks
//          of the bias gradient beyond the tiles of the weight gradient, `rows` rows per part.
//          vector_aligned: whether the rows of both matrices are whole 16-byte vectors.
//          bias gradient: a 1-D grid of (blocks of columns) * parts blocks.
// Cost:    2 R O I operations each. With few rows (R < 100 or so) loading w, 4 O I bytes, takes longer
//          than that: then what counts is that w is loaded once and by enough blocks at a time,
//          which is what split-K is for.
#include "linear.cuh"
#include "register_product.cuh"
#include "tile_product.cuh"

// ---- naive: the formula, one thread per number ---------------------------------------------------
// Columns are along threadIdx.x. One of the two factors is the same for the whole warp; whether the
// loads of the other coalesce is what makes these three differ in speed.

// The idea: lanes read down a column of w, I numbers apart: uncoalesced, the slowest access pattern.
template <typename T>
__global__ void linear_forward_naive(const T* __restrict__ x, const T* __restrict__ w,
                                     const T* __restrict__ b, T* __restrict__ y, const int R, const int O,
                                     const int I) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    if (r >= R || o >= O) return;
    typename Accumulator<T>::type sum = b ? b[o] : T(0);
    for (int i = 0; i < I; ++i) sum += x[r * I + i] * w[o * I + i];
    y[r * O + o] = sum;
}

// The idea: lanes read along the rows of w.
template <typename T>
__global__ void linear_data_gradient_naive(const T* __restrict__ gy, const T* __restrict__ w,
                                           T* __restrict__ gx, const int R, const int O, const int I) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    if (r >= R || i >= I) return;
    typename Accumulator<T>::type sum = 0;
    for (int o = 0; o < O; ++o) sum += gy[r * O + o] * w[o * I + i];
    gx[r * I + i] = sum;
}

// The idea: lanes read along the rows of x.
template <typename T>
__global__ void linear_weight_gradient_naive(const T* __restrict__ gy, const T* __restrict__ x,
                                             T* __restrict__ gw, const int R, const int O, const int I) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, o = blockIdx.y * blockDim.y + threadIdx.y;
    if (o >= O || i >= I) return;
    typename Accumulator<T>::type sum = 0;
    for (int r = 0; r < R; ++r) sum += gy[r * O + o] * x[r * I + i];
    gw[o * I + i] = sum;
}

// ---- bias gradient: shared by all rungs ----------------------------------------------------------

// The idea: one thread per column, and rows in parts: linear.cuh.
template <typename T>
__global__ void linear_bias_gradient(const T* __restrict__ gy, T* __restrict__ gb,
                                     T* __restrict__ partials, unsigned* __restrict__ arrived,
                                     const int R, const int O, const int rows) {
    BiasGradient<T>{gb, partials, arrived, rows}.reduce(gy, R, O, blockIdx.x);
}

// ---- tiled: tiles in shared memory ---------------------------------------------------------------
// tile_product.cuh has the idea. Lanes load each matrix along its contiguous axis, transposed or not,
// so that all three are equally fast.

// The idea: both matrices are contiguous along k.
template <typename T>
__global__ void __launch_bounds__(256) linear_forward_tiled(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    const int R, const int O, const int I) {
    const int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    const T sum = tile_product<T, true, true>(
        [&](int line, int i) { return row + line < R && i < I ? x[(row + line) * I + i] : T(0); },
        [&](int line, int i) { return column + line < O && i < I ? w[(column + line) * I + i] : T(0); },
        I);
    const int r = row + threadIdx.y, o = column + threadIdx.x;
    if (r < R && o < O) y[r * O + o] = b ? sum + b[o] : sum;
}

// The idea: gy is contiguous along k, w across it.
template <typename T>
__global__ void __launch_bounds__(256) linear_data_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const int R, const int O,
    const int I) {
    const int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    const T sum = tile_product<T, true, false>(
        [&](int line, int o) { return row + line < R && o < O ? gy[(row + line) * O + o] : T(0); },
        [&](int line, int o) { return column + line < I && o < O ? w[o * I + column + line] : T(0); },
        O);
    const int r = row + threadIdx.y, i = column + threadIdx.x;
    if (r < R && i < I) gx[r * I + i] = sum;
}

// The idea: both are contiguous across k.
template <typename T>
__global__ void __launch_bounds__(256) linear_weight_gradient_tiled(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const int R, const int O,
    const int I) {
    const int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    const T sum = tile_product<T, false, false>(
        [&](int line, int r) { return row + line < O && r < R ? gy[r * O + row + line] : T(0); },
        [&](int line, int r) { return column + line < I && r < R ? x[r * I + column + line] : T(0); },
        R);
    const int o = row + threadIdx.y, i = column + threadIdx.x;
    if (o < O && i < I) gw[o * I + i] = sum;
}

// ---- register_blocked: sums in registers, vectors, double buffering ------------------------------
// panel_product.cuh and register_product.cuh have the idea. The kernels differ in the layout of their
// matrices.

// The idea: x and w are both contiguous along k, which is I.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_forward_register_blocked(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    T* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O, const int I,
    const bool vector_aligned, const int depth) {
    linear_gemm<SimtMma<T, ROWS>, T, ROWS, true, true>(
        x, w, b, y, R, O, I, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_data_gradient_register_blocked(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx,
    T* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O, const int I,
    const bool vector_aligned, const int depth) {
    linear_gemm<SimtMma<T, ROWS>, T, ROWS, true, false>(
        gy, w, nullptr, gx, R, I, O, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_weight_gradient_register_blocked(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    T* __restrict__ gb, T* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived, const int R,
    const int O, const int I, const bool vector_aligned, const int rows, const int tiles,
    const int depth) {
    linear_weight_gradient_gemm<SimtMma<T, ROWS>, T, ROWS>(
        gy, x, gw, R, O, I, vector_aligned, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, rows});
}
