// conv2d.cu -- two-dimensional convolution: the plainest kernels, and the bias gradient that all
// rungs share. Python side: minialex/ops/conv2d/.
//
//   forward           y[n, o, i, j]   = b[o] + sum over c, k, l of w[o, c, k, l] x[n, g C/G + c, h, w]
//   data gradient     gx[n, c, h, w]  = sum over o, k, l of w[o, c, k, l] gy[n, o, i, j]
//   weight gradient   gw[o, c, k, l]  = sum over n, i, j of gy[n, o, i, j] x[n, g C/G + c, h, w]
//   bias gradient     gb[o]           = sum over n, i, j of gy[n, o, i, j]
//
// where (h, w) = (i sh - ph + k dh, j sw - pw + l dw), x is zero outside the image, and g is the
// group of o. conv2d.cuh says how the two ways of reading this meet.
//
// Layout:  x (N, C, H, W), w (O, C / groups, KH, KW), b (O,), y (N, O, OH, OW), C-contiguous.
// Launch:  naive: a 1-D grid of 1-D blocks, one thread a number of the result.
//          bias gradient: a 1-D grid of O * parts blocks of whole warps, `images` images to a part.
// Cost:    2 O C/G KH KW N OH OW operations in each of the first three. The naive kernels fetch two
//          numbers for every two operations and live off the caches: they are here to be read, and
//          as the yardstick for the rungs above them:
//
//   naive           conv2d.cu                 one thread a number, everything from memory
//   tiled           conv2d_tiled.cu           blocks share what they fetch through shared memory
//   im2col          conv2d_im2col.cu          patches written out, then plain matrix products
//   implicit_gemm   conv2d_implicit_gemm.cu   the same products, patches never written
#include "conv2d.cuh"
#include "conv2d_bias_gradient.cuh"

// The idea: the formula. Neighbouring threads have neighbouring j, so they read the same weight
// (one fetch for the warp) and, with a stride of 1, neighbouring elements of x.
template <typename T>
__global__ void conv2d_forward_naive(
    const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y,
    const ConvShape s) {
    const int index = flat_index();
    if (index >= s.N * s.O * s.OH * s.OW) return;
    const Triple place = split(index, s.OH, s.OW);
    const int n = place.a / s.O, o = place.a % s.O;
    const int first = o / s.group_filters() * s.group_channels();
    const T* image = x + (n * s.C + first) * s.H * s.W;
    const T* filter = w + o * s.taps();

    typename Accumulator<T>::type sum = b ? b[o] : T(0);
    for (int c = 0; c < s.group_channels(); ++c)
        for (int k = 0; k < s.KH; ++k)
            for (int l = 0; l < s.KW; ++l) {
                const int met = s.met_by(place.b, place.c, k, l);
                if (met >= 0) sum += filter[(c * s.KH + k) * s.KW + l] * image[c * s.H * s.W + met];
            }
    y[index] = sum;
}

// The idea: each element of x asks which outputs it went into (a gather). The other way round,
// each output adding to the elements that its window covers, several threads would add to one
// number: that needs atomics, whose order, and so whose rounding, changes from run to run.
template <typename T>
__global__ void conv2d_data_gradient_naive(
    const T* __restrict__ gy, const T* __restrict__ w, T* __restrict__ gx, const ConvShape s) {
    const int index = flat_index();
    if (index >= s.N * s.C * s.H * s.W) return;
    const Triple place = split(index, s.H, s.W);
    const int n = place.a / s.C, channel = place.a % s.C;
    const int group = channel / s.group_channels(), c = channel % s.group_channels();
    const int first = group * s.group_filters();
    const T* outputs = gy + (n * s.O + first) * s.OH * s.OW;
    const T* filters = w + (first * s.group_channels() + c) * s.window();

    typename Accumulator<T>::type sum = 0;
    for (int k = 0; k < s.KH; ++k)
        for (int l = 0; l < s.KW; ++l) {
            const int from = s.reaching(place.b, place.c, k, l);
            if (from < 0) continue;
            for (int o = 0; o < s.group_filters(); ++o)
                sum += filters[o * s.taps() + k * s.KW + l] * outputs[o * s.OH * s.OW + from];
        }
    gx[index] = sum;
}

// The idea: each weight walks over all outputs of all images. A sum that long loses digits when
// it is kept in one number, each addition being rounded to the size of the total; so an image is
// summed up by itself, and then added.
template <typename T>
__global__ void conv2d_weight_gradient_naive(
    const T* __restrict__ gy, const T* __restrict__ x, T* __restrict__ gw, const ConvShape s) {
    const int index = flat_index();
    if (index >= s.O * s.taps()) return;
    const Triple place = split(index, s.KH, s.KW);
    const int o = place.a / s.group_channels(), c = place.a % s.group_channels();
    const int channel = o / s.group_filters() * s.group_channels() + c;

    typename Accumulator<T>::type sum = 0;
    for (int n = 0; n < s.N; ++n) {
        const T* image = x + (n * s.C + channel) * s.H * s.W;
        const T* outputs = gy + (n * s.O + o) * s.OH * s.OW;
        typename Accumulator<T>::type image_sum = 0;
        for (int i = 0; i < s.OH; ++i)
            for (int j = 0; j < s.OW; ++j) {
                const int met = s.met_by(i, j, place.b, place.c);
                if (met >= 0) image_sum += outputs[i * s.OW + j] * image[met];
            }
        sum += image_sum;
    }
    gw[index] = sum;
}

// The idea: one block for each channel o and each part of the batch: conv2d_bias_gradient.cuh.
template <typename T>
__global__ void conv2d_bias_gradient(const T* __restrict__ gy, T* __restrict__ gb,
                                     T* __restrict__ parts, unsigned* __restrict__ arrived,
                                     const int N, const int O, const int P, const int images) {
    BiasGradient<T>{gb, parts, arrived, images}.add_up(gy, N, O, P, blockIdx.x);
}
