// arena.cuh -- how the optimizers' kernels go over the arena (minialex/optim/arena.py).
//
//   p, g and each kind of state: n numbers in a row, each read once and written once at most
//
// Launch:  a 1-D grid of 1-D blocks, one thread per 16-byte vector of each array.
//
// The idea: an update computes next to nothing, so it is bound by memory bandwidth. One thread
// takes the same vector of every array, which keeps many bytes in flight. n need not be a multiple
// of the vector width: the last thread loads its numbers one by one, as all do where the arrays are
// not aligned to 16 bytes (`vector_aligned` is false).
//
// State that a setting does without is a null pointer, and not a template parameter: the branch is
// uniform, which costs nothing beside a read from memory, and there is one kernel to compile and to
// read where there would be four.
//
// `shadow`, where it is given, takes the new p rounded to bfloat16, which layers multiply by: while p is in
// registers that costs a write of 2 bytes, and on its own it would read 4 besides.
//
// What changes from step to step is an argument, or lies in memory: a step that is replayed as a
// CUDA graph is launched with the arguments of the first time. `rates` then is the pair of numbers
// that replaces the first arguments, and where *failed is not 0 the step changes nothing.

#include "bfloat16.cuh"
#include "vectors.cuh"

__device__ __forceinline__ bool skips_step(const double* failed) { return failed && *failed != 0; }

template <typename T>
__device__ __forceinline__ T step_rate(const double* rates, const int index, const T argument) {
    return rates ? T(rates[index]) : argument;
}

// One vector in registers.
template <typename T> struct Pack {
    T values[VECTOR_WIDTH<T>];

    __device__ __forceinline__ T& operator[](const int k) { return values[k]; }
    __device__ __forceinline__ const T& operator[](const int k) const { return values[k]; }
};

// The elements of every array that one thread updates.
template <typename T> struct ThreadSlice {
    const int first, count;
    const bool is_vector;

    __device__ ThreadSlice(const int n, const bool vector_aligned)
        : first(flat_index() * VECTOR_WIDTH<T>), count(min(VECTOR_WIDTH<T>, n - first)),
          is_vector(vector_aligned && count == VECTOR_WIDTH<T>) {}

    // Zeros where there is no array, and past the end.
    __device__ __forceinline__ Pack<T> load(const T* a) const {
        Pack<T> pack;
        if (a && is_vector) {
            read_vector(a + first, pack.values);
        } else {
#pragma unroll
            for (int k = 0; k < VECTOR_WIDTH<T>; ++k) pack[k] = a && k < count ? a[first + k] : T(0);
        }
        return pack;
    }

    __device__ __forceinline__ void store(const Pack<T>& pack, T* a) const {
        if (!a) return;
        if (is_vector) {
            write_vector(pack.values, a + first);
        } else {
#pragma unroll
            for (int k = 0; k < VECTOR_WIDTH<T>; ++k)
                if (k < count) a[first + k] = pack[k];
        }
    }

    __device__ __forceinline__ void store_rounded(const Pack<T>& pack, __nv_bfloat16* a) const {
        if (!a) return;
        if (is_vector) {
            const unsigned low = bfloat16_pair(pack[0], pack[1]);
            if constexpr (VECTOR_WIDTH<T> == 4)
                *reinterpret_cast<uint2*>(a + first) = {low, bfloat16_pair(pack[2], pack[3])};
            else *reinterpret_cast<unsigned*>(a + first) = low;
        } else {
#pragma unroll
            for (int k = 0; k < VECTOR_WIDTH<T>; ++k)
                if (k < count) a[first + k] = __float2bfloat16_rn(pack[k]);
        }
    }
};
