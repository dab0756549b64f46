// rmsprop.cu -- a step of RMSprop. Python side: minialex/optim/rmsprop.py.
//
//   g <- g + weight_decay p
//   v <- alpha v + (1 - alpha) g^2
//   m <- alpha m + (1 - alpha) g                     where centered: m is there
//   d <- sqrt(v) + eps, or sqrt(v - m^2) + eps       v - m^2 taken as 0 where rounding leaves less
//   b <- momentum b + g / d                          where there is momentum: b is there
//   p <- p - lr b, or p - lr g / d
//
// Layout:  p, g and the state: n numbers in a row (arena.cuh).
// Launch:  a 1-D grid of 1-D blocks, one thread a vector of 16 bytes (arena.cuh).
//          `fresh` is 1 - alpha, which the host computes in double.
// Cost:    up to 17 operations a parameter; with momentum 28 bytes of float (p, g, v, b in,
//          p, v, b out), as few as can be: an array operation at a time moves two to four times
//          as many.

#include "arena.cuh"

// The idea: everything that is known of a parameter is in one thread's registers at once.
template <typename T>
__global__ void rmsprop(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ v,
                        T* __restrict__ m, T* __restrict__ b, const double* __restrict__ rates,
                        const double* __restrict__ failed, const T lr, const T alpha,
                        const T fresh, const T eps, const T weight_decay, const T momentum,
                        const int n, const bool vectors) {
    const Owned<T> owned(n, vectors);
    if (owned.count <= 0 || held_back(failed)) return;
    const T rate = rate_of(rates, 0, lr);
    const Few<T> gs = owned.of(g);
    Few<T> ps = owned.of(p), vs = owned.of(v), ms = owned.of(m), bs = owned.of(b);
#pragma unroll
    for (int k = 0; k < WIDTH<T>; ++k) {
        const T slope = gs.at[k] + weight_decay * ps.at[k];
        vs.at[k] = alpha * vs.at[k] + fresh * slope * slope;
        ms.at[k] = alpha * ms.at[k] + fresh * slope;
        const T square = m ? vs.at[k] - ms.at[k] * ms.at[k] : vs.at[k];
        // Not max(), which would turn a NaN into 0 and hide it.
        const T step = slope / (sqrt(square < T(0) ? T(0) : square) + eps);
        bs.at[k] = b ? momentum * bs.at[k] + step : step;
        ps.at[k] -= rate * bs.at[k];
    }
    owned.store(ps, p), owned.store(vs, v), owned.store(ms, m), owned.store(bs, b);
}
