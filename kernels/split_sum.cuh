// split_sum.cuh -- a sum that several blocks have each computed a part of, added up by the one that
// finishes last. Included by panel_product.cuh (split-K products), conv2d_bias_gradient.cuh and
// linear.cuh.
//
// The idea: every block writes its part to a workspace and counts itself in. The one that finds
// that all others were there before it adds up the parts, its own too, in the order of the parts
// and not in that of arrival: the same bits in every run. Nobody waits for anybody, so blocks may
// run in any order and any number at a time. (CUTLASS calls this the fix-up of a split-K product,
// CUDA's samples threadFenceReduction.)
//
// It saves the launch of sum_parts.cu, but one block reads all parts of its tile alone: right for a
// few parts, wrong for many. The host decides, tiling.plan_tiles.

// Whether this block is the last of `count` to come here. If so it sees all that the others, every
// thread of theirs, wrote before they came, provided it reads past the L1 cache (__ldcg): L1 is not
// kept coherent. *arrived must be 0 before the first of them comes, and is again after the last: a
// launch leaves the counter as it found it, so only whoever makes it sets it to 0.
__device__ __forceinline__ bool last_to_arrive(unsigned* arrived, const unsigned count) {
    __shared__ bool last;
    // All threads of the block have written before one of them counts it in.
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicInc(arrived, count - 1) == count - 1;
        __threadfence();
    }
    // The verdict is known, and what it hands over may be read, before anyone goes on.
    __syncthreads();
    return last;
}

// Writes the sum of part[0], part[stride], ... part[(count - 1) stride].
template <typename T>
__device__ __forceinline__ T sum_of_parts(const T* part, const int count, const int stride) {
    typename Accumulator<T>::type sum = 0;
    for (int s = 0; s < count; ++s) sum += __ldcg(part + size_t(s) * stride);
    return sum;
}
