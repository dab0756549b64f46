// windows.cuh -- the windows of a pooling, seen from an output and from a pixel.
//
// Along one axis, window i covers pixels i s - p to i s - p + K - 1, s being the stride and p the
// padding. Forward needs the taps (0 to K - 1) that lie inside the image; backward needs the inverse:
// the windows that contain a pixel.
//
//   size 7, K = 3, s = 2, p = 1:       pixel    -1  0  1  2  3  4  5  6  7
//                                      window 0  *  *  *
//                                      window 1        *  *  *
//                                      window 2              *  *  *
//                                      window 3                    *  *  *
//   Window 0 has only its taps 1 and 2 inside. Pixel 3 is in windows 1 and 2, pixel 4 in window 2.

// One axis of the image: its size, and `count` windows over it.
struct Axis {
    int size, kernel, count, stride, padding;

    // The pixel under tap 0 of window i: negative in the padding.
    __device__ __forceinline__ int start(const int i) const { return i * stride - padding; }

    // The taps of window i that lie inside the image.
    __device__ __forceinline__ Range taps_inside(const int i) const {
        return {max(0, -start(i)), min(kernel, size - start(i))};
    }

    // How many taps of window i lie inside image and padding: all, but where a last window reaches
    // beyond.
    __device__ __forceinline__ int taps_padded(const int i) const {
        return min(kernel, size + padding - start(i));
    }

    // The windows that contain a pixel: those with i s <= pixel + p < i s + K. None, first >= end,
    // where the stride is larger than the window and the pixel lies between two.
    __device__ __forceinline__ Range windows_over(const int pixel) const {
        const int padded = pixel + padding;
        return {padded < kernel ? 0 : (padded - kernel) / stride + 1, min(count, padded / stride + 1)};
    }

    // Updates the windows that contain the pixel before this one to those that contain it. From one
    // pixel to the next at most one window ends and at most one begins: no division is needed.
    __device__ __forceinline__ void advance(Range& windows, const int pixel) const {
        const int padded = pixel + padding;
        if (windows.first * stride + kernel <= padded) ++windows.first;
        if (windows.end < count && windows.end * stride <= padded) ++windows.end;
    }
};

// What the kernels take by value: all sizes of one pooling. `planes` are the channels of all images.
struct PoolShape {
    int planes, H, W, KH, KW, OH, OW, sh, sw, ph, pw;

    __device__ __forceinline__ Axis vertical() const { return {H, KH, OH, sh, ph}; }
    __device__ __forceinline__ Axis horizontal() const { return {W, KW, OW, sw, pw}; }
};

// Writes the gradient of x by a gather: each pixel adds up what every window that contains it
// contributes, in ascending order, so that the sum is the same bits in every run. A scatter, each
// window adding to its pixels, would need atomics where windows overlap.
//
// A thread computes a strip: `rows` pixels of one column. It finds the windows over its column once
// and updates those over its row from row to row: two divisions per axis for the whole strip, where
// one thread per pixel would spend most of its time in divisions. Neighbouring threads have
// neighbouring columns, so a warp reads and writes along rows.
//   H = 5, W = 3, rows = 4: thread 4 is column 1 of the second strip, so it has pixel (4, 1) alone.
//
// contribution(output, i, j, kh, kw) is what window (i, j), whose output has the flat index `output`,
// contributes to the pixel under its tap (kh, kw).
template <typename T, typename Contribution>
__device__ __forceinline__ void gather_gradient(const PoolShape s, T* __restrict__ gx,
                                                const int rows, Contribution contribution) {
    const int strips = (s.H + rows - 1) / rows, index = flat_index();
    if (index >= s.planes * strips * s.W) return;
    const Index3 strip = unravel(index, strips, s.W);
    const int plane = strip.a, begin = strip.b * rows, end = min(s.H, begin + rows), w = strip.c;
    const Axis vertical = s.vertical(), horizontal = s.horizontal();
    const Range column_windows = horizontal.windows_over(w);
    Range row_windows = vertical.windows_over(begin);

    for (int h = begin; h < end; vertical.advance(row_windows, ++h)) {
        typename Accumulator<T>::type sum = 0;
        for (int i = row_windows.first; i < row_windows.end; ++i)
            for (int j = column_windows.first; j < column_windows.end; ++j) {
                const int output = (plane * s.OH + i) * s.OW + j;
                sum += contribution(output, i, j, h - vertical.start(i), w - horizontal.start(j));
            }
        gx[(plane * s.H + h) * s.W + w] = T(sum);
    }
}
