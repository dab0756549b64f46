// softmax.cuh -- rows and their sums of exponentials: what softmax.cu, log_softmax.cu and
// cross_entropy.cu share.
//
// A row is the C numbers along one axis of an array that is read as (outer, C, inner): `inner`
// apart in memory, so that for the last axis, where inner is 1, they are neighbours. Each row belongs to
// a team of TEAM threads:
//
//   TEAM = 1     a thread a row: for very short rows, and for inner > 1, where it is rows that are
//                neighbours, so that the lanes of a warp read side by side
//   TEAM = 32    a warp a row: its lanes read side by side along the row and sum up by shuffles
//   TEAM = 256   a block a row: the same, and its warps put their sums together in shared memory
//
// Blocks have 256 threads, whatever the team. Kernels ask for room for four of them on a
// multiprocessor, 64 registers a thread, in which exp of a double does not spill.
constexpr int TEAM_BLOCK = 256;

// The row of the thread's team. The last block may have teams without one: as a row of no numbers
// it keeps them in step, since a barrier or a shuffle wants everybody.
template <int TEAM> struct Row {
    int number, C, start, inner;

    __device__ __forceinline__ Row(const int rows, const int length, const int inner)
        : number(blockIdx.x * (TEAM_BLOCK / TEAM) + threadIdx.x / TEAM),
          C(number < rows ? length : 0), inner(inner) {
        // (outer, length, inner), of which the row has (number / inner, :, number % inner)
        start = C ? number / inner * length * inner + number % inner : 0;
    }
    // Where number c of the row lies.
    __device__ __forceinline__ int at(const int c) const { return start + c * inner; }
    // Which of the team this thread is; it takes the numbers c = member, member + TEAM, ...
    static __device__ __forceinline__ int member() { return threadIdx.x % TEAM; }
};

// The largest value of a block of whole warps, in every thread: block_sum's twin.
template <typename T>
__device__ __forceinline__ T block_max(T value) {
    __shared__ T part[WARP];
    value = warp_max(value);
    // A second call in one kernel must not overwrite parts that a slow warp still reads.
    __syncthreads();
    if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = value;
    // Every warp's part is there before any thread looks through them.
    __syncthreads();
    for (int w = 0; w < int(blockDim.x) / WARP; ++w) value = part[w] > value ? part[w] : value;
    return value;
}

template <int TEAM, typename T> __device__ __forceinline__ T team_max(const T value) {
    if constexpr (TEAM == 1) return value;
    else if constexpr (TEAM == WARP) return warp_max(value);
    else return block_max(value);
}
template <int TEAM, typename T> __device__ __forceinline__ T team_sum(const T value) {
    if constexpr (TEAM == 1) return value;
    else if constexpr (TEAM == WARP) return warp_sum(value);
    else return block_sum(value);
}

// The largest number of a row and the sum of exp(x - largest), in one pass over it.
//
// The idea ("online softmax", Milakov and Gimelshein 2018): sum against the largest number so far.
// When a larger one comes, what was summed up is too large by exp(larger - largest), so it is
// scaled down and the sum goes on. No exponent is ever above 0: nothing overflows.
//
//   x = 1, 3, 2:   largest 1, sum 1;   largest 3, sum 1 e^-2 + 1;   largest 3, sum e^-2 + 1 + e^-1
template <typename A> struct Exponentials {
    A largest = -infinity<A>(), sum = 0;

    __device__ __forceinline__ void take(const A x) {
        if (x > largest) {
            sum = sum * exp(largest - x) + A(1);
            largest = x;
        } else {
            // Equal numbers give exp(0), but -inf - -inf is no number: a row may begin with -inf. For a
            // NaN no comparison is true, and it goes into the sum.
            sum += x == largest ? A(1) : exp(x - largest);
        }
    }

    // Puts together what the threads of a team took, the same in each of them.
    template <int TEAM> __device__ __forceinline__ void gather() {
        const A own = largest;
        largest = team_max<TEAM>(own);
        // Where the largest number is infinite, this is exp(inf - inf), NaN, and so is every sum: no
        // softmax is known there.
        sum = team_sum<TEAM>(sum * exp(own - largest));
    }
};

// The Exponentials of a row, known to its whole team.
template <int TEAM, typename T>
__device__ __forceinline__ Exponentials<typename Accumulator<T>::type> exponentials(
    const T* __restrict__ x, const Row<TEAM>& row) {
    Exponentials<typename Accumulator<T>::type> of;
    for (int c = row.member(); c < row.C; c += TEAM) of.take(x[row.at(c)]);
    of.template gather<TEAM>();
    return of;
}
