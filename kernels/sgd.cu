// sgd.cu -- a step of stochastic gradient descent. Python side: minialex/optim/sgd.py.
//
//   g <- g + weight_decay p
//   b <- momentum b + g                              where there is momentum: b is there
//   p <- p - lr b, or p - lr g
//
// Layout:  p, g and the state: n numbers in a row (arena.cuh).
// Launch:  a 1-D grid of 1-D blocks, one thread a vector of 16 bytes (arena.cuh).
// Cost:    up to 6 operations a parameter; with momentum 20 bytes of float.

#include "arena.cuh"

// The idea: everything that is known of a parameter is in one thread's registers at once.
template <typename T>
__global__ void sgd(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ b,
                    const double* __restrict__ rates, const double* __restrict__ failed, const T lr,
                    const T weight_decay, const T momentum, const int n, const bool vectors) {
    const Owned<T> owned(n, vectors);
    if (owned.count <= 0 || held_back(failed)) return;
    const T rate = rate_of(rates, 0, lr);
    const Few<T> gs = owned.of(g);
    Few<T> ps = owned.of(p), bs = owned.of(b);
#pragma unroll
    for (int k = 0; k < WIDTH<T>; ++k) {
        const T slope = gs.at[k] + weight_decay * ps.at[k];
        bs.at[k] = b ? momentum * bs.at[k] + slope : slope;
        ps.at[k] -= rate * bs.at[k];
    }
    owned.store(ps, p), owned.store(bs, b);
}
