// linear_multistage.cu -- the fully connected layer on tensor cores, its panels copied several stages
// ahead by multistage_product.cuh, with the accuracy of float or of TF32. Python side:
// minialex/ops/linear/cuda.py, where the rungs are called multistage_tf32x3 and multistage_tf32.
// needs: sm_80
//
// Layout:  as in linear.cu.
// Launch:  as for register_blocked in linear.cu, with dynamic shared memory for STAGES panels.
// Cost:    three times the multiplications of linear.cu, at TF32's speed; multistage_tf32: once.
#include "linear_multistage.cuh"

constexpr int STAGES = stages_of<float>(__CUDA_ARCH__);

// The idea: x and w are both contiguous along k, which is I: ldmatrix loads both.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_forward_multistage_tf32x3(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived, const int R,
    const int O, const int I, const bool x_aligned, const bool w_aligned, const int depth) {
    linear_multistage<STAGES, SplitTf32<3>, ROWS, true, true>(
        {x, I, x_aligned}, {w, I, w_aligned}, b, y, R, O, I, depth,
        {partials, arrived, int(gridDim.x)});
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
    linear_multistage<STAGES, SplitTf32<3>, ROWS, true, false>(
        {gy, O, gy_aligned}, {w, I, w_aligned}, nullptr, gx, R, I, O, depth,
        {partials, arrived, int(gridDim.x)});
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
    linear_multistage_weight_gradient<STAGES, SplitTf32<3>, ROWS>(
        gy, {gy, O, gy_aligned}, {x, I, x_aligned}, gw, R, O, I, depth, {partials, arrived, tiles},
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
    linear_multistage<STAGES, SplitTf32<1>, ROWS, true, true>(
        {x, I, x_aligned}, {w, I, w_aligned}, b, y, R, O, I, depth,
        {partials, arrived, int(gridDim.x)});
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
    linear_multistage<STAGES, SplitTf32<1>, ROWS, true, false>(
        {gy, O, gy_aligned}, {w, I, w_aligned}, nullptr, gx, R, I, O, depth,
        {partials, arrived, int(gridDim.x)});
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
    linear_multistage_weight_gradient<STAGES, SplitTf32<1>, ROWS>(
        gy, {gy, O, gy_aligned}, {x, I, x_aligned}, gw, R, O, I, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, rows});
}
