// softmax.cuh -- rows and their sums of exponentials: what softmax.cu, log_softmax.cu and
// cross_entropy.cu share.
//
// A row is the C numbers along one axis of an array of shape (outer, C, inner): `inner` apart in
// memory, so contiguous where it is the last axis and inner is 1. Each row is reduced by
// THREADS_PER_ROW threads:
//
//   1     one thread per row: for very short rows, and for inner > 1, where neighbouring rows are
//         neighbours in memory, so that the lanes of a warp read side by side
//   32    one warp per row: its lanes read side by side along the row and reduce by shuffles
//   256   one block per row: the same, and its warps combine their sums in shared memory
//
// Blocks have 256 threads in each case. Kernels ask for four of them per multiprocessor, 64 registers
// per thread, in which exp of a double does not spill.
constexpr int BLOCK_THREADS = 256;

// The row of a thread. Past the last row it has no elements (C is 0), and its threads go on: all
// threads have to take part in barriers and shuffles.
template <int THREADS_PER_ROW> struct Row {
    int index, C, start, inner;

    __device__ __forceinline__ Row(const int rows, const int length, const int inner)
        : index(blockIdx.x * (BLOCK_THREADS / THREADS_PER_ROW) + threadIdx.x / THREADS_PER_ROW),
          C(index < rows ? length : 0), inner(inner) {
        // (outer, length, inner), of which the row is (index / inner, :, index % inner)
        start = C ? index / inner * length * inner + index % inner : 0;
    }
    // Where element c of the row lies.
    __device__ __forceinline__ int offset(const int c) const { return start + c * inner; }
    // The thread's rank among those of its row; it takes c = rank, rank + THREADS_PER_ROW, ...
    static __device__ __forceinline__ int thread_rank() { return threadIdx.x % THREADS_PER_ROW; }
};

// The maximum over a block of whole warps, in every thread: as block_sum.
template <typename T>
__device__ __forceinline__ T block_max(T value) {
    __shared__ T partials[WARP_SIZE];
    value = warp_max(value);
    // A second call in one kernel must not overwrite values that a slow warp still reads.
    __syncthreads();
    if (threadIdx.x % WARP_SIZE == 0) partials[threadIdx.x / WARP_SIZE] = value;
    // Every warp's maximum is written before any thread reads them.
    __syncthreads();
    for (int w = 0; w < int(blockDim.x) / WARP_SIZE; ++w)
        value = partials[w] > value ? partials[w] : value;
    return value;
}

template <int THREADS_PER_ROW, typename T> __device__ __forceinline__ T row_max(const T value) {
    if constexpr (THREADS_PER_ROW == 1) return value;
    else if constexpr (THREADS_PER_ROW == WARP_SIZE) return warp_max(value);
    else return block_max(value);
}
template <int THREADS_PER_ROW, typename T> __device__ __forceinline__ T row_sum(const T value) {
    if constexpr (THREADS_PER_ROW == 1) return value;
    else if constexpr (THREADS_PER_ROW == WARP_SIZE) return warp_sum(value);
    else return block_sum(value);
}

// The maximum of a row and the sum of exp(x - maximum), in one pass over it.
//
// The idea ("online softmax", Milakov and Gimelshein 2018): sum against the maximum so far. When a
// larger one comes, the sum so far is too large by exp(larger - largest), so it is rescaled. No
// exponent is ever above 0: nothing overflows.
//
//   x = 1, 3, 2:   largest 1, sum 1;   largest 3, sum 1 e^-2 + 1;   largest 3, sum e^-2 + 1 + e^-1
template <typename A> struct OnlineSoftmax {
    A largest = -infinity<A>(), sum = 0;

    __device__ __forceinline__ void update(const A x) {
        if (x > largest) {
            sum = sum * exp(largest - x) + A(1);
            largest = x;
        } else {
            // Equal numbers give exp(0), but -inf - -inf is NaN: a row may begin with -inf. For a NaN no
            // comparison is true, and it goes into the sum.
            sum += x == largest ? A(1) : exp(x - largest);
        }
    }

    // Merges the states of a row's threads; each of them gets the result.
    template <int THREADS_PER_ROW> __device__ __forceinline__ void merge() {
        const A own = largest;
        largest = row_max<THREADS_PER_ROW>(own);
        // Where the maximum is infinite, this is exp(inf - inf), NaN, and so is every sum: the softmax
        // is undefined there.
        sum = row_sum<THREADS_PER_ROW>(sum * exp(own - largest));
    }
};

// The Exponentials of a row, in each of its threads.
template <int THREADS_PER_ROW, typename T>
__device__ __forceinline__ OnlineSoftmax<typename Accumulator<T>::type> online_softmax(
    const T* __restrict__ x, const Row<THREADS_PER_ROW>& row) {
    OnlineSoftmax<typename Accumulator<T>::type> state;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW) state.update(x[row.offset(c)]);
    state.template merge<THREADS_PER_ROW>();
    return state;
}
