// conv2d_tensor_core.cu -- convolution on tensor cores: the products of conv2d_implicit_gemm.cu,
// multiplied by tensor_core_product.cuh, with the accuracy of floats or of TF32. Python side:
// minialex/ops/conv2d/cuda.py, where the rungs are called tf32x3 and tf32.
// needs: sm_80
//
// Layout:  as in conv2d.cu.
// Launch:  as in conv2d_implicit_gemm.cu, parts included.
// Cost:    three times the multiplications of conv2d.cu, at TF32's speed; tf32: once.
#include "conv2d_implicit_gemm.cuh"
#include "tensor_core_product.cuh"

// The idea: filters times patches.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_tf32x3(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b,
    T* __restrict__ y, T* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vectors, const int depth) {
    conv2d_forward_by<OnTensorCores<T, ROWS, 3>, T, ROWS>(
        x, w, b, y, s, vectors, depth, {parts, arrived, int(gridDim.x)});
}

// The idea: the transposed filters times what of gy can have reached an element of x.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_tf32x3(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx,
    T* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    conv2d_data_gradient_by<OnTensorCores<T, ROWS, 3>, T, ROWS>(
        gy, w, gx, s, depth, {parts, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, a long sum over all pixels, cut into parts.
// instances: ROWS = 4, 8, 16
template <typename T, int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_tf32x3(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw,
    T* __restrict__ parts, unsigned* __restrict__ arrived,
    T* __restrict__ gb, T* __restrict__ gb_parts, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles,
    const int depth) {
    conv2d_weight_gradient_by<OnTensorCores<T, ROWS, 3>, T, ROWS>(
        gy, x, gw, s, depth, {parts, arrived, tiles}, {gb, gb_parts, gb_arrived, images});
}

// ---- one product for each ------------------------------------------------------------------------

// The idea: filters times patches.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_forward_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const bool vectors, const int depth) {
    conv2d_forward_by<OnTensorCores<float, ROWS, 1>, float, ROWS>(
        x, w, b, y, s, vectors, depth, {parts, arrived, int(gridDim.x)});
}

// The idea: the transposed filters times what of gy can have reached an element of x.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_data_gradient_tf32(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ parts, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    conv2d_data_gradient_by<OnTensorCores<float, ROWS, 1>, float, ROWS>(
        gy, w, gx, s, depth, {parts, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, a long sum over all pixels, cut into parts.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(ROWS * 16, resident_blocks(ROWS)) conv2d_weight_gradient_tf32(
    const float* __restrict__ gy, const float* __restrict__ x, float* __restrict__ gw,
    float* __restrict__ parts, unsigned* __restrict__ arrived,
    float* __restrict__ gb, float* __restrict__ gb_parts, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles,
    const int depth) {
    conv2d_weight_gradient_by<OnTensorCores<float, ROWS, 1>, float, ROWS>(
        gy, x, gw, s, depth, {parts, arrived, tiles}, {gb, gb_parts, gb_arrived, images});
}
