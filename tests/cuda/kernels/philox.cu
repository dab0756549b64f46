// philox.cu -- the generator of kernels/philox.cuh alone, so that its words can be compared.
#include "common.cuh"
#include "philox.cuh"

__device__ void write_words(const uint4 words, unsigned* __restrict__ out) {
    out[0] = words.x, out[1] = words.y, out[2] = words.z, out[3] = words.w;
}

// counters (n, 4), keys (n, 2) -> words (n, 4)
__global__ void answers(const unsigned* __restrict__ counters, const unsigned* __restrict__ keys,
                        unsigned* __restrict__ words, const int n) {
    const int i = flat_index();
    if (i >= n) return;
    const unsigned *c = counters + 4 * i, *k = keys + 2 * i;
    write_words(philox4x32(make_uint4(c[0], c[1], c[2], c[3]), make_uint2(k[0], k[1])), words + 4 * i);
}

// Blocks first ... first + n - 1 of a stream -> words (n, 4)
__global__ void stream(unsigned* __restrict__ words, const int n, const unsigned long long first,
                       const unsigned long long seed, const unsigned long long offset) {
    const int i = flat_index();
    if (i < n) write_words(philox_words(first + i, seed, offset), words + 4 * i);
}
