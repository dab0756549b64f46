// dropout.cu -- dropout: a random share of the elements set to 0. Python side:
// minialex/ops/dropout/.
//
//   forward    y[i]  = x[i]  scale where word i >= threshold, else 0
//   backward   gx[i] = gy[i] scale where word i >= threshold, else 0        the same function
//
// Word i is the i-th of the Philox stream (seed, offset), evenly spread over 0 ... 2^32 - 1, so that
// threshold = p 2^32 drops a share p. scale = 1 / (1 - p).
//
// Where `drawn` is given it is the number of streams drawn before, in memory because a step that is
// replayed is launched with the same arguments, and `offset` counts on from there.
//
// Layout:  arrays of any one shape, C-contiguous, read as n numbers in a row.
// Launch:  a 1-D grid of 1-D blocks, one thread for four elements. vectors: whether both arrays
//          begin at a multiple of 16 bytes.
// Cost:    2 numbers moved an element, and some 20 instructions for its word: a GPU has time for
//          more than that while the numbers are on their way (arithmetic, not measured).
#include "philox.cuh"
#include "vectors.cuh"

// The idea: the mask is never in memory. A stored one would be written, kept for as long as the
// activations are, and read again, all to save some arithmetic that is free while a kernel waits
// for memory. Philox makes four words at a time, so a thread takes four neighbours.
template <typename T>
__global__ void dropout(const T* __restrict__ x, T* __restrict__ y, const int n,
                        const unsigned long long threshold, const T scale,
                        const unsigned long long seed, const unsigned long long offset,
                        const double* __restrict__ drawn, const bool vectors) {
    const int block = flat_index(), first = 4 * block;
    if (first >= n) return;
    // The last thread may have fewer than four, which are no whole vector.
    const int count = min(4, n - first);
    const bool whole = vectors && count == 4;

    T four[4];
#pragma unroll
    for (int i = 0; i < 4; i += WIDTH<T>)
        if (whole) read_vector(x + first + i, four + i);
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (!whole && i < count) four[i] = x[first + i];

    const unsigned long long stream = offset + (drawn ? (unsigned long long)*drawn : 0);
    const uint4 words = philox_words(block, seed, stream);
    const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) four[i] = word[i] >= threshold ? four[i] * scale : T(0);

#pragma unroll
    for (int i = 0; i < 4; i += WIDTH<T>)
        if (whole) write_vector(four + i, y + first + i);
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (!whole && i < count) y[first + i] = four[i];
}
