// sum_parts.cu -- puts together a result that several blocks have each computed a part of.
// Python side: minialex/ops/_cuda/tiling.py; used by conv2d and linear where the parts are many: a few
// are added up in the launch that computes them (split_sum.cuh).
//
//   out[i] = (add ? out[i] : 0) + parts[0, i] + parts[1, i] + ... + b[i / inner % channels]
//
// Layout:  parts (S, count), out (count,), b (channels,) or null.
// Launch:  a 1-D grid of 1-D blocks, one thread a number of the result.
// Cost:    S additions a number; S + 1 numbers moved, bound by memory.

// The idea: a long sum is cut into parts so that enough blocks have work. Letting each block add
// its part to the result with an atomic would be shorter, but blocks finish in another order
// each time, and sums in another order are rounded differently. Here the order is that of the
// parts, always.
template <typename T>
__global__ void sum_parts(const T* __restrict__ parts, const T* __restrict__ b, T* __restrict__ out,
                          const int S, const int count, const int inner, const int channels,
                          const bool add) {
    const int i = flat_index();
    if (i >= count) return;
    typename Accumulator<T>::type sum = add ? out[i] : T(0);
    for (int s = 0; s < S; ++s) sum += parts[size_t(s) * count + i];
    out[i] = b ? sum + b[i / inner % channels] : sum;
}
