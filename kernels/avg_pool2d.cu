// avg_pool2d.cu -- the mean of each window. Python side: minialex/ops/avg_pool2d/.
//
//   forward    y[i, j]  = (sum over (kh, kw) of x[i sh - ph + kh, j sw - pw + kw]) / count[i, j]
//   backward   gx[h, w] = sum of gy[i, j] / count[i, j] over the windows (i, j) that hold (h, w)
//
// plane by plane, x being zero outside the image. count is KH KW where the padding counts, else how
// many places of the window lie inside.
//
// Layout:  x, gx (planes, H, W), y, gy (planes, OH, OW), C-contiguous, where the planes are the N C
//          channels of all images.
// Launch:  1-D grids of 1-D blocks. Forward: one thread an output. Backward: one thread for `rows`
//          pixels of a column, see windows.cuh.
// Cost:    KH KW additions an output, and x and y moved once: bound by memory. Where windows overlap,
//          an element is read again by a neighbour, from the L1 cache.
#include "windows.cuh"

// What the sum of window (i, j) is divided by.
//   3 x 3 windows, two apart, padding 1: window (0, 0) has 2 x 2 places inside, so 9 or 4.
__device__ __forceinline__ int count_of(const PoolShape s, const int i, const int j, const bool include_pad) {
    if (include_pad) return s.KH * s.KW;
    return s.down().places(i).size() * s.across().places(j).size();
}

// The idea: the formula. Only places inside are walked over, the padding adds nothing.
template <typename T>
__global__ void avg_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, const PoolShape s,
                                   const bool include_pad) {
    const int index = flat_index();
    if (index >= s.planes * s.OH * s.OW) return;
    const Triple output = split(index, s.OH, s.OW);
    const Axis down = s.down(), across = s.across();
    const Range rows = down.places(output.b), columns = across.places(output.c);
    const int left = across.start(output.c);
    const T* row = x + (output.a * s.H + down.start(output.b) + rows.first) * s.W;

    typename Accumulator<T>::type sum = 0;
    for (int kh = rows.first; kh < rows.end; ++kh, row += s.W)
        for (int kw = columns.first; kw < columns.end; ++kw) sum += row[left + kw];
    y[index] = sum / T(count_of(s, output.b, output.c, include_pad));
}

// The idea: a pixel looks at the windows that hold it; each gives it the same as all its others.
template <typename T>
__global__ void avg_pool2d_backward(const T* __restrict__ gy, T* __restrict__ gx, const PoolShape s,
                                    const bool include_pad, const int rows) {
    gather(s, gx, rows, [=](int from, int i, int j, int, int) {
        return gy[from] / T(count_of(s, i, j, include_pad));
    });
}
