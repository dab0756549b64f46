// common.cuh -- what every kernel file may use. The loader pastes this text in front of each
// source, so nothing includes it and an edit here is never missed.
//
// House rules, which the emulator and the compile tests hold every kernel to:
//   - C-contiguous arrays; sizes are int, many of them a struct of ints that is passed by value;
//     arguments in the order of the Python side;
//   - only the _sync warp intrinsics, with masks that name exactly the lanes that take part;
//   - assembly only inside wrappers that have an emulated twin (mma.cuh);
//   - no CUDA header but cuda_fp16.h and cuda_bf16.h; no float atomics in a default kernel;
//   - integer template parameters state their values:  // instances: TILE = 16, 32
//   - a file that does not compile for every GPU says from which on:  // needs: sm_80

// The type that sums of T are kept in: at least as wide as T.
template <typename T> struct Accumulator { using type = T; };

// What no number is larger than. (NVRTC has neither <limits> nor INFINITY.)
template <typename T> __device__ T infinity();
template <> __device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
template <> __device__ __forceinline__ double infinity() { return infinity<float>(); }

constexpr int WARP = 32;
constexpr unsigned FULL_WARP = 0xffffffffu;

// Which element of a flat array this thread owns, in a 1-D launch.
__device__ __forceinline__ int flat_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The numbers of one line of an array cut into (a, B, C): which (a, b, c) is number i?
struct Triple {
    int a, b, c;
};
__device__ __forceinline__ Triple split(const int i, const int B, const int C) {
    const int ab = i / C, a = ab / B;
    return {a, ab - a * B, i - ab * C};
}

// The numbers from `first` up to, not including, `end`.
struct Range {
    int first, end;

    __device__ __forceinline__ int size() const { return end - first; }
};

// The sum over one whole warp, in every lane. Each step folds the half that is `step` lanes away
// onto its mirror, so the order of the additions is the same in every run:
//   step 16: lane 0 += lane 16 ...   step 8: lane 0 += lane 8 ...   ... step 1: lane 0 += lane 1.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(FULL_WARP, value, step);
    return value;
}

template <typename T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(FULL_WARP, value, step);
        value = other > value ? other : value;
    }
    return value;
}

// The sum over a 1-D block of whole warps, in every thread.
template <typename T>
__device__ __forceinline__ T block_sum(T value) {
    __shared__ T part[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_sum(value);
    // A second call in one kernel must not overwrite parts that a slow warp still reads.
    __syncthreads();
    if (lane == 0) part[warp] = value;
    // Every warp's part is there before any thread adds them up.
    __syncthreads();
    T total = 0;
    for (int w = 0; w < warps; ++w) total += part[w];
    return total;
}
