// linear_bf16_rows.cu -- the operands of linear_bf16.cu: rows of floats rounded to bfloat16
//
//   rounded[r, i] = x[r, i]      zero for i = length ... padded length - 1
//
// for x (R, I), w (O, I) and gy (R, O): for as many of them as a pass needs, in one launch.
//
// Layout:  padded lengths are whole chunks of 16 bytes: multiples of 8.
// Launch:  a 1-D grid of 1-D blocks, one thread per four numbers of what is written.
// Cost:    reads 4 bytes and writes 2 for each number.
#include "bfloat16.cuh"
#include "vectors.cuh"

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
