// relu.cu -- the rectified linear unit. Python side: minialex/ops/relu/.
//
//   forward    y[i]  = 0 where x[i] < 0, else x[i]
//   backward   gx[i] = 0 where y[i] = 0, else gy[i]        (the subgradient at 0 is 0)
//
// Layout:  arrays of any one shape, C-contiguous, read as n numbers in a row.
// Launch:  a 1-D grid of 1-D blocks, one thread per 16-byte vector: four floats, two doubles or eight
//          numbers of bfloat16; see slices.cuh, also for the last thread and for other addresses.
// Cost:    1 comparison per element; forward moves 2 numbers per element, backward 3. Both are
//          memory-bound: neighbouring threads touch neighbouring vectors, so a warp's 32 loads
//          coalesce into whole cache lines.
#include "slices.cuh"

// The idea: max(x, 0), written so that a NaN stays a NaN. `x > 0 ? x : 0` would turn it into 0
// and hide the moment a training run breaks.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void relu_forward(const T* __restrict__ x, T* __restrict__ y, const int n) {
    const ThreadSlice<T> slice(n, begin_vectors(x, y));
    Pack<T> pack = slice.load(x);
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) pack[k] = pack[k] < 0 ? 0 : pack[k];
    slice.store(pack, y);
}

// The idea: y tells where the unit was active (y is 0 exactly where x <= 0), so x need not be saved
// for backward, and the next layer saves y anyway. NaN is not 0: its gradient passes, as it did.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void relu_backward(const T* __restrict__ gy, const T* __restrict__ y,
                              T* __restrict__ gx, const int n) {
    const ThreadSlice<T> slice(n, begin_vectors(gy, y, gx));
    Pack<T> grads = slice.load(gy);
    const Pack<T> ys = slice.load(y);
#pragma unroll
    for (int k = 0; k < VECTOR_WIDTH<T>; ++k) grads[k] = ys[k] == 0 ? 0 : grads[k];
    slice.store(grads, gx);
}
