// conv2d_bias_gradient.cuh -- the sums of gy over images and pixels, one for each channel o:
//
//   gb[o] = sum over n, i, j of gy[n, o, i, j]
//
// Included by conv2d.cu, where it is a launch of its own, and conv2d_implicit_gemm.cuh, where it
// is fused into the weight gradient's launch. The same number of threads gives the same bits in both.
//
// The idea: one block per channel and part of the batch (`images` images), in a block-stride loop over
// that channel's pixels. The block of a channel that finishes last adds up the partial sums, in order
// (split_sum.cuh).
//
// The stride of blockDim.x pixels is `whole_images` images and `pixels` more, so that no step needs a
// division; several loads are in flight at a time.
//   P = 100, 256 threads: from pixel 70 of image 0 to pixel 26 of image 3 (2 images, 56 pixels, and
//   70 + 56 = 126 is 26 in the image after).
#include "split_sum.cuh"

template <typename T> struct BiasGradient {
    T* gb;
    T* partials;           // (parts, O); null where there is one
    unsigned* arrived;  // (O,)
    int images;

    // The work of block number `block` of O * parts or more. gy is (N, O, P), of T or of a type whose
    // numbers are numbers of T.
    template <typename In>
    __device__ __forceinline__ void reduce(const In* gy, const int N, const int O, const int P,
                                           const int block) const {
        const int count = max(1, (N + images - 1) / images), o = block % O, part = block / O;
        if (part >= count) return;
        const Range own{part * images, min(N, (part + 1) * images)};
        const T sum = block_sum(thread_sum(gy, O, P, o, own));
        if (count == 1) {
            if (threadIdx.x == 0) gb[o] = sum;
            return;
        }
        if (threadIdx.x == 0) partials[part * O + o] = sum;
        if (last_to_arrive(arrived + o, count) && threadIdx.x == 0)
            gb[o] = sum_of_partials(partials + o, count, O);
    }

  private:
    // The sum of this thread's pixels of some images.
    template <typename In>
    static __device__ __forceinline__ T thread_sum(const In* gy, const int O, const int P,
                                                   const int o, const Range own) {
        constexpr int LOADS_IN_FLIGHT = 8;
        const int whole_images = blockDim.x / P, pixels = blockDim.x % P;
        typename Accumulator<T>::type sum = 0;
        int n = own.first + threadIdx.x / P, p = threadIdx.x % P;
        while (n < own.end) {
            In loaded[LOADS_IN_FLIGHT];
#pragma unroll
            for (int i = 0; i < LOADS_IN_FLIGHT; ++i) {
                loaded[i] = n < own.end ? gy[(n * O + o) * P + p] : In{};
                n += whole_images, p += pixels;
                if (p >= P) p -= P, ++n;
            }
#pragma unroll
            for (int i = 0; i < LOADS_IN_FLIGHT; ++i) sum += T(loaded[i]);
        }
        return sum;
    }
};
