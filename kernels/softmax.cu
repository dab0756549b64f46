// softmax.cu -- softmax along one axis. Python side: minialex/ops/softmax.py and _cuda/rows.py.
//
//   forward    y[c]  = exp(x[c] - max x) / sum over k of exp(x[k] - max x)
//   backward   gx[c] = y[c] (gy[c] - sum over k of gy[k] y[k])
//
// Layout:  all arrays (outer, C, inner), C-contiguous; a row is the C numbers along the middle axis
//          and rows = outer inner.
// Launch:  a 1-D grid of 1-D blocks of 256 threads, 256 / THREADS_PER_ROW rows per block (softmax.cuh).
// Cost:    one exponential in the first pass over a row and one in the second; forward reads x
//          twice and writes y, backward reads gy and y twice and writes gx. The second reading of a
//          row mostly hits the cache: what counts is 2 numbers moved per element
//          forward, 3 backward. For inner > 1 and few rows most of a GPU is idle.
#include "softmax.cuh"

// The idea: two passes over a row. The first computes the maximum and the sum of exponentials
// together (online softmax); the second divides.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) softmax_forward(const T* __restrict__ x, T* __restrict__ y,
                                                       const int rows, const int C, const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(rows, C, inner);
    const auto stats = online_softmax(x, row);
    const A scale = A(1) / stats.sum;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW)
        y[row.offset(c)] = exp(A(x[row.offset(c)]) - stats.largest) * scale;
}

// The idea: the Jacobian's row y[c] ([c is k] - y[k]) is never formed: its product with gy is one
// sum over gy y, the same for all c.
// instances: THREADS_PER_ROW = 1, 32, 256
template <typename T, int THREADS_PER_ROW>
__global__ void __launch_bounds__(256, 4) softmax_backward(const T* __restrict__ gy, const T* __restrict__ y,
                                                        T* __restrict__ gx, const int rows, const int C,
                                                        const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<THREADS_PER_ROW> row(rows, C, inner);
    A sum = 0;
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW)
        sum += A(gy[row.offset(c)]) * A(y[row.offset(c)]);
    sum = row_sum<THREADS_PER_ROW>(sum);
    for (int c = row.thread_rank(); c < row.C; c += THREADS_PER_ROW)
        gx[row.offset(c)] = A(y[row.offset(c)]) * (A(gy[row.offset(c)]) - sum);
}
