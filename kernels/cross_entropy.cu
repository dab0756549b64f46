// cross_entropy.cu -- softmax and cross-entropy in one. Python side: minialex/ops/cross_entropy/.
//
// With l = log_softmax(x[n]), p = softmax(x[n]), t = targets[n], class weights w (1 where there are
// none), e = label smoothing, sharp = 1 - e and even = e / C:
//
//   loss[n]  = -sharp w[t] l[t] - even sum over c of w[c] l[c]
//   gx[n, c] = r (sharp w[t] (p[c] - [c is t]) + even (p[c] sum over k of w[k] - w[c]))
//   mean     = sum over n of loss[n] / sum over n of w[t]              r = gy / that sum
//
// A row whose target is `ignore` has loss, weight and gradient 0, whatever is in it. A target that
// is no class makes its row's loss, weight and gradient NaN: nothing is read outside an array, and
// nobody goes on training with it unaware.
//
// Layout:  x, p, gx (N, C), targets, loss, weight (N,), w (C,) or null, C-contiguous; results that are
//          one number, and gy where there is one, have no axes.
// Launch:  forward, backward: a 1-D grid of 1-D blocks of 256 threads, 256 / TEAM rows a block
//          (softmax.cuh). total: one block of 256 threads.
// Cost:    two exponentials an element; forward reads x twice, mostly from the cache the second
//          time, and writes p; backward reads p and writes gx: 2 numbers moved an element each.
#include "softmax.cuh"

// What a row's target says: whether the row counts, and how much.
template <typename T> struct Target {
    int c;
    bool counts, known;
    T weight;

    __device__ __forceinline__ Target(const long long t, const T* __restrict__ w, const int C,
                                      const long long ignore)
        : c(int(t)), counts(t != ignore), known(t >= 0 && t < C) {
        // inf - inf is not a number
        const T wrong = infinity<T>() - infinity<T>();
        weight = !counts ? T(0) : !known ? wrong : w ? w[c] : T(1);
    }
};

// The idea: two passes over a row, as for softmax. The second writes p, which is all that backward
// needs, and has each l[c] at hand on the way. The loss comes from l: the logarithm of p would be
// -inf where p has come out as 0.
// instances: TEAM = 1, 32, 256
template <typename T, int TEAM>
__global__ void __launch_bounds__(256, 4) cross_entropy_forward(
    const T* __restrict__ x, const long long* __restrict__ targets, const T* __restrict__ w,
    T* __restrict__ p, T* __restrict__ loss, T* __restrict__ weight, const int N, const int C,
    const T sharp, const T even, const long long ignore) {
    using A = typename Accumulator<T>::type;
    const Row<TEAM> row(N, C, 1);
    const auto all = exponentials(x, row);
    const A log_sum = log(all.sum), scale = A(1) / all.sum;
    A every = 0;
    for (int c = row.member(); c < row.C; c += TEAM) {
        const A below = A(x[row.at(c)]) - all.largest;
        p[row.at(c)] = exp(below) * scale;
        // 0 times an l of -inf would be NaN
        if (even > T(0)) every += A(w ? w[c] : T(1)) * (below - log_sum);
    }
    every = team_sum<TEAM>(every);
    if (row.C == 0 || row.member() != 0) return;

    const Target<T> target(targets[row.number], w, C, ignore);
    A sum = 0;
    if (target.counts) {
        const A l = target.known ? A(x[row.at(target.c)]) - all.largest - log_sum : A(0);
        sum = -(A(sharp) * A(target.weight) * l) - A(even) * every;
    }
    loss[row.number] = sum;
    weight[row.number] = target.weight;
}

// The idea: one block adds up all rows, each thread its share of them and then the block together,
// so the order is always the same; with an atomic from each row it would be that in which rows finish.
// The divisor goes to memory as well, for backward: nothing waits for the host.
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
    const A share = mean && weights != A(0) ? A(1) / weights : A(1);
    *total = losses * share;
    *scale = share;
}

// The idea: p - onehot, and nothing else has to be looked at: everything that a row shares is put into
// two factors. each: whether gy has a number a row.
// instances: TEAM = 1, 32, 256
template <typename T, int TEAM>
__global__ void __launch_bounds__(256, 4) cross_entropy_backward(
    const T* __restrict__ gy, const T* __restrict__ p, const long long* __restrict__ targets,
    const T* __restrict__ w, const T* __restrict__ scale, T* __restrict__ gx, const int N,
    const int C, const T sharp, const T even, const long long ignore, const bool each) {
    using A = typename Accumulator<T>::type;
    const Row<TEAM> row(N, C, 1);
    A weights = C;
    if (w) {
        weights = 0;
        for (int c = row.member(); c < row.C; c += TEAM) weights += w[c];
        weights = team_sum<TEAM>(weights);
    }
    if (row.C == 0) return;
    const Target<T> target(targets[row.number], w, C, ignore);
    const A r = A(gy[each ? row.number : 0]) * A(*scale);
    const A own = A(sharp) * A(target.weight) * r, spread = A(even) * r;
    for (int c = row.member(); c < row.C; c += TEAM) {
        const A q = p[row.at(c)];
        const A g = own * (q - A(c == target.c)) + spread * (q * weights - A(w ? w[c] : T(1)));
        gx[row.at(c)] = target.counts ? g : A(0);
    }
}
