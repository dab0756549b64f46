// split_sum.cuh -- a sum of which several blocks have each computed a part (split-K), added up by
// the block that finishes last. Included by panel_product.cuh, conv2d_bias_gradient.cuh and
// linear.cuh.
//
// The idea: every block writes its partial sum to a workspace and increments a counter. The one
// that finds all others counted adds up the partial sums, its own too, in the order of the parts and
// not in that of arrival: the same bits in every run. No block waits for another, so they may run in
// any order and any number at a time. (CUTLASS calls this the fix-up of a split-K product, CUDA's
// samples threadFenceReduction.)
//
// It saves the launch of sum_partials.cu, but one block reads all partial sums of its tile alone:
// right for a few parts, wrong for many. ops/_cuda/tiling.py decides.

// Whether this block is the last of `count` to arrive here. If so it sees all that the others, every
// thread of theirs, wrote before they arrived, provided it bypasses the L1 cache (__ldcg): L1 is not
// coherent. *arrived must be 0 before the first of them arrives, and is again after the last: a
// launch leaves the counter as it found it, so it is set to 0 only once.
__device__ __forceinline__ bool last_to_arrive(unsigned* arrived, const unsigned count) {
    __shared__ bool last;
    // All threads of the block have written before one of them counts it.
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicInc(arrived, count - 1) == count - 1;
        __threadfence();
    }
    // `last` is known, and what the fence publishes may be read, before any thread goes on.
    __syncthreads();
    return last;
}

// The sum of part[0], part[stride], ... part[(count - 1) stride].
template <typename T>
__device__ __forceinline__ T sum_of_partials(const T* part, const int count, const int stride) {
    typename Accumulator<T>::type sum = 0;
    for (int s = 0; s < count; ++s) sum += __ldcg(part + size_t(s) * stride);
    return sum;
}
