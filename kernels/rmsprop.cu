// rmsprop.cu -- a step of RMSprop. Python side: minialex/optim/rmsprop.py.
//
//   g <- g + weight_decay p
//   v <- alpha v + (1 - alpha) g^2
//   m <- alpha m + (1 - alpha) g                     where centered: m is there
//   d <- sqrt(v) + eps, or sqrt(v - m^2) + eps       v - m^2 taken as 0 where rounding leaves less
//   b <- momentum b + g / d                          where there is momentum: b is there
//   p <- p - lr b, or p - lr g / d
//
// Layout:  p, g, the state and shadow, which is bfloat16: n numbers in a row (arena.cuh).
// Launch:  a 1-D grid of 1-D blocks, one thread per 16-byte vector (arena.cuh).
//          1 - alpha is computed in double on the host.
// Cost:    up to 17 operations per parameter; with momentum 28 bytes of float (p, g, v, b in,
//          p, v, b out), the minimum: array operations one after the other move two to four times
//          as many.

#include "arena.cuh"

// The idea: everything that is known of a parameter is in one thread's registers at once.
template <typename T>
__global__ void rmsprop(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ v,
                        T* __restrict__ m, T* __restrict__ b, __nv_bfloat16* __restrict__ shadow,
                        const double* __restrict__ rates, const double* __restrict__ failed,
                        const T lr, const T alpha, const T one_minus_alpha, const T eps,
                        const T weight_decay, const T momentum, const int n,
                        const bool vector_aligned) {
    const ThreadSlice<T> slice(n, vector_aligned);
    if (slice.count <= 0 || skips_step(failed)) return;
    const T rate = step_rate(rates, 0, lr);
    const Pack<T> gs = slice.load(g);
    Pack<T> ps = slice.load(p), vs = slice.load(v), ms = slice.load(m), bs = slice.load(b);
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) {
        const T grad = gs[k] + weight_decay * ps[k];
        vs[k] = alpha * vs[k] + one_minus_alpha * grad * grad;
        ms[k] = alpha * ms[k] + one_minus_alpha * grad;
        const T variance = m ? vs[k] - ms[k] * ms[k] : vs[k];
        // Not max(), which would turn a NaN into 0 and hide it.
        const T step = grad / (sqrt(variance < T(0) ? T(0) : variance) + eps);
        bs[k] = b ? momentum * bs[k] + step : step;
        ps[k] -= rate * bs[k];
    }
    slice.store(ps, p), slice.store(vs, v), slice.store(ms, m), slice.store(bs, b);
    store_shadow(slice, ps, shadow);
}
