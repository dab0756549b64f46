// conv2d_implicit_gemm.cu -- implicit GEMM: convolution as matrix products accumulated in registers,
// with patches gathered as they are needed and never written: the top rung of the ladder in conv2d.cu
// without tensor cores. Python side: minialex/ops/conv2d/cuda.py.
//
// The formulas are in conv2d.cu. How a block computes its tile: panel_product.cuh (shared memory,
// double buffering), register_product.cuh (registers, vectors, the arithmetic behind the sizes),
// conv2d_panels.cuh (gathering a patch), conv2d_implicit_gemm.cuh (the three products).
//
// Layout:  as in conv2d.cu.
// Launch:  blocks of ROWS * 16 threads. The grid is (tiles of rows * tiles of columns, parts,
//          groups), for the data gradient (.., parts, groups * sh * sw). A tile is ROWS * 8 rows of
//          128 columns (double: ROWS * 4 of 64). vector_aligned: whether the rows of w are whole
//          16-byte vectors.
//          The weight gradient's grid has more blocks beyond its `tiles` where gb is wanted too:
//          those of conv2d_bias_gradient.cuh, `images` images per part.
// Split-K: where tiles are too few to fill a GPU, the sum is split into parts of `depth` terms each
//          (a multiple of 8). With a workspace, `partials` (tiles, parts, numbers of a tile) and a
//          zero for each tile in `arrived`, the block that finishes a tile last adds them up in order
//          (split_sum.cuh). Without, part s writes to out + s * (size of the result), and
//          sum_partials.cu adds them up in order, and then the bias. With one part there is neither,
//          and out is the result itself.
// Cost:    as in conv2d.cu; 2 numbers loaded per 256 operations with ROWS = 16.
#include "conv2d_implicit_gemm.cuh"
#include "register_product.cuh"

// The idea: filters times patches, which each block gathers as it goes.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_implicit_gemm(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b,
    T* __restrict__ y, T* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vector_aligned, const int depth) {
    implicit_gemm_forward<SimtMma<T, ROWS>, T, ROWS>(
        x, w, b, y, s, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: the transposed filters times the outputs whose window covers an element of x.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_implicit_gemm(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    implicit_gemm_data_gradient<SimtMma<T, ROWS>, T, ROWS>(
        gy, w, gx, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, a long sum over all pixels (split-K).
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_implicit_gemm(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    T* __restrict__ gb, T* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles,
    const int depth) {
    implicit_gemm_weight_gradient<SimtMma<T, ROWS>, T, ROWS>(
        gy, x, gw, s, depth, {partials, arrived, tiles}, {gb, gb_partials, gb_arrived, images});
}
