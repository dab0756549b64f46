// relu.cu -- the rectified linear unit. Python side: minialex/ops/relu/.
//
//   forward    y[i]  = x[i] where x[i] > 0, else 0
//   backward   gx[i] = gy[i] where y[i] > 0, else 0        (the subgradient at 0 is 0)
//
// Layout:  arrays of any one shape, C-contiguous, read as n numbers in a row.
// Launch:  a 1-D grid of 1-D blocks, one thread an element; the last block may stick out past
//          the end, so every thread first asks whether its element exists.
// Cost:    1 comparison an element; forward moves 2 numbers an element, backward 3. Both are
//          bound by memory: neighbouring threads touch neighbouring elements, so that a warp's
//          32 loads become a few whole cache lines.

// The idea: max(x, 0), written so that a NaN stays a NaN. `x > 0 ? x : 0` would turn it into 0
// and hide the moment a training run breaks.
template <typename T>
__global__ void relu_forward(const T* __restrict__ x, T* __restrict__ y, const int n) {
    const int i = flat_index();
    if (i < n) y[i] = x[i] < T(0) ? T(0) : x[i];
}

// The idea: y alone says where the unit was on (y > 0 exactly where x > 0), so x need not be
// kept for the backward pass, and the next layer holds y anyway.
template <typename T>
__global__ void relu_backward(const T* __restrict__ gy, const T* __restrict__ y,
                              T* __restrict__ gx, const int n) {
    const int i = flat_index();
    if (i < n) gx[i] = y[i] > T(0) ? gy[i] : T(0);
}
