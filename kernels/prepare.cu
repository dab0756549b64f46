// prepare.cu -- from bytes to the network's input. Python side: minialex/data/prepare/.
//
//   y[n, c, i, j] = 2 x - 1, where x is channel c of pixel (top + i, left + j) of image n / 255,
//                   column W - 1 - j in place of j where the image is mirrored,
//                   after the image's adjustments, in its own order:
//
//   0  brightness   x <- f x                          then clamped to 0 ... 1
//   1  contrast     x <- f x + (1 - f) mean           likewise; mean: of grey over the whole crop
//   2  saturation   x <- f x + (1 - f) grey           likewise
//   3  hue          the hue is rotated by f of the circle
//
// Layout:  images (N, IH, IW, 3) bytes; transforms (N, 7) is top, left, mirrored, and the adjustments
//          in order, -1 for none; factors (N, 4) their f; y (N, 3, H, W).
// Of crops of several sizes, the image is first brought to H x W by a filter along the rows and then
// down, in integers, as Pillow computes it: both sums are rounded to bytes.
//
//   r[k, j] = (2^21 + sum over t of  across[j, 1 + t] crop[k, across[j, 0] + t]) / 2^22
//   x[i, j] = (2^21 + sum over t of  down[i, 1 + t]   r[down[i, 0] + t, j])      / 2^22
//
//          crops: the bytes of all of them; starts (N,) where each begins; shapes (N, 2) their heights
//          and widths; across (N, W, 1 + taps) and down (N, H, 1 + taps): the first pixel, and weights
//          times 2^22; 0 ends those of a pixel that needs fewer.
// Launch:  one block of whole warps per image.
// Cost:    3 bytes in and 12 out per pixel; of crops as many bytes in as they have.
//
// Contrast needs the mean grey of the image as it is when its turn comes: after the adjustments
// before it. So where there is contrast the block makes two passes over its image. The first applies
// the earlier adjustments and sums up grey; the second applies all of them and writes. The second
// time the bytes (155 kB of a 227 x 227 image) come from the cache. One block per image keeps the
// sum inside a block, where its order is fixed: the same bits in every run and in every batch.
// Several blocks per image would have to synchronise, or to add up in the order they happen to
// finish in. The price is that fewer images than multiprocessors leave some of those idle.

struct Colour {
    float red, green, blue;
};

__device__ __forceinline__ float grey(const Colour& x) {
    return 0.2989f * x.red + 0.587f * x.green + 0.114f * x.blue;
}

__device__ __forceinline__ float clamp(const float x) { return min(max(x, 0.0f), 1.0f); }

// Interpolated or extrapolated between `other` and x, as PIL's ImageEnhance.
__device__ __forceinline__ Colour blend(const Colour& x, const float other, const float factor) {
    const float rest = (1 - factor) * other;
    return {clamp(factor * x.red + rest), clamp(factor * x.green + rest),
            clamp(factor * x.blue + rest)};
}

// One channel of the colour with this hue, in sixths of the circle; n is 5 for red, 3 for green and
// 1 for blue: value - chroma clip(min(k, 4 - k), 0, 1), with k = (n + hue) mod 6.
__device__ __forceinline__ float channel(const float n, const float hue, const float value,
                                         const float chroma) {
    float k = hue + n;
    k -= 6 * floorf(k * (1 / 6.0f));
    return value - chroma * clamp(min(k, 4 - k));
}

__device__ __forceinline__ Colour rotated_hue(const Colour& x, const float rotation) {
    const float value = max(x.red, max(x.green, x.blue));
    const float chroma = value - min(x.red, min(x.green, x.blue));
    const float above = value == x.red     ? x.green - x.blue
                        : value == x.green ? x.blue - x.red
                                           : x.red - x.green;
    const float sector = value == x.red ? 0.0f : value == x.green ? 2.0f : 4.0f;
    // A grey pixel has no hue: 0 over anything.
    const float hue = above / max(chroma, 1e-30f) + sector + 6 * rotation;
    return {channel(5, hue, value, chroma), channel(3, hue, value, chroma),
            channel(1, hue, value, chroma)};
}

enum Adjustment { NONE = -1, BRIGHTNESS, CONTRAST, SATURATION, HUE };
constexpr int ADJUSTMENTS = 4;

__device__ __forceinline__ Colour adjust(const Colour& x, const int adjustment, const float factor,
                                           const float mean) {
    switch (adjustment) {
        case BRIGHTNESS: return blend(x, 0, factor);
        case CONTRAST: return blend(x, mean, factor);
        case SATURATION: return blend(x, grey(x), factor);
        case HUE: return rotated_hue(x, factor);
        default: return x;
    }
}

// Where the bytes of an image come from: from a window in a larger one,
struct Window {
    const unsigned char* corner;
    int row;

    __device__ Window(const unsigned char* image, const int* transforms, const int IW)
        : corner(image + (transforms[0] * IW + transforms[1]) * 3), row(IW * 3) {}

    __device__ __forceinline__ Colour at(const int i, const int j) const {
        const unsigned char* const x = corner + i * row + j * 3;
        return {x[0] * (1 / 255.0f), x[1] * (1 / 255.0f), x[2] * (1 / 255.0f)};
    }
};

constexpr int WEIGHT_BITS = 22;

// A sum of bytes, each times its weight, as a byte again. It cannot exceed 255: the weights are not
// negative, and miss 2^22 by less than one each.
struct ByteSum {
    int red = 1 << (WEIGHT_BITS - 1), green = red, blue = red;

    __device__ __forceinline__ void add(const int weight, const int r, const int g, const int b) {
        red += weight * r;
        green += weight * g;
        blue += weight * b;
    }
    __device__ __forceinline__ ByteSum rounded() const {
        return {red >> WEIGHT_BITS, green >> WEIGHT_BITS, blue >> WEIGHT_BITS};
    }
};

// or from a crop of any size, by the filter. Each pixel computes anew the up to `taps` pixels of the
// rows' pass that it needs: what a wider table in shared memory would save is arithmetic, and a GPU
// has plenty of that while it waits for bytes.
struct Filtered {
    const unsigned char* crop;
    const int *across, *down;
    int row, taps;

    __device__ __forceinline__ ByteSum row_sum(const int i, const int j) const {
        const int* const weights = across + j * (1 + taps);
        const unsigned char* x = crop + i * row + weights[0] * 3;
        ByteSum sum;
        // Where the weights end there may be no pixel either.
        for (int t = 1; t <= taps && weights[t] != 0; ++t, x += 3)
            sum.add(weights[t], x[0], x[1], x[2]);
        return sum.rounded();
    }

    __device__ __forceinline__ Colour at(const int i, const int j) const {
        const int* const weights = down + i * (1 + taps);
        ByteSum sum;
        for (int t = 1; t <= taps && weights[t] != 0; ++t) {
            const ByteSum r = row_sum(weights[0] + t - 1, j);
            sum.add(weights[t], r.red, r.green, r.blue);
        }
        const ByteSum x = sum.rounded();
        return {x.red * (1 / 255.0f), x.green * (1 / 255.0f), x.blue * (1 / 255.0f)};
    }
};

// One image: its bytes and its adjustments.
template <typename Source>
struct Image {
    Source source;
    int H, W;
    bool mirrored;
    int order[ADJUSTMENTS];
    float factor[ADJUSTMENTS];

    __device__ Image(const Source& source, const int* transforms, const float* factors, const int H,
                     const int W)
        : source(source), H(H), W(W), mirrored(transforms[2] != 0) {
#pragma unroll
        for (int k = 0; k < ADJUSTMENTS; ++k) {
            order[k] = transforms[3 + k];
            factor[k] = factors[k];
        }
    }

    // The colour of pixel i of the result; with `before_contrast`, only the adjustments before it.
    __device__ __forceinline__ Colour pixel(const int i, const bool before_contrast,
                                            const float mean) const {
        const int j = mirrored ? W - 1 - i % W : i % W;
        Colour x = source.at(i / W, j);
#pragma unroll
        for (int k = 0; k < ADJUSTMENTS; ++k) {
            if (before_contrast && order[k] == CONTRAST) return x;
            x = adjust(x, order[k], factor[k], mean);
        }
        return x;
    }

    __device__ __forceinline__ bool has_contrast() const {
        bool found = false;
#pragma unroll
        for (int k = 0; k < ADJUSTMENTS; ++k) found = found || order[k] == CONTRAST;
        return found;
    }
};

// Write an image, by all threads of a block.
template <typename Source>
__device__ __forceinline__ void write(const Image<Source>& image, float* const plane) {
    const int pixels = image.H * image.W;
    float mean = 0;
    // All threads of the block have the same image, so all or none take part in block_sum.
    if (image.has_contrast()) {
        float sum = 0;
        for (int i = threadIdx.x; i < pixels; i += blockDim.x) sum += grey(image.pixel(i, true, 0));
        mean = block_sum(sum) / pixels;
    }
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        const Colour x = image.pixel(i, false, mean);
        plane[i] = 2 * x.red - 1;
        plane[i + pixels] = 2 * x.green - 1;
        plane[i + 2 * pixels] = 2 * x.blue - 1;
    }
}

// The idea: a block-stride loop over pixels: a warp reads 96 consecutive bytes and writes 32
// consecutive numbers of each plane.
__global__ void __launch_bounds__(1024) prepare(const unsigned char* __restrict__ images,
                                                const int* __restrict__ transforms,
                                                const float* __restrict__ factors,
                                                float* __restrict__ y, const int IH, const int IW,
                                                const int H, const int W) {
    const size_t n = blockIdx.x;
    const int* const moves = transforms + n * 7;
    const Window window(images + n * IH * IW * 3, moves, IW);
    write(Image<Window>(window, moves, factors + n * ADJUSTMENTS, H, W), y + n * 3 * H * W);
}

// The idea: the same loop, over pixels that are filtered from a crop as they are read. Neighbouring
// pixels share most of the bytes that they read, so these come from the cache. One block per
// multiprocessor: for two, NVRTC 13.5 gives a thread of sm_100 32 registers, which are not enough.
__global__ void __launch_bounds__(1024, 1)
prepare_crops(const unsigned char* __restrict__ crops, const long long* __restrict__ starts,
              const int* __restrict__ shapes, const int* __restrict__ across,
              const int* __restrict__ down, const int* __restrict__ transforms,
              const float* __restrict__ factors, float* __restrict__ y, const int taps, const int H,
              const int W) {
    const size_t n = blockIdx.x;
    const int entries = 1 + taps;
    const Filtered crop = {crops + starts[n], across + n * W * entries, down + n * H * entries,
                           shapes[2 * n + 1] * 3, taps};
    write(Image<Filtered>(crop, transforms + n * 7, factors + n * ADJUSTMENTS, H, W),
          y + n * 3 * H * W);
}
