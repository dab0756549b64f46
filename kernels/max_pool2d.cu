// max_pool2d.cu -- the largest element of each window. Python side:
// minialex/ops/max_pool2d/.
//
//   forward    y[i, j]      = max over (kh, kw) of x[i sh - ph + kh, j sw - pw + kw]
//              argmax[i, j] = kh KW + kw of the element that it is
//   backward   gx[h, w]     = sum of gy[i, j] over the windows (i, j) whose argmax is (h, w)
//
// plane by plane. Padding is never the maximum; of equals the first counts, in row-major order of the
// window; a NaN is larger than everything, and of several the last counts.
//
// Layout:  x, gx (planes, H, W), y, gy, argmax (planes, OH, OW), C-contiguous, where the planes are
//          the N C channels of all images. argmax is of the smallest unsigned type that holds
//          KH KW - 1: a byte for any window up to 16 x 16, so a quarter of what an index takes.
// Launch:  1-D grids of 1-D blocks. Forward: one thread per output. Backward: one thread per `rows`
//          pixels of a column, see windows.cuh.
// Cost:    KH KW comparisons per output. AlexNet's windows of 3 x 3, two apart, read each element
//          2.25 times; the second time from the L1 cache, as a neighbouring thread or the row above
//          read it first. What counts is memory: x once and y and argmax once, and
//          backward gy, argmax and gx once. argmax is enough for backward: neither x nor y is read.
//          Numbers of bfloat16, which are widened to float as they are read, take half as much.
#include "windows.cuh"

// The idea: go through the window in order and keep what is larger than all before. `value > best`
// and not `>=` makes the first of equals count. No number is larger than a NaN, so a NaN stays once
// it is there; `value != value` lets it in.
//   KW = 3, window (0, 0) with padding (1, 1): the taps inside are kh = 1, 2 and kw = 1, 2. The
//   first is 1*3 + 1 = 4, which is the argmax if all four elements are minus infinity.
// instances: T = float, double, __nv_bfloat16; Index = unsigned char, unsigned short, unsigned int
template <typename T, typename Index>
__global__ void max_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, Index* __restrict__ argmax,
                                   const PoolShape s) {
    using A = typename Accumulator<T>::type;
    const int index = flat_index();
    if (index >= s.planes * s.OH * s.OW) return;
    const Index3 output = unravel(index, s.OH, s.OW);
    const Axis vertical = s.vertical(), horizontal = s.horizontal();
    const Range rows = vertical.taps_inside(output.b), columns = horizontal.taps_inside(output.c);
    const int left = horizontal.start(output.c);
    const T* row = x + (output.a * s.H + vertical.start(output.b) + rows.first) * s.W;

    A best = -infinity<A>();
    int best_index = rows.first * s.KW + columns.first;
    for (int kh = rows.first; kh < rows.end; ++kh, row += s.W)
        for (int kw = columns.first; kw < columns.end; ++kw) {
            const A value = row[left + kw];
            if (value > best || value != value) best = value, best_index = kh * s.KW + kw;
        }
    y[index] = T(best);
    argmax[index] = Index(best_index);
}

// The idea: a pixel gathers gy from those windows that contain it, four at most in AlexNet, whose
// argmax it is. gy is read only then.
// instances: T = float, double, __nv_bfloat16; Index = unsigned char, unsigned short, unsigned int
template <typename T, typename Index>
__global__ void max_pool2d_backward(const T* __restrict__ gy, const Index* __restrict__ argmax,
                                    T* __restrict__ gx, const PoolShape s, const int rows) {
    using A = typename Accumulator<T>::type;
    gather_gradient(s, gx, rows, [=](int output, int, int, int kh, int kw) {
        return int(argmax[output]) == kh * s.KW + kw ? A(gy[output]) : A(0);
    });
}
