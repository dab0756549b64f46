// sgd.cu -- a step of stochastic gradient descent. Python side: minialex/optim/sgd.py.
//
//   g <- g + weight_decay p
//   b <- momentum b + g                              where there is momentum: b is there
//   p <- p - lr b, or p - lr g
//
// Layout:  p, g, the state and shadow, which is bfloat16: n numbers in a row (arena.cuh).
// Launch:  a 1-D grid of 1-D blocks, one thread per 16-byte vector (arena.cuh).
// Cost:    up to 6 operations per parameter; with momentum 20 bytes of float.

#include "arena.cuh"

// The idea: everything that is known of a parameter is in one thread's registers at once.
template <typename T>
__global__ void sgd(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ b,
                    __nv_bfloat16* __restrict__ shadow, const double* __restrict__ rates,
                    const double* __restrict__ failed, const T lr, const T weight_decay,
                    const T momentum, const int n, const bool vector_aligned) {
    const ThreadSlice<T> slice(n, vector_aligned);
    if (slice.count <= 0 || skips_step(failed)) return;
    const T rate = step_rate(rates, 0, lr);
    const Pack<T> gs = slice.load(g);
    Pack<T> ps = slice.load(p), bs = slice.load(b);
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) {
        const T grad = gs[k] + weight_decay * ps[k];
        bs[k] = b ? momentum * bs[k] + grad : grad;
        ps[k] -= rate * bs[k];
    }
    slice.store(ps, p), slice.store(bs, b);
    store_shadow(slice, ps, shadow);
}
