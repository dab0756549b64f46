// adam.cu -- a step of Adam. Python side: minialex/optim/adam.py.
//
//   g <- g + weight_decay p
//   m <- beta1 m + (1 - beta1) g
//   v <- beta2 v + (1 - beta2) g^2
//   p <- p - step_size m / (sqrt(v) / correction + eps)
//
// with step_size = lr / (1 - beta1^t) and correction = sqrt(1 - beta2^t), the bias corrections.
//
// Layout:  p, g, the state and shadow, which is bfloat16: n numbers in a row (arena.cuh).
// Launch:  a 1-D grid of 1-D blocks, one thread per 16-byte vector (arena.cuh).
//          step_size, correction, 1 - beta1 and 1 - beta2 are computed in double on the host: in
//          float, 1 - 0.999 has an error in its fifth digit.
// Cost:    15 operations and 28 bytes of float per parameter.

#include "arena.cuh"

// The idea: everything that is known of a parameter is in one thread's registers at once.
template <typename T>
__global__ void adam(T* __restrict__ p, const T* __restrict__ g, T* __restrict__ m,
                     T* __restrict__ v, __nv_bfloat16* __restrict__ shadow,
                     const double* __restrict__ rates, const double* __restrict__ failed,
                     const T step_size, const T correction, const T beta1, const T one_minus_beta1,
                     const T beta2, const T one_minus_beta2, const T eps, const T weight_decay,
                     const int n, const bool vector_aligned) {
    const ThreadSlice<T> slice(n, vector_aligned);
    if (slice.count <= 0 || skips_step(failed)) return;
    const T step = step_rate(rates, 0, step_size), root = step_rate(rates, 1, correction);
    const Pack<T> gs = slice.load(g);
    Pack<T> ps = slice.load(p), ms = slice.load(m), vs = slice.load(v);
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) {
        const T grad = gs[k] + weight_decay * ps[k];
        ms[k] = beta1 * ms[k] + one_minus_beta1 * grad;
        vs[k] = beta2 * vs[k] + one_minus_beta2 * grad * grad;
        ps[k] -= step * (ms[k] / (sqrt(vs[k]) / root + eps));
    }
    slice.store(ps, p), slice.store(ms, m), slice.store(vs, v);
    store_shadow(slice, ps, shadow);
}
