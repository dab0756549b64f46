// conv2d_implicit_gemm.cu -- convolution as matrix products summed up in registers, with patches
// looked up where they are needed and never written: the top rung of the ladder in conv2d.cu for
// ordinary arithmetic. Python side: minialex/ops/conv2d/cuda.py.
//
// The formulas stand in conv2d.cu. How a block computes its tile: panel_product.cuh (shared memory,
// double buffering), register_product.cuh (registers, vectors, the arithmetic behind the sizes),
// conv2d_panels.cuh (finding a patch), conv2d_implicit_gemm.cuh (the three products).
//
// Layout:  as in conv2d.cu.
// Launch:  blocks of ROWS * 16 threads. The grid is (tiles of rows * tiles of columns, parts,
//          groups), for the data gradient (.., parts, groups * sh * sw). A tile is ROWS * 8 rows of
//          128 columns (double: ROWS * 4 of 64). vectors: whether the rows of w begin and end at
//          whole vectors of 16 bytes.
//          The weight gradient's grid has more blocks beyond its `tiles` where gb is wanted too:
//          those of conv2d_bias_gradient.cuh, `images` images to a part.
// Parts:   where tiles are too few to fill a GPU, the sum is cut into parts of `depth` terms each
//          (a multiple of 8). With a workspace, parts (tiles, parts, numbers of a tile) and a zero
//          for each tile in `arrived`, the block that finishes a tile last adds them up in order
//          (split_sum.cuh). Without, part s writes at out + s * (size of the result), and
//          sum_parts.cu adds them up in order, and then the bias. With one part there is neither,
//          and out is the result itself.
// Cost:    as in conv2d.cu; fetched: 2 numbers for every 256 operations with ROWS = 16.
#include "conv2d_implicit_gemm.cuh"
#include "register_product.cuh"

// The idea: filters times patches. Each block looks the patches up as it goes.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_implicit_gemm(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b,
    T* __restrict__ y, T* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vectors, const int depth) {
    conv2d_forward_by<InRegisters<T, ROWS>, T, ROWS>(
        x, w, b, y, s, vectors, depth, {parts, arrived, int(gridDim.x)});
}

// The idea: the transposed filters times what of gy can have reached an element of x.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_implicit_gemm(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx,
    T* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    conv2d_data_gradient_by<InRegisters<T, ROWS>, T, ROWS>(
        gy, w, gx, s, depth, {parts, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, a long sum over all pixels, cut into parts.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_implicit_gemm(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw,
    T* __restrict__ parts, unsigned* __restrict__ arrived,
    T* __restrict__ gb, T* __restrict__ gb_parts, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles,
    const int depth) {
    conv2d_weight_gradient_by<InRegisters<T, ROWS>, T, ROWS>(
        gy, x, gw, s, depth, {parts, arrived, tiles}, {gb, gb_parts, gb_arrived, images});
}
