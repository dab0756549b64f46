// conv2d_bf16.cu -- convolution on tensor cores, of numbers rounded to bfloat16, by conv2d_multistage.cuh.
// Python side: minialex/ops/conv2d/multistage.py.
// needs: sm_80
//
// Layout:  as in conv2d_multistage.cu; x, w and gy of bfloat16, b, gw and gb of float, y and gx of float
//          or of bfloat16 (Out), and so gy where it is summed up for gb (In).
// Launch:  as in conv2d_multistage.cu.
// Cost:    as many multiplications as conv2d.cu, at twice the rate of TF32. And a pass over x, w and gy.
#include "bfloat16_product.cuh"
#include "conv2d_multistage.cuh"

constexpr int STAGES = stages_of<__nv_bfloat16>(__CUDA_ARCH__);

// The idea: filters times patches, both contiguous along k: ldmatrix loads both, two numbers a word. Sums
// and b are floats; y of bfloat16 is rounded once, as it is stored.
// instances: ROWS = 4, 8, 16; Out = float, __nv_bfloat16
template <int ROWS, typename Out>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_forward_bf16(
    const __nv_bfloat16* __restrict__ x, const __nv_bfloat16* __restrict__ w,
    const float* __restrict__ b, Out* __restrict__ y, float* __restrict__ partials,
    unsigned* __restrict__ arrived, const ConvShape s, const int depth) {
    multistage_forward<STAGES, Bfloat16, ROWS>(
        x, w, b, y, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: the transposed filters, contiguous across k, times patches of gy, contiguous along it:
// ldmatrix.trans loads the filters, since the two numbers of a word lie in two rows.
// instances: ROWS = 4, 8, 16; Out = float, __nv_bfloat16
template <int ROWS, typename Out>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_data_gradient_bf16(
    const __nv_bfloat16* __restrict__ gy, const __nv_bfloat16* __restrict__ w, Out* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived, const ConvShape s,
    const int depth) {
    multistage_data_gradient<STAGES, Bfloat16, ROWS>(
        gy, w, gx, s, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy times the transposed patches, both contiguous across k: ldmatrix.trans loads both.
// instances: ROWS = 4, 8, 16; In = float, __nv_bfloat16
template <int ROWS, typename In>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
conv2d_weight_gradient_bf16(
    const In* __restrict__ gy, const __nv_bfloat16* __restrict__ gy_chunks,
    const __nv_bfloat16* __restrict__ x,
    float* __restrict__ gw, float* __restrict__ partials, unsigned* __restrict__ arrived,
    float* __restrict__ gb, float* __restrict__ gb_partials, unsigned* __restrict__ gb_arrived,
    const ConvShape s, const int images, const int tiles, const int depth) {
    multistage_weight_gradient<STAGES, Bfloat16, ROWS>(
        gy, gy_chunks, x, gw, s, depth, {partials, arrived, tiles},
        {gb, gb_partials, gb_arrived, images});
}

// The idea: as conv2d_bias_gradient in conv2d.cu, for gy of bfloat16.
__global__ void conv2d_bias_gradient_bf16(
    const __nv_bfloat16* __restrict__ gy, float* __restrict__ gb, float* __restrict__ partials,
    unsigned* __restrict__ arrived, const int N, const int O, const int P, const int images) {
    BiasGradient<float>{gb, partials, arrived, images}.reduce(gy, N, O, P, blockIdx.x);
}
