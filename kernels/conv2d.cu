// conv2d.cu -- two-dimensional convolution: the plainest kernels, and the bias gradient that all
// rungs share. Python side: minialex/ops/conv2d/.
//
//   forward           y[n, o, i, j]   = b[o] + sum over c, k, l of w[o, c, k, l] x[n, g C/G + c, h, w]
//   data gradient     gx[n, c, h, w]  = sum over o, k, l of w[o, c, k, l] gy[n, o, i, j]
//   weight gradient   gw[o, c, k, l]  = sum over n, i, j of gy[n, o, i, j] x[n, g C/G + c, h, w]
//   bias gradient     gb[o]           = sum over n, i, j of gy[n, o, i, j]
//
// where (h, w) = (i sh - ph + k dh, j sw - pw + l dw), x is zero outside the image, and g is the
// group of o. conv2d.cuh has this index arithmetic, in both directions.
//
// Layout:  x (N, C, H, W), w (O, C / groups, KH, KW), b (O,), y (N, O, OH, OW), C-contiguous.
// Launch:  naive: a 1-D grid of 1-D blocks, one thread per number of the result.
//          bias gradient: a 1-D grid of O * parts blocks of whole warps, `images` images per part.
// Cost:    2 O C/G KH KW N OH OW operations in each of the first three. The naive kernels load two
//          numbers per two operations and depend on the caches: they are here to be read, and as
//          the baseline for the rungs above them:
//
//   naive           conv2d.cu                 one thread per number, everything from memory
//   tiled           conv2d_tiled.cu           blocks reuse what they load through shared memory
//   im2col          conv2d_im2col.cu          patches written out, then dense matrix products
//   implicit_gemm   conv2d_implicit_gemm.cu   the same products, patches never written
#include "conv2d.cuh"
#include "conv2d_bias_gradient.cuh"

// The idea: the formula. Neighbouring threads have neighbouring j, so they read the same weight
// (one load per warp) and, with a stride of 1, neighbouring elements of x.
template <typename T>
__global__ void conv2d_forward_naive(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    const ConvShape s) {
    const int index = flat_index();
    if (index >= s.N * s.O * s.OH * s.OW) return;
    const Index3 out = unravel(index, s.OH, s.OW);
    const int n = out.a / s.O, o = out.a % s.O;
    const int first = o / s.filters_per_group() * s.channels_per_group();
    const T* image = x + (n * s.C + first) * s.H * s.W;
    const T* filter = w + o * s.taps();

    typename Accumulator<T>::type sum = b ? b[o] : T(0);
    for (int c = 0; c < s.channels_per_group(); ++c)
        for (int k = 0; k < s.KH; ++k)
            for (int l = 0; l < s.KW; ++l) {
                const int offset = s.input_offset(out.b, out.c, k, l);
                if (offset >= 0)
                    sum += filter[(c * s.KH + k) * s.KW + l] * image[c * s.H * s.W + offset];
            }
    y[index] = sum;
}

// The idea: a gather: each element of x collects from the outputs whose window covers it. In a
// scatter, each output adding to the elements that its window covers, several threads would add to
// one number: that needs atomics, whose order, and so whose rounding, changes from run to run.
template <typename T>
__global__ void conv2d_data_gradient_naive(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const ConvShape s) {
    const int index = flat_index();
    if (index >= s.N * s.C * s.H * s.W) return;
    const Index3 in = unravel(index, s.H, s.W);
    const int n = in.a / s.C, channel = in.a % s.C;
    const int group = channel / s.channels_per_group(), c = channel % s.channels_per_group();
    const int first = group * s.filters_per_group();
    const T* outputs = gy + (n * s.O + first) * s.OH * s.OW;
    const T* filters = w + (first * s.channels_per_group() + c) * s.window_size();

    typename Accumulator<T>::type sum = 0;
    for (int k = 0; k < s.KH; ++k)
        for (int l = 0; l < s.KW; ++l) {
            const int offset = s.output_offset(in.b, in.c, k, l);
            if (offset < 0) continue;
            for (int o = 0; o < s.filters_per_group(); ++o)
                sum += filters[o * s.taps() + k * s.KW + l] * outputs[o * s.OH * s.OW + offset];
        }
    gx[index] = sum;
}

// The idea: each weight sums over all outputs of all images. A sum that long loses digits in one
// accumulator, each addition being rounded to the size of the total; so each image is summed up by
// itself, and then added.
template <typename T>
__global__ void conv2d_weight_gradient_naive(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const ConvShape s) {
    const int index = flat_index();
    if (index >= s.O * s.taps()) return;
    const Index3 tap = unravel(index, s.KH, s.KW);
    const int o = tap.a / s.channels_per_group(), c = tap.a % s.channels_per_group();
    const int channel = o / s.filters_per_group() * s.channels_per_group() + c;

    typename Accumulator<T>::type sum = 0;
    for (int n = 0; n < s.N; ++n) {
        const T* image = x + (n * s.C + channel) * s.H * s.W;
        const T* outputs = gy + (n * s.O + o) * s.OH * s.OW;
        typename Accumulator<T>::type image_sum = 0;
        for (int i = 0; i < s.OH; ++i)
            for (int j = 0; j < s.OW; ++j) {
                const int offset = s.input_offset(i, j, tap.b, tap.c);
                if (offset >= 0) image_sum += outputs[i * s.OW + j] * image[offset];
            }
        sum += image_sum;
    }
    gw[index] = sum;
}

// The idea: one block for each channel o and each part of the batch: conv2d_bias_gradient.cuh.
template <typename T>
__global__ void conv2d_bias_gradient(const T* __restrict__ gy, T* __restrict__ gb,
                                     T* __restrict__ partials, unsigned* __restrict__ arrived,
                                     const int N, const int O, const int P, const int images) {
    BiasGradient<T>{gb, partials, arrived, images}.reduce(gy, N, O, P, blockIdx.x);
}
