// arena.cuh -- how the optimizers' kernels go over the arena (minialex/optim/arena.py).
//
//   p, g and each kind of state: n numbers in a row, each read once and written once at most
//
// Launch:  a 1-D grid of 1-D blocks, one thread per 16-byte vector of each array.
//
// The idea: an update computes next to nothing, so it is bound by memory bandwidth. One thread
// takes the same vector of every array, which keeps many bytes in flight (slices.cuh).
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
#include "slices.cuh"

__device__ __forceinline__ bool skips_step(const double* failed) { return failed && *failed != 0; }

template <typename T>
__device__ __forceinline__ T step_rate(const double* rates, const int index, const T argument) {
    return rates ? T(rates[index]) : argument;
}

template <typename T>
__device__ __forceinline__ void store_shadow(const ThreadSlice<T>& slice, const Pack<T>& pack,
                                             __nv_bfloat16* shadow) {
    if (!shadow) return;
    float numbers[VECTOR_WIDTH<T>];
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) numbers[k] = pack[k];
    if (slice.is_vector) {
        write_numbers<VECTOR_WIDTH<T>>(numbers, shadow + slice.first);
    } else {
#pragma unroll
        for (int k = 0; k < VECTOR_WIDTH<T>; ++k)
            if (k < slice.count) shadow[slice.first + k] = __float2bfloat16_rn(numbers[k]);
    }
}
