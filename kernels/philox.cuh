// philox.cuh -- Philox4x32-10, the counter-based random generator, bit for bit that of
// minialex/philox.py.
//
// A counter-based generator is a function, not a state: four random words are what ten rounds of
//
//   c0, c1, c2, c3 = hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0)
//
// make of a counter (c0 ... c3) under a key (k0, k1), which is increased by (W0, W1) between rounds.
// So every thread makes its own words from its own index: no state is kept or shared, and a
// backward pass makes the same words again.
//
// Cost:    ten rounds of two multiplications, 32 bits by 32 to 64, and four exclusive ors, for four
//          words; no memory.
// Source:  Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
//          section 3.3 and table 2.

// hi and lo are the two halves of a product of 64 bits.
__device__ __forceinline__ uint4 philox4x32(uint4 c, uint2 key) {
    constexpr unsigned M0 = 0xD2511F53, M1 = 0xCD9E8D57, W0 = 0x9E3779B9, W1 = 0xBB67AE85;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned high0 = __umulhi(M0, c.x), low0 = M0 * c.x;
        const unsigned high1 = __umulhi(M1, c.z), low1 = M1 * c.z;
        c = make_uint4(high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0);
        key.x += W0, key.y += W1;
    }
    return c;
}

// Words 4 block to 4 block + 3 of the stream `offset` under `seed`.
__device__ __forceinline__ uint4 philox_words(const unsigned long long block,
                                              const unsigned long long seed,
                                              const unsigned long long offset) {
    return philox4x32(make_uint4(unsigned(block), unsigned(block >> 32), unsigned(offset),
                                 unsigned(offset >> 32)),
                      make_uint2(unsigned(seed), unsigned(seed >> 32)));
}
