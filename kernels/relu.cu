// relu.cu -- the rectified linear unit. Python side: minialex/ops/relu/.
//
//   forward    y[i]  = 0 where x[i] < 0, else x[i]
//   backward   gx[i] = 0 where y[i] = 0, else gy[i]        (the subgradient at 0 is 0)
//
// Layout:  arrays of any one shape, C-contiguous, read as n numbers in a row.
// Launch:  a 1-D grid of 1-D blocks, one thread per element; the last block may extend past the
//          end, so every thread first checks its index.
// Cost:    1 comparison per element; forward moves 2 numbers per element, backward 3. Both are
//          memory-bound: neighbouring threads touch neighbouring elements, so a warp's 32 loads
//          coalesce into a few cache lines.

// The idea: max(x, 0), written so that a NaN stays a NaN. `x > 0 ? x : 0` would turn it into 0
// and hide the moment a training run breaks.
template <typename T>
__global__ void relu_forward(const T* __restrict__ x, T* __restrict__ y, const int n) {
    const int i = flat_index();
    if (i < n) y[i] = x[i] < T(0) ? T(0) : x[i];
}

// The idea: y tells where the unit was active (y is 0 exactly where x <= 0), so x need not be saved
// for backward, and the next layer saves y anyway. NaN is not 0: its gradient passes, as it did.
template <typename T>
__global__ void relu_backward(const T* __restrict__ gy, const T* __restrict__ y,
                              T* __restrict__ gx, const int n) {
    const int i = flat_index();
    if (i < n) gx[i] = y[i] == T(0) ? T(0) : gy[i];
}
