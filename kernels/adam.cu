// adam.cu -- a step of Adam. Python side: minialex/optim/adam.py.
//
//   g <- g + weight_decay p
//   m <- b1 m + (1 - b1) g
//   v <- b2 v + (1 - b2) g^2
//   p <- p - rate m / (sqrt(v) / root + eps)         rate = lr / (1 - b1^t), root = sqrt(1 - b2^t)
//
// Layout:  p, g and the state: n numbers in a row (arena.cuh).
// Launch:  a 1-D grid of 1-D blocks, one thread a vector of 16 bytes (arena.cuh).
//          rate and root, and c1 = 1 - b1 and c2 = 1 - b2, are computed by
//          the host in double: in float, 1 - 0.999 has an error in its fifth digit.
// Cost:    15 operations and 28 bytes of float a parameter.

#include "arena.cuh"

// The idea: everything that is known of a parameter is in one thread's registers at once.
template <typename T>
__global__ void adam(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ m,
                     T* __restrict__ v, const double* __restrict__ rates,
                     const double* __restrict__ failed, const T rate, const T root, const T b1,
                     const T c1, const T b2, const T c2, const T eps, const T weight_decay,
                     const int n, const bool vectors) {
    const Owned<T> owned(n, vectors);
    if (owned.count <= 0 || held_back(failed)) return;
    const T step = rate_of(rates, 0, rate), scale = rate_of(rates, 1, root);
    const Few<T> gs = owned.of(g);
    Few<T> ps = owned.of(p), ms = owned.of(m), vs = owned.of(v);
#pragma unroll
    for (int k = 0; k < WIDTH<T>; ++k) {
        const T slope = gs.at[k] + weight_decay * ps.at[k];
        ms.at[k] = b1 * ms.at[k] + c1 * slope;
        vs.at[k] = b2 * vs.at[k] + c2 * slope * slope;
        ps.at[k] -= step * (ms.at[k] / (sqrt(vs.at[k]) / scale + eps));
    }
    owned.store(ps, p), owned.store(ms, m), owned.store(vs, v);
}
