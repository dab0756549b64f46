// arena.cuh -- how the optimizers' kernels go over the arena (minialex/optim/arena.py).
//
//   p, g and each kind of state: n numbers in a row, each read once and written once at most
//
// Launch:  a 1-D grid of 1-D blocks, one thread a vector of 16 bytes of each array.
//
// The idea: an update computes next to nothing, so it is as fast as memory delivers. One thread
// takes the same vector of every array, which keeps as many bytes on their way as it can. n need
// not be whole vectors: the thread that is left with less takes its numbers one by one, as all do
// where the arrays do not begin at multiples of 16 bytes (`vectors` is false).
//
// State that a setting does without is a null pointer, and not a template parameter: all threads
// ask the same question and get the same answer, which costs nothing beside a read from memory,
// and there is one kernel to compile and to read where there would be four.
//
// What changes from step to step is an argument, or lies in memory: a step that is replayed is
// launched with the arguments of the first time. `rates` then is the pair of numbers that stands
// for the first arguments, and where *failed is not 0 the step changes nothing.

#include "vectors.cuh"

__device__ __forceinline__ bool held_back(const double* failed) { return failed && *failed != 0; }

template <typename T>
__device__ __forceinline__ T rate_of(const double* rates, const int which, const T given) {
    return rates ? T(rates[which]) : given;
}

template <typename T> struct Few {
    T at[WIDTH<T>];
};

// The numbers that this thread owns, of every array.
template <typename T> struct Owned {
    const int first, count;
    const bool whole;

    __device__ Owned(const int n, const bool vectors)
        : first(flat_index() * WIDTH<T>), count(min(WIDTH<T>, n - first)),
          whole(vectors && count == WIDTH<T>) {}

    // Zeros where there is no array, and past the end.
    __device__ __forceinline__ Few<T> of(const T* a) const {
        Few<T> few;
        if (a && whole) {
            read_vector(a + first, few.at);
        } else {
#pragma unroll
            for (int k = 0; k < WIDTH<T>; ++k) few.at[k] = a && k < count ? a[first + k] : T(0);
        }
        return few;
    }

    __device__ __forceinline__ void store(const Few<T>& few, T* a) const {
        if (!a) return;
        if (whole) {
            write_vector(few.at, a + first);
        } else {
#pragma unroll
            for (int k = 0; k < WIDTH<T>; ++k)
                if (k < count) a[first + k] = few.at[k];
        }
    }
};
