// sum_partials.cu -- adds up the partial sums of a split-K product. Python side:
// minialex/ops/_cuda/tiling.py; used by conv2d and linear where they are many: a few are added up in
// the launch that computes them (split_sum.cuh).
//
//   out[i] = (add ? out[i] : 0) + partials[0, i] + partials[1, i] + ... + b[i / inner % channels]
//
// Layout:  partials (S, count), out (count,), b (channels,) or null. out may be of bfloat16, of sums of
//          floats, which are rounded as they are stored.
// Launch:  a 1-D grid of 1-D blocks, one thread per number of the result.
// Cost:    S additions per number; S + 1 numbers moved: memory-bound.

// The idea: a long sum is split so that enough blocks have work. Having each block add its part to
// the result with an atomic would be shorter, but blocks finish in another order each time, and sums
// in another order are rounded differently. Here the order is fixed.
// instances: T = float, double; Out = float, double, __nv_bfloat16
template <typename T, typename Out>
__global__ void sum_partials(const T* __restrict__ partials, const T* __restrict__ b,
                             Out* __restrict__ out, const int S, const int count, const int inner,
                             const int channels, const bool add) {
    const int i = flat_index();
    if (i >= count) return;
    typename Accumulator<T>::type sum = add ? T(out[i]) : T(0);
    for (int s = 0; s < S; ++s) sum += partials[size_t(s) * count + i];
    out[i] = Out(b ? sum + b[i / inner % channels] : sum);
}
