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
// Launch:  1-D grids of 1-D blocks. A thread has a strip, ROWS elements of one column: of y in
//          forward, of gx in backward. It finds its place, two divisions, once for all of them.
//          Neighbouring threads have neighbouring columns, so a warp reads and writes along rows.
//          WINDOW is what the compiler knows of the windows, see known().
// Cost:    KH KW comparisons per output. AlexNet's windows of 3 x 3, two apart, read each element
//          2.25 times; the second time from the L1 cache, as a neighbouring thread or the row above
//          read it first. What counts is memory: x once and y and argmax once, and
//          backward gy, argmax and gx once. argmax is enough for backward: neither x nor y is read.
//          Numbers of bfloat16, which are widened to float as they are read, take half as much.
#include "windows.cuh"

// The sizes of a pooling. WINDOW = 3 tells the compiler those of AlexNet's: windows of 3 x 3, two
// apart, all inside the image; 0 tells it none. What it knows it need not compute: loops over taps
// unroll, a division by the stride is a shift, and nothing is compared with the padding.
template <int WINDOW> __device__ __forceinline__ PoolShape known(PoolShape s) {
    if (WINDOW) s.KH = s.KW = WINDOW, s.sh = s.sw = 2, s.ph = s.pw = 0;
    return s;
}

// The taps of window i inside the image.
template <int WINDOW> __device__ __forceinline__ Range taps(const Axis axis, const int i) {
    return WINDOW ? Range{0, WINDOW} : axis.taps_inside(i);
}

// The idea: go through the window in order and keep what is larger than all before. `value > best`
// and not `>=` makes the first of equals count. No number is larger than a NaN, so a NaN stays once
// it is there; `value != value` lets it in.
//   KW = 3, window (0, 0) with padding (1, 1): the taps inside are kh = 1, 2 and kw = 1, 2. The
//   first is 1*3 + 1 = 4, which is the argmax if all four elements are minus infinity.
// instances: WINDOW = 0, 3
// instances: T = float, double, __nv_bfloat16; Index = unsigned char, unsigned short, unsigned int
template <int WINDOW, typename T, typename Index>
__global__ void max_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, Index* __restrict__ argmax,
                                   const PoolShape sizes) {
    using A = typename Accumulator<T>::type;
    constexpr int ROWS = WINDOW ? 3 : 1;
    const PoolShape s = known<WINDOW>(sizes);
    const int strips = (s.OH + ROWS - 1) / ROWS, index = flat_index();
    if (index >= s.planes * strips * s.OW) return;
    const Index3 strip = unravel(index, strips, s.OW);
    const int plane = strip.a, top = strip.b * ROWS, j = strip.c;
    const Axis vertical = s.vertical(), horizontal = s.horizontal();
    const Range columns = taps<WINDOW>(horizontal, j);
    const int left = plane * s.H * s.W + horizontal.start(j);

#pragma unroll
    for (int r = 0; r < ROWS && top + r < s.OH; ++r) {
        const int i = top + r, output = (plane * s.OH + i) * s.OW + j;
        const Range rows = taps<WINDOW>(vertical, i);
        A best = -infinity<A>();
        int best_index = rows.first * s.KW + columns.first;
        for (int kh = rows.first; kh < rows.end; ++kh)
            for (int kw = columns.first; kw < columns.end; ++kw) {
                const A value = x[left + (vertical.start(i) + kh) * s.W + kw];
                if (value > best || value != value) best = value, best_index = kh * s.KW + kw;
            }
        y[output] = T(best);
        argmax[output] = Index(best_index);
    }
}

// The idea: a thread goes through the windows over its strip, in order, and reads argmax and gy of each
// once. It adds gy to the pixel that the argmax is, if the strip has it. Registers have no index, so
// the window is compared with every pixel of the strip: the loop over r unrolls, and each sum is a
// register. Strips begin where windows do, so that of a known window it is known, too, which three
// pixels it has; the other comparisons are not compiled. For a strip of ROWS = 4:
//   pixel            0  1  2  3      di = 0: its tap kh = 2 is over the strip's first pixel, top_kh
//   window 0   *  *  *               di = 1: kh = 0 is, and kh = 1, 2 are over pixels 1 and 2
//   window 1         *  *  *         di = 2: kh = -2 would be, so kh = 0, 1 are over pixels 2 and 3
//   window 2               *  *  *
// Above the topmost strip there is no window (i = -1), nor is there one at i = OH or beyond.
// instances: WINDOW = 0, 3
// instances: T = float, double, __nv_bfloat16; Index = unsigned char, unsigned short, unsigned int
template <int WINDOW, typename T, typename Index>
__global__ void max_pool2d_backward(const T* __restrict__ gy, const Index* __restrict__ argmax,
                                    T* __restrict__ gx, const PoolShape sizes) {
    using A = typename Accumulator<T>::type;
    constexpr int ROWS = WINDOW ? 14 : 8;
    const PoolShape s = known<WINDOW>(sizes);
    const int strips = (s.H + ROWS - 1) / ROWS, index = flat_index();
    if (index >= s.planes * strips * s.W) return;
    const Index3 strip = unravel(index, strips, s.W);
    const int plane = strip.a, top = strip.b * ROWS, w = strip.c;
    const Axis vertical = s.vertical(), horizontal = s.horizontal();
    const Range columns = horizontal.windows_over(w);
    const int first = WINDOW ? top / 2 - 1 : vertical.windows_over(top).first;
    const int count = WINDOW ? ROWS / 2 + 1 : vertical.windows_over(top + ROWS - 1).end - first;
    const int top_kh = WINDOW ? 2 : top - vertical.start(first);

    A sums[ROWS] = {};
    for (int di = 0; di < count; ++di)
        for (int dj = 0; dj < (WINDOW ? 2 : columns.size()); ++dj) {
            const int i = first + di, j = columns.first + dj;
            if (unsigned(i) >= unsigned(s.OH) || j >= columns.end) continue;
            const int output = (plane * s.OH + i) * s.OW + j;
            // kh KW of the maximum, if it is in this column.
            const int tap = argmax[output] - (w - horizontal.start(j));
            const A g = gy[output];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const int kh = top_kh - di * s.sh + r;
                if (unsigned(kh) < unsigned(s.KH) && tap == kh * s.KW) sums[r] += g;
            }
        }
    int pixel = (plane * s.H + top) * s.W + w;
#pragma unroll
    for (int r = 0; r < ROWS && top + r < s.H; ++r, pixel += s.W) gx[pixel] = T(sums[r]);
}
