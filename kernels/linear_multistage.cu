// linear_multistage.cu -- the fully connected layer on tensor cores, its panels copied several stages
// ahead by multistage_product.cuh, with the accuracy of float or of TF32. Python side:
// minialex/ops/linear/cuda.py, where the rungs are called multistage_tf32x3 and multistage_tf32.
// needs: sm_80
//
// Layout:  as in linear.cu.
// Launch:  as for register_blocked in linear.cu, with dynamic shared memory for STAGES panels.
// Cost:    three times the multiplications of linear.cu, at TF32's speed; multistage_tf32: once.
#include "linear.cuh"
#include "multistage_product.cuh"

constexpr int STAGES = stages_of(__CUDA_ARCH__);

// out (M, N) = A B, summed over k, as linear_gemm in linear.cuh.
template <int PRODUCTS, int ROWS, bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void linear_multistage(const float* A, const float* B, const float* b,
                                                  float* out, const int M, const int N, const int K,
                                                  const bool a_aligned, const bool b_aligned,
                                                  const int depth, const Workspace<float>& workspace) {
    using Mma = MultistageMma<ROWS, PRODUCTS, false, A_ALONG_K, B_ALONG_K>;
    const int first = blockIdx.y * depth, last = min(K, first + depth);
    const TileOrigin origin = tile_origin<float, ROWS>(M);
    const DenseChunks<A_ALONG_K> a{A, 0, A_ALONG_K ? K : M, M, last, a_aligned};
    const DenseChunks<B_ALONG_K> b_matrix{B, 0, B_ALONG_K ? K : N, N, last, b_aligned};
    const RowCopier<ROWS, DenseChunks<A_ALONG_K>> rows(a, origin.row);
    const ColumnCopier<ROWS, DenseChunks<B_ALONG_K>> columns(b_matrix, origin.column);
    const MatrixEpilogue<float> result{
        workspace.result(out, size_t(M) * N), b, N, origin.row, M, origin.column, N};
    multistage_product<ROWS, STAGES, Mma>(rows, columns, NoCoords{}, result, first, last, workspace);
}

// The weight gradient, with the blocks of the bias gradient beyond its tiles, as in linear.cuh.
template <int PRODUCTS, int ROWS>
__device__ __forceinline__ void linear_multistage_weight_gradient(
    const float* gy, const float* x, float* gw, const int R, const int O, const int I,
    const bool gy_aligned, const bool x_aligned, const int depth, const Workspace<float>& workspace,
    const BiasGradient<float>& bias) {
    if (blockIdx.x >= workspace.tiles)
        bias.reduce(gy, R, O, (blockIdx.x - workspace.tiles) * gridDim.y + blockIdx.y);
    else
        linear_multistage<PRODUCTS, ROWS, false, false>(
            gy, x, nullptr, gw, O, I, R, gy_aligned, x_aligned, depth, workspace);
}

// The idea: x and w are both contiguous along k, which is I: ldmatrix loads both.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_forward_multistage_tf32x3(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived, const int R,
    const int O, const int I, const bool x_aligned, const bool w_aligned, const int depth) {
    linear_multistage<3, ROWS, true, true>(
        x, w, b, y, R, O, I, x_aligned, w_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it: one is loaded by ldmatrix, the other
// in vectors.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_data_gradient_multistage_tf32x3(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O,
    const int I, const bool gy_aligned, const bool w_aligned, const int depth) {
    linear_multistage<3, ROWS, true, false>(
        gy, w, nullptr, gx, R, I, O, gy_aligned, w_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R: both are loaded in vectors.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_weight_gradient_multistage_tf32x3(
    const float* __restrict__ gy, const float* __restrict__ x, float* __restrict__ gw,
    float* __restrict__ partials, unsigned* __restrict__ arrived, float* __restrict__ gb,
    float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived, const int R, const int O,
    const int I, const bool gy_aligned, const bool x_aligned, const int rows, const int tiles,
    const int depth) {
    linear_multistage_weight_gradient<3, ROWS>(
        gy, x, gw, R, O, I, gy_aligned, x_aligned, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, rows});
}

// ---- multistage_tf32: one product -----------------------------------------------------------------

// The idea: x and w are both contiguous along k, which is I: ldmatrix loads both.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_forward_multistage_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived, const int R,
    const int O, const int I, const bool x_aligned, const bool w_aligned, const int depth) {
    linear_multistage<1, ROWS, true, true>(
        x, w, b, y, R, O, I, x_aligned, w_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it: one is loaded by ldmatrix, the other
// in vectors.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_data_gradient_multistage_tf32(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O,
    const int I, const bool gy_aligned, const bool w_aligned, const int depth) {
    linear_multistage<1, ROWS, true, false>(
        gy, w, nullptr, gx, R, I, O, gy_aligned, w_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R: both are loaded in vectors.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_weight_gradient_multistage_tf32(
    const float* __restrict__ gy, const float* __restrict__ x, float* __restrict__ gw,
    float* __restrict__ partials, unsigned* __restrict__ arrived, float* __restrict__ gb,
    float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived, const int R, const int O,
    const int I, const bool gy_aligned, const bool x_aligned, const int rows, const int tiles,
    const int depth) {
    linear_multistage_weight_gradient<1, ROWS>(
        gy, x, gw, R, O, I, gy_aligned, x_aligned, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, rows});
}
