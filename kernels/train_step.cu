// train_step.cu -- the counters of a training step, in the GPU's memory, so that it needs nothing
// from the host and can be replayed as a CUDA graph. Python side: minialex/train/step_state.py.
//
//   tally     totals[0] <- totals[0] + N loss
//             totals[1] <- totals[1] + |{n: the largest of x[n] is x[n, targets[n]]}|
//             failed    <- 1 where the loss is not finite
//   advance   counts    <- counts + (1, streams)          unless failed
//             rates     <- table[counts[0] mod R]
//
// Among equals the first is the largest; a NaN is larger than everything, and the first of several.
//
// Layout:  x (N, C) of T, targets (N,), loss a scalar; totals (2,), failed (1,), counts (2,),
//          rates (M,) and table (R, M) of double, in which whole numbers are exact up to 2^53:
//          M = 2 groups of the optimizer's parameters.
// Launch:  tally: one block of whole warps. advance: one thread.
// Cost:    tally reads the logits once, in one block: about 10 us for 256 x 1000 floats on an H100
//          (arithmetic, not measured), a fraction of what 256 images take.

// Whether `a` is larger than `b` as argmax has it.
template <typename T> __device__ __forceinline__ bool larger(const T a, const T b) {
    return a > b || (a != a && b == b);
}

// The idea: one warp per row, whose lanes read side by side. Each lane keeps the maximum of its own
// logits and its index; then a butterfly reduction as in warp_sum.
template <typename T>
__global__ void __launch_bounds__(1024) tally(
    const T* __restrict__ x, const long long* __restrict__ targets, const T* __restrict__ loss,
    double* __restrict__ totals, double* __restrict__ failed, const int N, const int C) {
    const int lane = threadIdx.x % WARP_SIZE;
    int correct = 0;
    for (int n = threadIdx.x / WARP_SIZE; n < N; n += blockDim.x / WARP_SIZE) {
        T best = 0;
        int at = C;
        for (int c = lane; c < C; c += WARP_SIZE) {
            const T here = x[n * C + c];
            if (at == C || larger(here, best)) best = here, at = c;
        }
#pragma unroll
        for (int step = WARP_SIZE / 2; step > 0; step /= 2) {
            const T other = __shfl_xor_sync(FULL_MASK, best, step);
            const int there = __shfl_xor_sync(FULL_MASK, at, step);
            // A lane past the last logit has none: its index is C.
            const bool first = !larger(best, other) && there < at;
            if (there < C && (at == C || larger(other, best) || first)) best = other, at = there;
        }
        if (lane == 0) correct += at == targets[n];
    }
    correct = block_sum(correct);
    if (threadIdx.x != 0) return;
    totals[0] += double(*loss) * N;
    totals[1] += correct;
    // inf - inf is not a number, and no NaN equals another
    if (*loss - *loss != T(0)) *failed = 1;
}

// The idea: the learning rate is a function of the step, and the host computes the next thousand of
// them. It writes them into a table, one row per step, so that every schedule has the same bits here.
__global__ void advance(double* __restrict__ counts, double* __restrict__ rates,
                        const double* __restrict__ failed, const double* __restrict__ table,
                        const int streams, const int R, const int M) {
    if (threadIdx.x != 0 || *failed != 0) return;
    counts[0] += 1;
    counts[1] += streams;
    const int row = (long long)counts[0] % R;
    for (int i = 0; i < M; ++i) rates[i] = table[row * M + i];
}
