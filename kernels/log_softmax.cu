// log_softmax.cu -- the logarithm of the softmax along one axis. Python side:
// minialex/ops/log_softmax.py and _cuda/rows.py.
//
//   forward    y[c]  = x[c] - max x - log sum over k of exp(x[k] - max x)
//   backward   gx[c] = gy[c] - exp(y[c]) sum over k of gy[k]
//
// Layout:  all arrays (outer, C, inner), C-contiguous; a row is the C numbers along the middle axis
//          and rows = outer inner.
// Launch:  a 1-D grid of 1-D blocks of 256 threads, 256 / THREADS_PER_ROW rows per block (softmax.cuh).
// Cost:    one exponential per element and one logarithm per row; memory as in softmax.cu.
#include "softmax.cuh"

// The idea: the logarithm is taken of the sum alone. The logarithm of a softmax that underflowed to 0
// would be -inf, where this is, say, -2000. The maximum is subtracted first: added to the logarithm,
// a large one would absorb its digits.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) log_softmax_forward(const T* __restrict__ x, T* __restrict__ y,
                                                           const int rows, const int C, const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(rows, C, inner);
    const auto stats = online_softmax(x, row);
    const A log_sum = log(stats.sum);
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW)
        y[row.offset(c)] = A(x[row.offset(c)]) - stats.largest - log_sum;
}

// The idea: exp(y) is the softmax, so y is all that is saved.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) log_softmax_backward(const T* __restrict__ gy,
                                                            const T* __restrict__ y, T* __restrict__ gx,
                                                            const int rows, const int C, const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(rows, C, inner);
    A sum = 0;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW) sum += gy[row.offset(c)];
    sum = row_sum<THREADS_PER_ROW>(sum);
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW)
        gx[row.offset(c)] = A(gy[row.offset(c)]) - exp(A(y[row.offset(c)])) * sum;
}
