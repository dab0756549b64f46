// conv2d.cuh -- the index arithmetic that all kernels of the convolution share.
//
//   y[n, o, i, j] = b[o] + sum over c, k, l of
//                   w[o, c, k, l] x[n, c, i sh - ph + k dh, j sw - pw + l dw]
//
// where c counts the channels of o's group. Within a group this and both its gradients are matrix
// products. A *pixel* p is one output position (n, i, j), a *tap* q one filter element (c, k, l), and
// `patch` is the im2col matrix: the element of x under tap q at pixel p, zero outside the image:
//
//   forward           y[o, p]   = sum over q of  w[o, q]  patch[q, p]
//   weight gradient   gw[o, q]  = sum over p of  gy[o, p] patch[q, p]
//   data gradient     gx[c, u]  = sum over r of  w[c, r]  gy[r, u]
//
// In the data gradient u is one input position (n, h, w), r one (o, k, l), and gy[r, u] the element of
// gy whose window had tap (k, l) at u, zero where there is none.

// What the kernels take by value: all sizes of one convolution, C and O those of all groups
// together. Python passes a named tuple with the same fields.
struct ConvShape {
    int N, C, H, W, O, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw, groups;

    __device__ __forceinline__ int channels_per_group() const { return C / groups; }
    __device__ __forceinline__ int filters_per_group() const { return O / groups; }
    __device__ __forceinline__ int window_size() const { return KH * KW; }
    __device__ __forceinline__ int taps() const { return C / groups * KH * KW; }
    __device__ __forceinline__ int pixels() const { return N * OH * OW; }

    // The offset within a channel of x of the element under tap (k, l) at output (i, j), or -1 in the
    // padding.
    //   H = W = 5, stride 2, padding 1: tap (0, 1) at output (1, 1) is h = 1*2 - 1 + 0 = 1,
    //   w = 1*2 - 1 + 1 = 2, so offset 1*5 + 2 = 7.
    __device__ __forceinline__ int input_offset(const int i, const int j, const int k,
                                                const int l) const {
        const int h = i * sh - ph + k * dh, w = j * sw - pw + l * dw;
        return h >= 0 && h < H && w >= 0 && w < W ? h * W + w : -1;
    }

    // The inverse: the offset within a channel of y of the output (i, j) whose tap (k, l) is at (h, w),
    // or -1 where there is none.
    //   The same numbers: element (1, 2), tap (0, 1): 1 + 1 - 0 = 2 = 1*2 and 2 + 1 - 1 = 2 = 1*2, so
    //   output (1, 1). Element (2, 2) would need 3 = i*2: none.
    __device__ __forceinline__ int output_offset(const int h, const int w, const int k,
                                                 const int l) const {
        const int i = h + ph - k * dh, j = w + pw - l * dw;
        const bool exists = i >= 0 && j >= 0 && i % sh == 0 && j % sw == 0;
        return exists && i / sh < OH && j / sw < OW ? i / sh * OW + j / sw : -1;
    }
};
