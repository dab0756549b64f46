// elementwise.cu -- one thread per element, which relu.cu has not.
//
// Layout:  arrays of n numbers.
// Launch:  a 1-D grid of 1-D blocks, one thread per element.
#include "common.cuh"

template <typename T>
__global__ void rectify(const T* __restrict__ x, T* __restrict__ y, const int n) {
    const int i = flat_index();
    if (i < n) y[i] = x[i] < T(0) ? T(0) : x[i];
}

template <typename T>
__global__ void rectify_back(const T* __restrict__ gy, const T* __restrict__ y, T* __restrict__ gx,
                             const int n) {
    const int i = flat_index();
    if (i < n) gx[i] = y[i] == T(0) ? T(0) : gy[i];
}
