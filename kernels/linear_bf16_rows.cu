// linear_bf16_rows.cu -- the operands of linear_bf16.cu: rows rounded to bfloat16, and padded
//
//   rounded[r, i] = x[r, i]      zero for i = length ... padded length - 1
//
// for x (R, I), w (O, I) and gy (R, O): for as many of them as a pass needs, in one launch. x and gy may
// be of bfloat16 themselves (In); then they are here only if their rows are no whole chunks.
//
// Layout:  padded lengths are whole chunks of 16 bytes: multiples of 8.
// Launch:  a 1-D grid of 1-D blocks, one thread per four numbers of what is written.
// Cost:    reads 4 bytes, or 2, and writes 2 for each number.
#include "bfloat16.cuh"

// Rows and what they become; `rounded` is null where it is not wanted.
template <typename T> struct Rounding {
    const T* x;
    __nv_bfloat16* rounded;
    int rows, length;

    __device__ __forceinline__ int vectors_per_row() const { return padded<__nv_bfloat16>(length) / 4; }
    __device__ __forceinline__ int vectors() const { return rounded ? rows * vectors_per_row() : 0; }
    // Whether the four numbers from `first` on can be read at once: rows of bfloat16 are odd ones.
    __device__ __forceinline__ bool is_vector(const int first) const {
        return sizeof(T) == 4 && length % 4 == 0 && size_t(x) % 16 == 0 && first < length;
    }
    // Rounds four numbers of a row.
    __device__ __forceinline__ void round(const int vector) const {
        const int row = vector / vectors_per_row(), first = vector % vectors_per_row() * 4;
        const T* const from = x + row * length + first;
        T numbers[4];
        if (is_vector(first)) {
            if constexpr (sizeof(T) == 4) read_vector(from, numbers);
        } else {
#pragma unroll
            for (int e = 0; e < 4; ++e) numbers[e] = first + e < length ? from[e] : T{};
        }
        const uint2 packed = {bfloat16_pair(numbers[0], numbers[1]), bfloat16_pair(numbers[2], numbers[3])};
        reinterpret_cast<uint2*>(rounded)[vector] = packed;
    }
};

// The idea: once rounded, numbers are half as many bytes for every tile that reads them, and rows that
// are padded are whole chunks for cp.async. A thread has four numbers, so that lanes fill sectors.
// instances: In = float, __nv_bfloat16
template <typename In>
__global__ void linear_bf16_rows(
    const In* __restrict__ x, __nv_bfloat16* __restrict__ x_rows, const float* __restrict__ w,
    __nv_bfloat16* __restrict__ w_rows, const In* __restrict__ gy, __nv_bfloat16* __restrict__ gy_rows,
    const int R, const int O, const int I) {
    int vector = flat_index();
    Rounding<In> own{x, x_rows, R, I};
    if (vector >= own.vectors()) {
        vector -= own.vectors();
        own = {gy, gy_rows, R, O};
    }
    if (vector < own.vectors()) return own.round(vector);
    vector -= own.vectors();
    const Rounding<float> weights{w, w_rows, O, I};
    if (vector < weights.vectors()) weights.round(vector);
}
