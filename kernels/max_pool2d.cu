// max_pool2d.cu -- the largest element of each window. Python side:
// minialex/ops/max_pool2d/.
//
//   forward    y[i, j]      = max over (kh, kw) of x[i sh - ph + kh, j sw - pw + kw]
//              winner[i, j] = kh KW + kw of the element that it is
//   backward   gx[h, w]     = sum of gy[i, j] over the windows (i, j) whose winner is (h, w)
//
// plane by plane. Padding never wins; among equals the first wins, in row-major order of the window;
// a NaN wins over everything, and the last of several.
//
// Layout:  x, gx (planes, H, W), y, gy, winner (planes, OH, OW), C-contiguous, where the planes are
//          the N C channels of all images. winner is of the smallest unsigned type that holds
//          KH KW - 1: a byte for any window up to 16 x 16, so a quarter of what an index takes.
// Launch:  1-D grids of 1-D blocks. Forward: one thread an output. Backward: one thread for `rows`
//          pixels of a column, see windows.cuh.
// Cost:    KH KW comparisons an output. AlexNet's windows of 3 x 3, two apart, read each element
//          2.25 times; the second time it is in the L1 cache, as it was the thread next door or the
//          row above that read it first. What counts is memory: x once and y and winner once, and
//          backward gy, winner and gx once. winner is enough for backward: neither x nor y is read.
#include "windows.cuh"

// The idea: go through the window in order and keep what is larger than all before. `here > best`
// and not `>=` makes the first of equals win. No number is larger than a NaN, so that it stays
// once it is there; `here != here` is what lets it in.
//   KW = 3, window (0, 0) with padding (1, 1): the places inside are kh = 1, 2 and kw = 1, 2. The
//   walk begins at place 1*3 + 1 = 4, which wins if all four elements are minus infinity.
// instances: Place = unsigned char, unsigned short, unsigned int
template <typename T, typename Place>
__global__ void max_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, Place* __restrict__ winner,
                                   const PoolShape s) {
    const int index = flat_index();
    if (index >= s.planes * s.OH * s.OW) return;
    const Triple output = split(index, s.OH, s.OW);
    const Axis down = s.down(), across = s.across();
    const Range rows = down.places(output.b), columns = across.places(output.c);
    const int left = across.start(output.c);
    const T* row = x + (output.a * s.H + down.start(output.b) + rows.first) * s.W;

    T best = -infinity<T>();
    int place = rows.first * s.KW + columns.first;
    for (int kh = rows.first; kh < rows.end; ++kh, row += s.W)
        for (int kw = columns.first; kw < columns.end; ++kw) {
            const T here = row[left + kw];
            if (here > best || here != here) best = here, place = kh * s.KW + kw;
        }
    y[index] = best;
    winner[index] = Place(place);
}

// The idea: a pixel looks at the windows that hold it, four at most in AlexNet, and takes what
// those give that it has won. gy is fetched only then.
// instances: Place = unsigned char, unsigned short, unsigned int
template <typename T, typename Place>
__global__ void max_pool2d_backward(const T* __restrict__ gy, const Place* __restrict__ winner,
                                    T* __restrict__ gx, const PoolShape s, const int rows) {
    gather(s, gx, rows, [=](int from, int, int, int kh, int kw) {
        return int(winner[from]) == kh * s.KW + kw ? gy[from] : T(0);
    });
}
