// dropout.cu -- dropout: a random fraction of the elements set to 0. Python side:
// minialex/ops/dropout/.
//
//   forward    y[i]  = x[i]  scale where word i >= threshold, else 0
//   backward   gx[i] = gy[i] scale where word i >= threshold, else 0        the same function
//
// Word i is the i-th of the Philox stream (seed, offset), uniform over 0 ... 2^32 - 1, so that
// threshold = p 2^32 drops a fraction p. scale = 1 / (1 - p), rounded to the type computed with.
//
// `drawn`, where it is given, is the number of streams drawn before, and is added to `offset`: in
// memory, because a step that is replayed as a CUDA graph is launched with the same arguments.
//
// Layout:  arrays of any one shape, C-contiguous, read as n numbers in a row.
// Launch:  a 1-D grid of 1-D blocks, one thread per four elements, or per eight of bfloat16.
//          vector_aligned: whether both arrays begin at a multiple of 16 bytes (slices.cuh).
// Cost:    2 numbers moved per element, and some 20 instructions for its word: a GPU has time for
//          more than that while it waits for memory (arithmetic, not measured).
#include "philox.cuh"
#include "slices.cuh"

// The idea: the mask is never stored; backward computes it again. A stored one would be written,
// kept for as long as the activations, and read again, to save arithmetic that is free while the
// kernel is bound by memory. Philox makes four words at a time, so a thread takes four neighbours, and
// eight where those are 16 bytes.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void dropout(const T* __restrict__ x, T* __restrict__ y, const int n,
                        const unsigned long long threshold, const double scale,
                        const unsigned long long seed, const unsigned long long offset,
                        const double* __restrict__ drawn, const bool vector_aligned) {
    using A = typename Accumulator<T>::type;
    constexpr int BLOCKS = VECTOR_WIDTH<T> > 4 ? VECTOR_WIDTH<T> / 4 : 1;
    const ThreadSlice<T, 4 * BLOCKS> slice(n, vector_aligned);
    if (slice.count <= 0) return;

    Pack<T, 4 * BLOCKS> pack = slice.load(x);
    const unsigned long long stream = offset + (drawn ? (unsigned long long)*drawn : 0);
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
        const uint4 words = philox_words(slice.first / 4 + block, seed, stream);
        const unsigned word[4] = {words.x, words.y, words.z, words.w};
        A* four = pack.values + 4 * block;
#pragma unroll
        for (int i = 0; i < 4; ++i) four[i] = word[i] >= threshold ? four[i] * A(scale) : A(0);
    }
    slice.store(pack, y);
}
