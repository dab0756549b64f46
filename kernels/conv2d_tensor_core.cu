// conv2d_tensor_core.cu -- convolution on tensor cores: the products of conv2d_implicit_gemm.cu,
// multiplied by tensor_core_product.cuh, with the accuracy of float or of TF32. Python side:
// minialex/ops/conv2d/cuda.py, where the rungs are called tf32x3 and tf32.
// needs: sm_80
//
// Layout:  as in conv2d.cu.
// Launch:  as in conv2d_implicit_gemm.cu, split-K included.
// Cost:    three times the multiplications of conv2d.cu, at TF32's speed; tf32: once.
#include "conv2d_implicit_gemm.cuh"
#include "tensor_core_product.cuh"

// The idea: filters times patches.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_tf32x3(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b,
    T* __restrict__ y, T* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vector_aligned, const int depth) {
    implicit_gemm_forward<TensorCoreMma<T, ROWS, 3>, T, ROWS>(
        x, w, b, y, s, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: the transposed filters times the outputs whose window covers an element of x.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_tf32x3(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    implicit_gemm_data_gradient<TensorCoreMma<T, ROWS, 3>, T, ROWS>(
        gy, w, gx, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, a long sum over all pixels (split-K).
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_tf32x3(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw,
    T* __restrict__ partials, unsigned* __restrict__ arrived,
    T* __restrict__ gb, T* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles,
    const int depth) {
    implicit_gemm_weight_gradient<TensorCoreMma<T, ROWS, 3>, T, ROWS>(
        gy, x, gw, s, depth, {partials, arrived, tiles}, {gb, gb_partials, gb_arrived, images});
}

// ---- tf32: one product ----------------------------------------------------------------------------

// The idea: filters times patches.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vector_aligned, const int depth) {
    implicit_gemm_forward<TensorCoreMma<float, ROWS, 1>, float, ROWS>(
        x, w, b, y, s, vector_aligned, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: the transposed filters times the outputs whose window covers an element of x.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_tf32(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    implicit_gemm_data_gradient<TensorCoreMma<float, ROWS, 1>, float, ROWS>(
        gy, w, gx, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, a long sum over all pixels (split-K).
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_tf32(
    const float* __restrict__ gy, const float* __restrict__ x, float* __restrict__ gw,
    float* __restrict__ partials, unsigned* __restrict__ arrived,
    float* __restrict__ gb, float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles,
    const int depth) {
    implicit_gemm_weight_gradient<TensorCoreMma<float, ROWS, 1>, float, ROWS>(
        gy, x, gw, s, depth, {partials, arrived, tiles}, {gb, gb_partials, gb_arrived, images});
}
