// bfloat16.cuh -- rounding to bfloat16: the upper half of a float, 8 bits and all of its exponents.
// Included by arena.cuh, conv2d_channels_last.cu, linear_bf16_rows.cu and bfloat16_product.cuh.
#include "vectors.cuh"

// Two numbers, the first in the lower half of a word, each the nearest, of two the even one.
__device__ __forceinline__ unsigned bfloat16_pair(const float low, const float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&pair);
}
// The same of numbers that are of bfloat16.
__device__ __forceinline__ unsigned bfloat16_pair(const __nv_bfloat16 low, const __nv_bfloat16 high) {
    const __nv_bfloat162 pair = __halves2bfloat162(low, high);
    return *reinterpret_cast<const unsigned*>(&pair);
}

// Two numbers or four, a word or two.
template <int W> __device__ __forceinline__ void write_numbers(const float* from, __nv_bfloat16* to) {
    static_assert(W == 2 || W == 4, "no whole words");
    if constexpr (W == 2)
        *reinterpret_cast<unsigned*>(to) = bfloat16_pair(from[0], from[1]);
    else
        *reinterpret_cast<uint2*>(to) =
            make_uint2(bfloat16_pair(from[0], from[1]), bfloat16_pair(from[2], from[3]));
}
