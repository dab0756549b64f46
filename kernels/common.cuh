// common.cuh -- what every kernel file may use. The loader puts this text in front of each source,
// so nothing includes it and an edit here is never missed.
//
// House rules, which the emulator and the compile tests check:
//   - C-contiguous arrays; sizes are int, many of them a struct of ints that is passed by value;
//     arguments in the order of the Python side;
//   - only the _sync warp intrinsics, with masks that name exactly the participating lanes;
//   - inline PTX only inside wrappers that have an emulated twin (mma.cuh, async_copy.cuh);
//   - no CUDA header but cuda_fp16.h and cuda_bf16.h; no float atomics in a default kernel;
//   - integer template parameters state their values:  // instances: TILE = 16, 32
//   - a file that does not compile for every GPU says from which on:  // needs: sm_80

// The type that numbers of type T are computed with, and that sums of them are accumulated in: T, and
// float for bfloat16, a type that numbers are held in. An op rounds its result to it, once.
// By its size, as only what is compiled for bfloat16 includes the header that declares it.
template <typename T, bool is_half_a_float = 2 * sizeof(T) == sizeof(float)> struct Accumulator {
    using type = T;
};
template <typename T> struct Accumulator<T, true> { using type = float; };

// Positive infinity. (NVRTC has neither <limits> nor INFINITY.)
template <typename T> __device__ T infinity();
template <> __device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
template <> __device__ __forceinline__ double infinity() { return infinity<float>(); }

constexpr int WARP_SIZE = 32;
constexpr unsigned FULL_MASK = 0xffffffffu;

// The thread's index in a 1-D launch.
__device__ __forceinline__ int flat_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The index (a, b, c) of element i of a C-contiguous array (A, B, C), as numpy.unravel_index.
struct Index3 {
    int a, b, c;
};
__device__ __forceinline__ Index3 unravel(const int i, const int B, const int C) {
    const int ab = i / C, a = ab / B;
    return {a, ab - a * B, i - ab * C};
}

// The integers from `first` up to, not including, `end`.
struct Range {
    int first, end;

    __device__ __forceinline__ int size() const { return end - first; }
};

// The sum over one whole warp, in every lane: a butterfly reduction, so the order of the additions
// is the same in every run:
//   step 16: lane 0 += lane 16 ...   step 8: lane 0 += lane 8 ...   ... step 1: lane 0 += lane 1.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int step = WARP_SIZE / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(FULL_MASK, value, step);
    return value;
}

template <typename T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
    for (int step = WARP_SIZE / 2; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(FULL_MASK, value, step);
        value = other > value ? other : value;
    }
    return value;
}

// The sum over a 1-D block of whole warps, in every thread.
template <typename T>
__device__ __forceinline__ T block_sum(T value) {
    __shared__ T partials[WARP_SIZE];
    const int lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    const int warps = blockDim.x / WARP_SIZE;
    value = warp_sum(value);
    // A second call in one kernel must not overwrite partial sums that a slow warp still reads.
    __syncthreads();
    if (lane == 0) partials[warp] = value;
    // Every warp's partial sum is written before any thread adds them up.
    __syncthreads();
    T total = 0;
    for (int w = 0; w < warps; ++w) total += partials[w];
    return total;
}
