// conv2d_multistage.cu -- convolution on tensor cores, its panels copied several stages ahead by
// conv2d_multistage.cuh, with the accuracy of float or of TF32. Python side:
// minialex/ops/conv2d/multistage.py, where the rungs are called multistage_tf32x3 and multistage_tf32.
// needs: sm_80
//
// Layout:  x (N, H, W, groups, Cp), w (O, KH, KW, Cp), gy (N, OH, OW, groups, Op), where Cp and Op are
//          the channels and filters of a group, padded with zeros to whole chunks; y, gx and gw as in
//          conv2d.cu. For multistage_tf32 the numbers are TF32 numbers.
// Launch:  as in conv2d_implicit_gemm.cu, with dynamic shared memory for STAGES panels.
// Cost:    three times the multiplications of conv2d.cu, at TF32's speed; multistage_tf32: once. And a
//          pass over x, w and gy.
#include "conv2d_multistage.cuh"

constexpr int STAGES = stages_of<float>(__CUDA_ARCH__);

// The idea: filters times patches, both contiguous along k: ldmatrix loads both.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_forward_multistage_tf32x3(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    multistage_forward<STAGES, SplitTf32<3>, ROWS>(
        x, w, b, y, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: the transposed filters, contiguous across k, times patches of gy, contiguous along it.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_data_gradient_multistage_tf32x3(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    multistage_data_gradient<STAGES, SplitTf32<3>, ROWS>(
        gy, w, gx, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, both contiguous across k: both are loaded in vectors.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_weight_gradient_multistage_tf32x3(
    const float* __restrict__ gy, const float* __restrict__ gy_chunks, const float* __restrict__ x,
    float* __restrict__ gw, float* __restrict__ partials, unsigned* __restrict__ arrived,
    float* __restrict__ gb, float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles, const int depth) {
    multistage_weight_gradient<STAGES, SplitTf32<3>, ROWS>(
        gy, gy_chunks, x, gw, s, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, images});
}

// ---- multistage_tf32: one product -----------------------------------------------------------------

// The idea: filters times patches, both contiguous along k: ldmatrix loads both.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_forward_multistage_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ b,
    float* __restrict__ y, float* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    multistage_forward<STAGES, RoundedTf32, ROWS>(
        x, w, b, y, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: the transposed filters, contiguous across k, times patches of gy, contiguous along it.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_data_gradient_multistage_tf32(
    const float* __restrict__ gy, const float* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived,
    const ConvShape s, const int depth) {
    multistage_data_gradient<STAGES, RoundedTf32, ROWS>(
        gy, w, gx, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, both contiguous across k: both are loaded in vectors.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_weight_gradient_multistage_tf32(
    const float* __restrict__ gy, const float* __restrict__ gy_chunks, const float* __restrict__ x,
    float* __restrict__ gw, float* __restrict__ partials, unsigned* __restrict__ arrived,
    float* __restrict__ gb, float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles, const int depth) {
    multistage_weight_gradient<STAGES, RoundedTf32, ROWS>(
        gy, gy_chunks, x, gw, s, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, images});
}
