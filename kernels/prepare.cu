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
// Launch:  one block of whole warps per image.
// Cost:    3 bytes in and 12 out per pixel.
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

// One image: its crop and its adjustments.
struct Image {
    const unsigned char* corner;
    int row, H, W;
    bool mirrored;
    int order[ADJUSTMENTS];
    float factor[ADJUSTMENTS];

    __device__ Image(const unsigned char* image, const int* transforms, const float* factors,
                     const int IW, const int H, const int W)
        : corner(image + (transforms[0] * IW + transforms[1]) * 3), row(IW * 3), H(H), W(W),
          mirrored(transforms[2] != 0) {
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
        const unsigned char* at = corner + i / W * row + j * 3;
        Colour x = {at[0] * (1 / 255.0f), at[1] * (1 / 255.0f), at[2] * (1 / 255.0f)};
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

// The idea: a block-stride loop over pixels: a warp reads 96 consecutive bytes and writes 32
// consecutive numbers of each plane.
__global__ void __launch_bounds__(1024) prepare(const unsigned char* __restrict__ images,
                                                const int* __restrict__ transforms,
                                                const float* __restrict__ factors,
                                                float* __restrict__ y, const int IH, const int IW,
                                                const int H, const int W) {
    const size_t n = blockIdx.x;
    const int pixels = H * W;
    const Image image(images + n * IH * IW * 3, transforms + n * 7, factors + n * ADJUSTMENTS, IW, H, W);
    float mean = 0;
    // All threads of the block have the same image, so all or none take part in block_sum.
    if (image.has_contrast()) {
        float sum = 0;
        for (int i = threadIdx.x; i < pixels; i += blockDim.x) sum += grey(image.pixel(i, true, 0));
        mean = block_sum(sum) / pixels;
    }
    float* const plane = y + n * 3 * pixels;
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        const Colour x = image.pixel(i, false, mean);
        plane[i] = 2 * x.red - 1;
        plane[i + pixels] = 2 * x.green - 1;
        plane[i + 2 * pixels] = 2 * x.blue - 1;
    }
}
