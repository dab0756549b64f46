// log_softmax.cu -- the logarithm of the softmax along one axis. Python side:
// minialex/ops/log_softmax.py and _cuda/rows.py.
//
//   forward    y[c]  = x[c] - max x - log sum over k of exp(x[k] - max x)
//   backward   gx[c] = gy[c] - exp(y[c]) sum over k of gy[k]
//
// Layout:  all arrays (outer, C, inner), C-contiguous; a row is the C numbers along the middle axis
//          and rows = outer inner.
// Launch:  a 1-D grid of 1-D blocks of 256 threads, 256 / TEAM rows a block (softmax.cuh).
// Cost:    one exponential an element and one logarithm a row; memory as in softmax.cu.
#include "softmax.cuh"

// The idea: the logarithm is taken of the sum alone. The logarithm of a softmax that has come out as 0
// would be -inf, where this is, say, -2000. The maximum comes off first: added to the logarithm, a
// large one would swallow its digits.
// instances: TEAM = 1, 32, 256
template <typename T, int TEAM>
__global__ void __launch_bounds__(256, 4) log_softmax_forward(const T* __restrict__ x, T* __restrict__ y,
                                                           const int rows, const int C, const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<TEAM> row(rows, C, inner);
    const auto all = exponentials(x, row);
    const A log_sum = log(all.sum);
    for (int c = row.member(); c < row.C; c += TEAM)
        y[row.at(c)] = A(x[row.at(c)]) - all.largest - log_sum;
}

// The idea: exp(y) is the softmax, so y is all that is kept.
// instances: TEAM = 1, 32, 256
template <typename T, int TEAM>
__global__ void __launch_bounds__(256, 4) log_softmax_backward(const T* __restrict__ gy,
                                                            const T* __restrict__ y, T* __restrict__ gx,
                                                            const int rows, const int C, const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<TEAM> row(rows, C, inner);
    A sum = 0;
    for (int c = row.member(); c < row.C; c += TEAM) sum += gy[row.at(c)];
    sum = team_sum<TEAM>(sum);
    for (int c = row.member(); c < row.C; c += TEAM)
        gx[row.at(c)] = A(gy[row.at(c)]) - exp(A(y[row.at(c)])) * sum;
}
