// avg_pool2d.cu -- the mean of each window. Python side: minialex/ops/avg_pool2d/.
//
//   forward    y[i, j]  = (sum over (kh, kw) of x[i sh - ph + kh, j sw - pw + kw]) / count[i, j]
//   backward   gx[h, w] = sum of gy[i, j] / count[i, j] over the windows (i, j) that contain (h, w)
//
// plane by plane, x being zero outside the image. count is the number of taps of the window inside
// the image or, where the padding counts, inside image and padding: all KH KW, but of a last window
// that reaches beyond (ceil_mode).
//
// Layout:  x, gx (planes, H, W), y, gy (planes, OH, OW), C-contiguous, where the planes are the N C
//          channels of all images.
// Launch:  1-D grids of 1-D blocks. Forward: one thread per output. Backward: one thread per `rows`
//          pixels of a column, see windows.cuh.
// Cost:    KH KW additions per output, and x and y moved once: memory-bound. Where windows overlap, a
//          neighbouring thread reads an element again, from the L1 cache. Numbers of bfloat16, which
//          are widened to float as they are read, take half as much.
#include "windows.cuh"

// What the sum of window (i, j) is divided by.
//   3 x 3 windows, two apart, padding 1: window (0, 0) has 2 x 2 taps inside, so 9 or 4.
//   2 x 2 windows, two apart, on 5 x 5 pixels: window (2, 2) has one tap inside, so 1 or 1.
__device__ __forceinline__ int divisor(const PoolShape s, const int i, const int j,
                                       const bool include_pad) {
    const Axis vertical = s.vertical(), horizontal = s.horizontal();
    if (include_pad) return vertical.taps_padded(i) * horizontal.taps_padded(j);
    return vertical.taps_inside(i).size() * horizontal.taps_inside(j).size();
}

// The idea: the formula, over the taps inside the image: the padding adds nothing.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void avg_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, const PoolShape s,
                                   const bool include_pad) {
    using A = typename Accumulator<T>::type;
    const int index = flat_index();
    if (index >= s.planes * s.OH * s.OW) return;
    const Index3 output = unravel(index, s.OH, s.OW);
    const Axis vertical = s.vertical(), horizontal = s.horizontal();
    const Range rows = vertical.taps_inside(output.b), columns = horizontal.taps_inside(output.c);
    const int left = horizontal.start(output.c);
    const T* row = x + (output.a * s.H + vertical.start(output.b) + rows.first) * s.W;

    A sum = 0;
    for (int kh = rows.first; kh < rows.end; ++kh, row += s.W)
        for (int kw = columns.first; kw < columns.end; ++kw) sum += A(row[left + kw]);
    y[index] = T(sum / A(divisor(s, output.b, output.c, include_pad)));
}

// The idea: a pixel gathers from the windows that contain it; all pixels of a window get the same.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void avg_pool2d_backward(const T* __restrict__ gy, T* __restrict__ gx, const PoolShape s,
                                    const bool include_pad, const int rows) {
    using A = typename Accumulator<T>::type;
    gather_gradient(s, gx, rows, [=](int output, int i, int j, int, int) {
        return A(gy[output]) / A(divisor(s, i, j, include_pad));
    });
}
