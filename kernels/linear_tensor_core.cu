// linear_tensor_core.cu -- the fully connected layer on tensor cores: the products of linear.cu,
// multiplied by tensor_core_product.cuh, with the accuracy of float or of TF32. Python side:
// minialex/ops/linear/cuda.py, where the rungs are called tf32x3 and tf32.
// needs: sm_80
//
// Layout:  as in linear.cu.
// Launch:  as for register_blocked in linear.cu.
// Cost:    three times the multiplications of linear.cu, at TF32's speed; tf32: once.
#include "linear.cuh"
#include "tensor_core_product.cuh"

// The idea: x and w are both contiguous along k, which is I.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_forward_tf32x3(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    T* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O, const int I,
    const bool vector_aligned, const int depth) {
    linear_gemm<TensorCoreMma<T, ROWS, 3>, T, ROWS, true, true>(
        x, w, b, y, R, O, I, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_data_gradient_tf32x3(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx,
    T* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O, const int I,
    const bool vector_aligned, const int depth) {
    linear_gemm<TensorCoreMma<T, ROWS, 3>, T, ROWS, true, false>(
        gy, w, nullptr, gx, R, I, O, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_weight_gradient_tf32x3(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    T* __restrict__ gb, T* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived, const int R,
    const int O, const int I, const bool vector_aligned, const int rows, const int tiles,
    const int depth) {
    linear_weight_gradient_gemm<TensorCoreMma<T, ROWS, 3>, T, ROWS>(
        gy, x, gw, R, O, I, vector_aligned, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, rows});
}

// ---- tf32: one product ----------------------------------------------------------------------------

// The idea: x and w are both contiguous along k, which is I.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_forward_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived, const int R,
    const int O, const int I, const bool vector_aligned, const int depth) {
    linear_gemm<TensorCoreMma<float, ROWS, 1>, float, ROWS, true, true>(
        x, w, b, y, R, O, I, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_data_gradient_tf32(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O,
    const int I, const bool vector_aligned, const int depth) {
    linear_gemm<TensorCoreMma<float, ROWS, 1>, float, ROWS, true, false>(
        gy, w, nullptr, gx, R, I, O, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) linear_weight_gradient_tf32(
    const float* __restrict__ gy, const float* __restrict__ x, float* __restrict__ gw,
    float* __restrict__ partials, unsigned* __restrict__ arrived,
    float* __restrict__ gb, float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const int R, const int O, const int I, const bool vector_aligned, const int rows, const int tiles,
    const int depth) {
    linear_weight_gradient_gemm<TensorCoreMma<float, ROWS, 1>, float, ROWS>(
        gy, x, gw, R, O, I, vector_aligned, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, rows});
}
