// slices.cuh -- arrays of one shape, gone over element by element in 16-byte vectors. Included by
// relu.cu, dropout.cu and arena.cuh.
//
// The idea: what computes next to nothing is bound by memory bandwidth. A thread takes the same
// slice of every array, one vector or a few, so that many bytes are on their way at a time: a number of
// bfloat16 has but two. n need not be a multiple of the slice's size: the last
// thread reads its numbers one by one, as all do where the arrays are not aligned to 16 bytes
// (`vector_aligned` is false).
//
// In registers numbers have the type that they are computed with: those of bfloat16 are widened to
// float as they are read, and rounded, once, as they are written.
#include "vectors.cuh"

// Vectors of bfloat16. The type is a parameter, as most files that include this do not have its header.
template <typename T> __device__ __forceinline__ void read_vector(const T* from, float* to) {
    alignas(16) T numbers[VECTOR_WIDTH<T>];
    *reinterpret_cast<uint4*>(numbers) = *reinterpret_cast<const uint4*>(from);
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) to[k] = float(numbers[k]);
}
template <typename T> __device__ __forceinline__ void write_vector(const float* from, T* to) {
    alignas(16) T numbers[VECTOR_WIDTH<T>];
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) numbers[k] = T(from[k]);
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(numbers);
}

// Whether arrays begin at multiples of 16 bytes.
template <typename... Arrays> __device__ __forceinline__ bool begin_vectors(const Arrays*... arrays) {
    return (size_t(arrays) | ...) % 16 == 0;
}

// The numbers of a slice in registers.
template <typename T, int SIZE = VECTOR_WIDTH<T>> struct Pack {
    using Number = typename Accumulator<T>::type;
    Number values[SIZE];

    __device__ __forceinline__ Number& operator[](const int k) { return values[k]; }
    __device__ __forceinline__ const Number& operator[](const int k) const { return values[k]; }
};

// The elements of every array that one thread has: SIZE of them, a multiple of the vector width.
template <typename T, int SIZE = VECTOR_WIDTH<T>> struct ThreadSlice {
    const int first, count;
    const bool is_vector;

    // `count` is less than 1 where the thread has none.
    __device__ ThreadSlice(const int n, const bool vector_aligned, const int thread = flat_index())
        : first(thread * SIZE), count(min(SIZE, n - first)),
          is_vector(vector_aligned && count == SIZE) {}

    // Zeros where there is no array, and past the end.
    __device__ __forceinline__ Pack<T, SIZE> load(const T* a) const {
        using Number = typename Accumulator<T>::type;
        Pack<T, SIZE> pack;
        if (a && is_vector) {
#pragma unroll
            for (int k = 0; k < SIZE; k += VECTOR_WIDTH<T>) read_vector(a + first + k, pack.values + k);
        } else {
#pragma unroll
            for (int k = 0; k < SIZE; ++k) pack[k] = a && k < count ? Number(a[first + k]) : Number(0);
        }
        return pack;
    }

    __device__ __forceinline__ void store(const Pack<T, SIZE>& pack, T* a) const {
        if (!a) return;
        if (is_vector) {
#pragma unroll
            for (int k = 0; k < SIZE; k += VECTOR_WIDTH<T>) write_vector(pack.values + k, a + first + k);
        } else {
#pragma unroll
            for (int k = 0; k < SIZE; ++k)
                if (k < count) a[first + k] = T(pack[k]);
        }
    }
};
