// linear_bf16.cu -- the fully connected layer on tensor cores, of numbers rounded to bfloat16: 8 bits and
// the exponents of float. Python side: minialex/ops/linear/bf16.py.
//
//   rows       x[r, i] rounded, zero for i = I ... Ip - 1, Ip being I padded to a multiple of 8
//   forward, data_gradient, weight_gradient: as in linear.cu, of such rows
//
// needs: sm_80
//
// Layout:  x (R, Ip), w (O, Ip), gy (R, Op) of bfloat16; y, gx and gw of float, as in linear.cu.
// Launch:  as in linear_multistage.cu.
// Cost:    a third of multistage_tf32x3's multiplications, at twice their rate; half the bytes of x, w
//          and gy are read for them. And a pass over x, w and gy.
#include "bfloat16.cuh"
#include "bfloat16_product.cuh"
#include "linear_multistage.cuh"

constexpr int STAGES = stages_of<__nv_bfloat16>(__CUDA_ARCH__);

// Rows of floats and what they become; `rounded` is null where it is not wanted.
struct Rounding {
    const float* x;
    __nv_bfloat16* rounded;
    int rows, length;

    __device__ __forceinline__ int vectors_per_row() const { return padded<__nv_bfloat16>(length) / 4; }
    __device__ __forceinline__ int vectors() const { return rounded ? rows * vectors_per_row() : 0; }
    // Rounds four numbers of a row.
    __device__ __forceinline__ void round(const int vector) const {
        const int row = vector / vectors_per_row(), first = vector % vectors_per_row() * 4;
        const float* const from = x + row * length + first;
        float numbers[4];
        if (length % 4 == 0 && size_t(x) % 16 == 0 && first < length) {
            read_vector(from, numbers);
        } else {
#pragma unroll
            for (int e = 0; e < 4; ++e) numbers[e] = first + e < length ? from[e] : 0;
        }
        const uint2 packed = {bfloat16_pair(numbers[0], numbers[1]), bfloat16_pair(numbers[2], numbers[3])};
        reinterpret_cast<uint2*>(rounded)[vector] = packed;
    }
};

// The idea: once rounded, numbers are half as many bytes for every tile that reads them, and rows that
// are padded are whole chunks for cp.async. A thread has four numbers, so that lanes fill sectors.
__global__ void linear_bf16_rows(
    const float* __restrict__ x, __nv_bfloat16* __restrict__ x_rows, const float* __restrict__ w,
    __nv_bfloat16* __restrict__ w_rows, const float* __restrict__ gy,
    __nv_bfloat16* __restrict__ gy_rows, const int R, const int O, const int I) {
    int vector = flat_index();
    Rounding own{x, x_rows, R, I};
    if (vector >= own.vectors()) {
        vector -= own.vectors();
        own = {w, w_rows, O, I};
    }
    if (vector >= own.vectors()) {
        vector -= own.vectors();
        own = {gy, gy_rows, R, O};
    }
    if (vector < own.vectors()) own.round(vector);
}

// The idea: x and w are both contiguous along k, which is I: ldmatrix loads both, two numbers a word.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_forward_bf16(
    const __nv_bfloat16* __restrict__ x, const __nv_bfloat16* __restrict__ w,
    const float* __restrict__ b, float* __restrict__ y, float* __restrict__ partials,
    unsigned* __restrict__ arrived, const int R, const int O, const int I, const int depth) {
    const int length = padded<__nv_bfloat16>(I);
    linear_multistage<STAGES, Bfloat16, ROWS, true, true>(
        {x, length, true}, {w, length, true}, b, y, R, O, I, depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy is contiguous along k, which is O, and w across it: ldmatrix.trans loads that, since
// the two numbers of a word, at neighbouring k, lie in two rows.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_data_gradient_bf16(
    const __nv_bfloat16* __restrict__ gy, const __nv_bfloat16* __restrict__ w, float* __restrict__ gx,
    float* __restrict__ partials, unsigned* __restrict__ arrived, const int R, const int O,
    const int I, const int depth) {
    linear_multistage<STAGES, Bfloat16, ROWS, true, false>(
        {gy, padded<__nv_bfloat16>(O), true}, {w, padded<__nv_bfloat16>(I), true}, nullptr, gx, R, I, O,
        depth, {partials, arrived, int(gridDim.x)});
}

// The idea: gy and x are both contiguous across k, which is R: ldmatrix.trans loads both.
// instances: ROWS = 4, 8, 16
template <int ROWS>
__global__ void __launch_bounds__(MultistageTile<ROWS>::THREADS, MultistageTile<ROWS>::BLOCKS)
linear_weight_gradient_bf16(
    const float* __restrict__ gy, const __nv_bfloat16* __restrict__ gy_rows,
    const __nv_bfloat16* __restrict__ x, float* __restrict__ gw, float* __restrict__ partials,
    unsigned* __restrict__ arrived, float* __restrict__ gb, float* __restrict__ gb_partials,
    unsigned* __restrict__ gb_arrived, const int R, const int O, const int I, const int rows,
    const int tiles, const int depth) {
    linear_multistage_weight_gradient<STAGES, Bfloat16, ROWS>(
        gy, {gy_rows, padded<__nv_bfloat16>(O), true}, {x, padded<__nv_bfloat16>(I), true}, gw, R, O, I,
        depth, {partials, arrived, tiles}, {gb, gb_partials, gb_arrived, rows});
}
