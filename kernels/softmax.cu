// softmax.cu -- softmax along one axis. Python side: minialex/ops/softmax.py and _cuda/rows.py.
//
//   forward    y[c]  = exp(x[c] - max x) / sum over k of exp(x[k] - max x)
//   backward   gx[c] = y[c] (gy[c] - sum over k of gy[k] y[k])
//
// Layout:  all arrays (outer, C, inner), C-contiguous; a row is the C numbers along the middle axis
//          and rows = outer inner.
// Launch:  a 1-D grid of 1-D blocks of 256 threads, 256 / TEAM rows a block (softmax.cuh).
// Cost:    one exponential in the first pass over a row and one in the second; forward reads x
//          twice and writes y, backward reads gy and y twice and writes gx. The second reading of a
//          row mostly finds it in the cache: what counts is 2 numbers moved an element forward,
//          3 backward. For inner > 1 and few rows most of a GPU is idle.
#include "softmax.cuh"

// The idea: two passes over a row. The first finds the largest number and the sum of exponentials
// together; the second divides.
// instances: TEAM = 1, 32, 256
template <typename T, int TEAM>
__global__ void __launch_bounds__(256, 4) softmax_forward(const T* __restrict__ x, T* __restrict__ y,
                                                       const int rows, const int C, const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<TEAM> row(rows, C, inner);
    const auto all = exponentials(x, row);
    const A scale = A(1) / all.sum;
    for (int c = row.member(); c < row.C; c += TEAM)
        y[row.at(c)] = exp(A(x[row.at(c)]) - all.largest) * scale;
}

// The idea: the whole row of the Jacobian, y[c] (1 at c - y[k]), need not be formed: of it only the one sum
// over gy y is left, the same for all c.
// instances: TEAM = 1, 32, 256
template <typename T, int TEAM>
__global__ void __launch_bounds__(256, 4) softmax_backward(const T* __restrict__ gy, const T* __restrict__ y,
                                                        T* __restrict__ gx, const int rows, const int C,
                                                        const int inner) {
    using A = typename Accumulator<T>::type;
    const Row<TEAM> row(rows, C, inner);
    A sum = 0;
    for (int c = row.member(); c < row.C; c += TEAM) sum += A(gy[row.at(c)]) * A(y[row.at(c)]);
    sum = team_sum<TEAM>(sum);
    for (int c = row.member(); c < row.C; c += TEAM)
        gx[row.at(c)] = A(y[row.at(c)]) * (A(gy[row.at(c)]) - sum);
}
