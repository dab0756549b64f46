// bfloat16.cuh -- rounding to bfloat16: the upper half of a float, 8 bits and all of its exponents.
// Included by arena.cuh, conv2d_channels_last.cu and linear_bf16_rows.cu.

// Two numbers, the first in the lower half of a word, each the nearest, of two the even one.
__device__ __forceinline__ unsigned bfloat16_pair(const float low, const float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&pair);
}
