// cross_entropy.cu -- softmax and cross-entropy in one. Python side: minialex/ops/cross_entropy/.
//
// With l = log_softmax(x[n]), p = softmax(x[n]), t = targets[n], class weights w (1 where there are
// none) and label smoothing e:
//
//   loss[n]  = -(1 - e) w[t] l[t] - e/C sum over c of w[c] l[c]
//   gx[n, c] = r ((1 - e) w[t] (p[c] - [c is t]) + e/C (p[c] sum over k of w[k] - w[c]))
//   mean     = sum over n of loss[n] / sum over n of w[t]              r = gy / that sum
//
// Where targets are probabilities q[n], and s[c] = w[c] ((1 - e) q[c] + e/C):
//
//   loss[n]  = -sum over c of s[c] l[c]
//   gx[n, c] = r (p[c] sum over k of s[k] - s[c])
//   mean     = sum over n of loss[n] / N                               r = gy / N
//
// A row whose target is `ignore` has loss, weight and gradient 0, whatever is in it. A target that
// is no class makes its row's loss, weight and gradient NaN: nothing is read out of bounds, and the
// error does not go unnoticed. The kernels take `confidence` = 1 - e and `class_smoothing` = e / C.
//
// Layout:  x, p, gx, q (N, C), targets, loss, weight (N,), w (C,) or null, C-contiguous; results that are
//          one number, and gy where there is one, have no axes.
// Launch:  forward, backward: a 1-D grid of 1-D blocks of 256 threads, 256 / THREADS_PER_ROW rows per
//          block (softmax.cuh). total: one block of 256 threads.
// Cost:    two exponentials per element; forward reads x twice, mostly from the cache the second
//          time, and writes p; backward reads p and writes gx: 2 numbers moved per element each.
#include "softmax.cuh"

// What a row's target says: whether the row counts, and how much.
template <typename T> struct Target {
    int c;
    bool counts, valid;
    T weight;

    __device__ __forceinline__ Target(const long long t, const T* __restrict__ w, const int C,
                                      const long long ignore)
        : c(int(t)), counts(t != ignore), valid(t >= 0 && t < C) {
        // inf - inf is not a number
        const T wrong = infinity<T>() - infinity<T>();
        weight = !counts ? T(0) : !valid ? wrong : w ? w[c] : T(1);
    }
};

// The second pass over a row, of whose first `stats` and `log_sum` are: writes p, and returns the sum
// over c of -s(c) l[c], in each thread of the row. The loss comes from l: the logarithm of p would be
// -inf where p underflowed to 0.
template <int THREADS_PER_ROW, typename T, typename A, typename Share>
__device__ __forceinline__ A softmax_and_loss(const T* __restrict__ x, T* __restrict__ p,
                                              const Row<THREADS_PER_ROW>& row,
                                              const OnlineSoftmax<A>& stats, const A log_sum,
                                              const Share& s) {
    const A scale = A(1) / stats.sum;
    A loss = 0;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW) {
        const A below = A(x[row.offset(c)]) - stats.largest, share = s(c);
        p[row.offset(c)] = exp(below) * scale;
        // 0 times an l of -inf would be NaN
        if (share != A(0)) loss -= share * (below - log_sum);
    }
    return row_sum<THREADS_PER_ROW>(loss);
}

// The idea: two passes over a row, as for softmax; p is all that backward needs. What smoothing adds
// is a sum over the row, and the target's own term one thread's.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) cross_entropy_forward(
    const T* __restrict__ x, const long long* __restrict__ targets, const T* __restrict__ w,
    T* __restrict__ p, T* __restrict__ loss, T* __restrict__ weight, const int N, const int C,
    const T confidence, const T class_smoothing, const long long ignore) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(N, C, 1);
    const auto stats = online_softmax(x, row);
    const A log_sum = log(stats.sum);
    A sum = softmax_and_loss(x, p, row, stats, log_sum, [&](const int c) {
        return A(class_smoothing) * A(w ? w[c] : T(1));
    });
    if (row.C == 0 || row.thread_rank() != 0) return;

    const Target<T> target(targets[row.index], w, C, ignore);
    const A share = A(confidence) * A(target.weight);
    if (share != A(0)) {
        const A l = target.valid ? A(x[row.offset(target.c)]) - stats.largest - log_sum : A(0);
        sum -= share * l;
    }
    loss[row.index] = target.counts ? sum : A(0);
    weight[row.index] = target.weight;
}

// s[c] of a target that is a probability: what the logarithm l[c] is multiplied by.
template <typename T>
__device__ __forceinline__ typename Accumulator<T>::type soft_target(
    const T q, const T* __restrict__ w, const int c, const T confidence, const T class_smoothing) {
    using A = typename Accumulator<T>::type;
    return (A(confidence) * A(q) + A(class_smoothing)) * A(w ? w[c] : T(1));
}

// The idea: as above, but every class has a share in the loss, so the sum over the row is all there
// is. Each row weighs 1 in the mean.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 3) cross_entropy_forward_soft(
    const T* __restrict__ x, const T* __restrict__ q, const T* __restrict__ w, T* __restrict__ p,
    T* __restrict__ loss, T* __restrict__ weight, const int N, const int C, const T confidence,
    const T class_smoothing) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(N, C, 1);
    const auto stats = online_softmax(x, row);
    const A sum = softmax_and_loss(x, p, row, stats, log(stats.sum), [&](const int c) {
        return soft_target(q[row.offset(c)], w, c, confidence, class_smoothing);
    });
    if (row.C == 0 || row.thread_rank() != 0) return;
    loss[row.index] = sum;
    weight[row.index] = T(1);
}

// The idea: one block reduces all rows, so the order is always the same; with one atomic per row it
// would be that in which rows finish. The divisor goes to memory as well, for backward: no
// synchronisation with the host.
template <typename T>
__global__ void __launch_bounds__(256) cross_entropy_total(
    const T* __restrict__ loss, const T* __restrict__ weight, T* __restrict__ total,
    T* __restrict__ scale, const int N, const bool mean) {
    using A = typename Accumulator<T>::type;
    A losses = 0, weights = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) losses += loss[n], weights += weight[n];
    losses = block_sum(losses), weights = block_sum(weights);
    if (threadIdx.x != 0) return;
    // Where no row counts, the loss is 0 and not 0 / 0.
    const A factor = mean && weights != A(0) ? A(1) / weights : A(1);
    *total = losses * factor;
    *scale = factor;
}

// What the gradients of a row's logits are multiplied by. gy_per_row: whether gy has one number per
// row.
template <typename T>
__device__ __forceinline__ typename Accumulator<T>::type row_gradient(
    const T* __restrict__ gy, const T* __restrict__ scale, const int n, const bool gy_per_row) {
    using A = typename Accumulator<T>::type;
    return A(gy[gy_per_row ? n : 0]) * A(*scale);
}

// The idea: p - onehot, and all that is constant within a row is put into two factors.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) cross_entropy_backward(
    const T* __restrict__ gy, const T* __restrict__ p, const long long* __restrict__ targets,
    const T* __restrict__ w, const T* __restrict__ scale, T* __restrict__ gx, const int N,
    const int C, const T confidence, const T class_smoothing, const long long ignore,
    const bool gy_per_row) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(N, C, 1);
    A weights = C;
    if (w) {
        weights = 0;
        for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW) weights += w[c];
        weights = row_sum<THREADS_PER_ROW>(weights);
    }
    if (row.C == 0) return;
    const Target<T> target(targets[row.index], w, C, ignore);
    const A r = row_gradient(gy, scale, row.index, gy_per_row);
    const A target_scale = A(confidence) * A(target.weight) * r;
    const A class_scale = A(class_smoothing) * r;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW) {
        const A q = p[row.offset(c)];
        const A g = target_scale * (q - A(c == target.c)) +
                    class_scale * (q * weights - A(w ? w[c] : T(1)));
        gx[row.offset(c)] = target.counts ? g : A(0);
    }
}

// The idea: one pass for the sum of s, which is 1 where there are no weights and probabilities sum to
// 1, and one for the gradient.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) cross_entropy_backward_soft(
    const T* __restrict__ gy, const T* __restrict__ p, const T* __restrict__ q,
    const T* __restrict__ w, const T* __restrict__ scale, T* __restrict__ gx, const int N,
    const int C, const T confidence, const T class_smoothing, const bool gy_per_row) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(N, C, 1);
    A total = 0;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW)
        total += soft_target(q[row.offset(c)], w, c, confidence, class_smoothing);
    total = row_sum<THREADS_PER_ROW>(total);
    if (row.C == 0) return;
    const A r = row_gradient(gy, scale, row.index, gy_per_row);
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW) {
        const A s = soft_target(q[row.offset(c)], w, c, confidence, class_smoothing);
        gx[row.offset(c)] = r * (A(p[row.offset(c)]) * total - s);
    }
}
