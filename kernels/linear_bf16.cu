// linear_bf16.cu -- the fully connected layer on tensor cores, of numbers rounded to bfloat16 by
// linear_bf16_rows.cu. Python side: minialex/ops/linear/bf16.py.
// needs: sm_80
//
// Layout:  x (R, Ip), w (O, Ip), gy (R, Op) of bfloat16, where Ip and Op are I and O padded with zeros to
//          whole chunks; b, gw and gb as in linear.cu; y and gx of float or of bfloat16 (Out), and
//          so gy where it is summed up for gb (In).
// Launch:  as in linear_multistage.cu.
// Cost:    as many multiplications as linear.cu, at twice the rate of TF32. And a pass over w, and over
//          those of x and gy that are of float or whose rows are no whole chunks.
#include "bfloat16_product.cuh"
#include "linear_multistage.cuh"

constexpr int STAGES = stages_of<__nv_bfloat16>(__CUDA_ARCH__);

// The idea: x and w are both contiguous along k, which is I: ldmatrix loads both, two numbers a word. Sums
// and b are floats; y of bfloat16 is rounded once, as it is stored.
// instances: ROWS = 4, 8, 16; Out = float, __nv_bfloat16
template <int ROWS, typename Out>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_forward_bf16(
    const __nv_bfloat16* __restrict__ x, const __nv_bfloat16* __restrict__ w,
    const float* __restrict__ b, Out* __restrict__ y, float* __restrict__ partials,
    unsigned* __restrict__ arrived, const int R, const int O, const int I, const int depth) {
    const int length = padded<__nv_bfloat16>(I);
    linear_multistage<STAGES, Bfloat16, ROWS, true, true>(
        {x, length, true}, {w, length, true}, b, y, R, O, I, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it: ldmatrix.trans loads that, since
// the two numbers of a word, at neighbouring k, lie in two rows.
// instances: ROWS = 4, 8, 16; Out = float, __nv_bfloat16
template <int ROWS, typename Out>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_data_gradient_bf16(
    const __nv_bfloat16* __restrict__ gy, const __nv_bfloat16* __restrict__ w, Out* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O,
    const int I, const int depth) {
    linear_multistage<STAGES, Bfloat16, ROWS, true, false>(
        {gy, padded<__nv_bfloat16>(O), true}, {w, padded<__nv_bfloat16>(I), true}, nullptr, gx, R, I, O,
        depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R: ldmatrix.trans loads both.
// instances: ROWS = 4, 8, 16; In = float, __nv_bfloat16
template <int ROWS, typename In>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_weight_gradient_bf16(
    const In* __restrict__ gy, const __nv_bfloat16* __restrict__ gy_rows,
    const __nv_bfloat16* __restrict__ x, float* __restrict__ gw, float* __restrict__ partials,
    unsigned* __restrict__ arrived, float* __restrict__ gb, float* __restrict__ gb_partials,
    unsigned* __restrict__ gb_arrived, const int R, const int O, const int I, const int rows,
    const int tiles, const int depth) {
    linear_multistage_weight_gradient<STAGES, Bfloat16, ROWS>(
        gy, {gy_rows, padded<__nv_bfloat16>(O), true}, {x, padded<__nv_bfloat16>(I), true}, gw, R, O, I,
        depth, {partials, arrived, tiles}, {gb, gb_partials, gb_arrived, rows});
}

// The idea: as linear_bias_gradient in linear.cu, for gy of bfloat16.
__global__ void linear_bias_gradient_bf16(
    const __nv_bfloat16* __restrict__ gy, float* __restrict__ gb, float* __restrict__ partials,
    unsigned* __restrict__ arrived, const int R, const int O, const int rows) {
    BiasGradient<float>{gb, partials, arrived, rows}.reduce(gy, R, O, blockIdx.x);
}
