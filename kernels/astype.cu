// astype.cu -- numbers in another type. Python side: minialex/ops/_cuda/astype.py.
//
//   y[i] = x[i]      rounded to the nearest, of two the even one, where y has fewer bits;
//                    of a double, bfloat16 is what its float is rounded to
//
// Layout:  arrays of any one shape, C-contiguous, read as n numbers in a row.
// Launch:  a 1-D grid of 1-D blocks, one thread per four elements.
// Cost:    each number is read once and written once: memory-bound.

constexpr int PER_THREAD = 4;

template <typename To, typename From> struct Conversion {
    static __device__ __forceinline__ To of(const From x) { return To(x); }
};
// By way of float, as NumPy's bfloat16 has it.
template <typename From> struct Conversion<__nv_bfloat16, From> {
    static __device__ __forceinline__ __nv_bfloat16 of(const From x) {
        return __float2bfloat16_rn(float(x));
    }
};

// The idea: a thread's elements lie a block of threads apart, so that lanes read neighbours, whatever
// the alignment of either type, and four loads of a thread are on their way at a time.
// instances: From = float, double, __nv_bfloat16; To = float, double, __nv_bfloat16
template <typename From, typename To>
__global__ void astype(const From* __restrict__ x, To* __restrict__ y, const int n) {
    const int first = blockIdx.x * PER_THREAD * blockDim.x + threadIdx.x;
    From numbers[PER_THREAD];
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k)
        if (first + k * blockDim.x < n) numbers[k] = x[first + k * blockDim.x];
#pragma unroll
    for (int k = 0; k < PER_THREAD; ++k)
        if (first + k * blockDim.x < n) y[first + k * blockDim.x] = Conversion<To, From>::of(numbers[k]);
}
