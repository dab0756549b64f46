// conv2d.cuh -- the index arithmetic that all kernels of the convolution share.
//
//   y[n, o, i, j] = b[o] + sum over c, k, l of
//                   w[o, c, k, l] x[n, c, i sh - ph + k dh, j sw - pw + l dw]
//
// (c counts the channels of o's group.) Taken group by group, this and both its gradients are
// products of matrices. A *pixel* p is one (n, i, j), a *tap* q one (c, k, l); `patch` is the
// element of x that a tap meets when the window stands at a pixel, zero outside the image:
//
//   forward           y[o, p]   = sum over q of  w[o, q]  patch[q, p]
//   weight gradient   gw[o, q]  = sum over p of  gy[o, p] patch[q, p]
//   data gradient     gx[c, u]  = sum over r of  w[c, r]  met[r, u]
//
// In the data gradient u is one (n, h, w) of the input, r one (o, k, l), and `met` the element of
// gy whose window had tap (k, l) at u, zero where there is none.

// What the kernels take by value: all sizes of one convolution, C and O those of all groups
// together. Python passes a named tuple with the same fields.
struct ConvShape {
    int N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups;

    __device__ __forceinline__ int group_channels() const { return C / groups; }
    __device__ __forceinline__ int group_filters() const { return O / groups; }
    __device__ __forceinline__ int window() const { return KH * KW; }
    __device__ __forceinline__ int taps() const { return C / groups * KH * KW; }
    __device__ __forceinline__ int pixels() const { return N * OH * OW; }

    // The element (h, w) of an image that the window's (k, l) meets at output (i, j): its place in
    // the image, or -1 outside.
    //   H = W = 5, stride 2, padding 1: window element (0, 1) at output (1, 1) meets
    //   h = 1*2 - 1 + 0 = 1, w = 1*2 - 1 + 1 = 2, so place 1*5 + 2 = 7.
    __device__ __forceinline__ int met_by(const int i, const int j, const int k, const int l) const {
        const int h = i * sh - ph + k * dh, w = j * sw - pw + l * dw;
        return h >= 0 && h < H && w >= 0 && w < W ? h * W + w : -1;
    }

    // The same seen from the image: the output (i, j) whose window has (k, l) at (h, w), or -1
    // where no window stands so.
    //   The same numbers: element (1, 2), window element (0, 1): 1 + 1 - 0 = 2 = 1*2 and
    //   2 + 1 - 1 = 2 = 1*2, so output (1, 1). Element (2, 2) would need 3 = i*2: none.
    __device__ __forceinline__ int reaching(const int h, const int w, const int k, const int l) const {
        const int i = h + ph - k * dh, j = w + pw - l * dw;
        const bool there = i >= 0 && j >= 0 && i % sh == 0 && j % sw == 0;
        return there && i / sh < OH && j / sw < OW ? i / sh * OW + j / sw : -1;
    }
};
