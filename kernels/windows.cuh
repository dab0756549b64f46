// windows.cuh -- where the windows of a pooling stand, seen from an output and from a pixel.
//
// Along one axis, window i reaches from pixel i s - p to pixel i s - p + K - 1, s being the stride
// and p the padding. Forward asks which of its K places lie inside the image; backward asks the
// other way round: which windows hold a pixel?
//
//   size 7, K = 3, s = 2, p = 1:       pixel    -1  0  1  2  3  4  5  6  7
//                                      window 0  *  *  *
//                                      window 1        *  *  *
//                                      window 2              *  *  *
//                                      window 3                    *  *  *
//   Window 0 has only its places 1 and 2 inside. Pixel 3 is in windows 1 and 2, pixel 4 in window 2.

// One axis of the image: its size, and `count` windows over it.
struct Axis {
    int size, kernel, count, stride, padding;

    // The pixel that place 0 of window i meets: negative in the padding.
    __device__ __forceinline__ int start(const int i) const { return i * stride - padding; }

    // Which places of window i lie inside the image.
    __device__ __forceinline__ Range places(const int i) const {
        return {max(0, -start(i)), min(kernel, size - start(i))};
    }

    // Which windows hold a pixel: those with i s <= pixel + p < i s + K. None, first >= end, where
    // the stride is larger than the window and the pixel lies between two.
    __device__ __forceinline__ Range windows(const int pixel) const {
        const int reach = pixel + padding;
        return {reach < kernel ? 0 : (reach - kernel) / stride + 1, min(count, reach / stride + 1)};
    }

    // Turns the windows that hold the pixel before this one into those that hold it. One pixel
    // further on at most one window ends and at most one begins: no division is needed.
    __device__ __forceinline__ void advance(Range& windows, const int pixel) const {
        const int reach = pixel + padding;
        if (windows.first * stride + kernel <= reach) ++windows.first;
        if (windows.end < count && windows.end * stride <= reach) ++windows.end;
    }
};

// What the kernels take by value: all sizes of one pooling. `planes` are the channels of all images.
struct PoolShape {
    int planes, H, W, KH, KW, OH, OW, sh, sw, ph, pw;

    __device__ __forceinline__ Axis down() const { return {H, KH, OH, sh, ph}; }
    __device__ __forceinline__ Axis across() const { return {W, KW, OW, sw, pw}; }
};

// Writes the gradient of x: each pixel adds up its share of every window that holds it, window by
// window in rising order, so that the sum is the same bits in every run. The other way round, each
// window adding to its pixels, windows that overlap would need atomics.
//
// A thread walks down `rows` pixels of one column. Which windows stand over its column it asks
// once, and the windows over its row it carries along from row to row: two divisions a window axis
// for the whole walk, where a thread a pixel would spend more time dividing than on its numbers.
// Neighbouring threads have neighbouring columns, so a warp reads and writes along rows.
//   H = 5, W = 3, rows = 4: thread 4 is column 1 of the second walk, so it has pixel (4, 1) alone.
//
// share(from, i, j, kh, kw) is what window (i, j), number `from` of all windows of all planes, gives
// to its place (kh, kw).
template <typename T, typename Share>
__device__ __forceinline__ void gather(const PoolShape s, T* __restrict__ gx, const int rows, Share share) {
    const int walks = (s.H + rows - 1) / rows, index = flat_index();
    if (index >= s.planes * walks * s.W) return;
    const Triple walk = split(index, walks, s.W);
    const int plane = walk.a, begin = walk.b * rows, end = min(s.H, begin + rows), w = walk.c;
    const Axis down = s.down(), across = s.across();
    const Range columns = across.windows(w);
    Range bands = down.windows(begin);

    for (int h = begin; h < end; down.advance(bands, ++h)) {
        typename Accumulator<T>::type sum = 0;
        for (int i = bands.first; i < bands.end; ++i)
            for (int j = columns.first; j < columns.end; ++j) {
                const int from = (plane * s.OH + i) * s.OW + j;
                sum += share(from, i, j, h - down.start(i), w - across.start(j));
            }
        gx[(plane * s.H + h) * s.W + w] = sum;
    }
}
