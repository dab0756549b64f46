// prepare.cu -- from bytes to what the network takes. Python side: minialex/data/prepare.py.
//
//   y[n, c, i, j] = 2 x - 1, where x is channel c of pixel (top + i, left + j) of image n / 255,
//                   column W - 1 - j in place of j where the image is mirrored,
//                   after the image's adjustments, in its own order:
//
//   0  brightness   x <- f x                          then cut off at 0 and 1
//   1  contrast     x <- f x + (1 - f) mean           likewise; mean: of grey over the whole window
//   2  saturation   x <- f x + (1 - f) grey           likewise
//   3  hue          the colour circle is turned by f of itself
//
// Layout:  images (N, IH, IW, 3) bytes; moves (N, 7) is top, left, mirrored, and the numbers of the
//          adjustments in order, -1 for none; factors (N, 4) their f; y (N, 3, H, W).
// Launch:  a block of whole warps an image.
// Cost:    3 bytes in and 12 out a pixel.
//
// Contrast needs the mean grey of the image as it is when its turn comes: after the adjustments
// before it. So where there is contrast the block goes over its image twice. First it carries out
// the earlier adjustments on the fly and adds up grey; then it does all of them and writes. The
// second time the bytes (155 kB of a 227 x 227 image) come from the cache. One block an image keeps
// the sum inside a block, where its order is fixed: the same bits in every run and in every batch.
// Several blocks an image would have to meet halfway, or to add up in the order they happen to
// finish in. The price is that fewer images than multiprocessors leave some of those idle.

struct Colour {
    float red, green, blue;
};

__device__ __forceinline__ float grey(const Colour& x) {
    return 0.2989f * x.red + 0.587f * x.green + 0.114f * x.blue;
}

__device__ __forceinline__ float clamped(const float x) { return min(max(x, 0.0f), 1.0f); }

// Away from `other` by a factor.
__device__ __forceinline__ Colour blended(const Colour& x, const float other, const float factor) {
    const float rest = (1 - factor) * other;
    return {clamped(factor * x.red + rest), clamped(factor * x.green + rest),
            clamped(factor * x.blue + rest)};
}

// One channel of the colour with this hue, in sixths of the circle; n is 5 for red, 3 for green and
// 1 for blue: value - chroma clip(min(k, 4 - k), 0, 1), with k = (n + hue) mod 6.
__device__ __forceinline__ float channel(const float n, const float hue, const float value,
                                         const float chroma) {
    float k = hue + n;
    k -= 6 * floorf(k * (1 / 6.0f));
    return value - chroma * clamped(min(k, 4 - k));
}

__device__ __forceinline__ Colour turned(const Colour& x, const float turn) {
    const float value = max(x.red, max(x.green, x.blue));
    const float chroma = value - min(x.red, min(x.green, x.blue));
    const float above = value == x.red     ? x.green - x.blue
                        : value == x.green ? x.blue - x.red
                                           : x.red - x.green;
    const float sector = value == x.red ? 0.0f : value == x.green ? 2.0f : 4.0f;
    // A grey pixel has no hue: 0 over anything.
    const float hue = above / max(chroma, 1e-30f) + sector + 6 * turn;
    return {channel(5, hue, value, chroma), channel(3, hue, value, chroma),
            channel(1, hue, value, chroma)};
}

enum Adjustment { NONE = -1, BRIGHTNESS, CONTRAST, SATURATION, HUE };
constexpr int ADJUSTMENTS = 4;

__device__ __forceinline__ Colour adjusted(const Colour& x, const int which, const float factor,
                                           const float mean) {
    switch (which) {
        case BRIGHTNESS: return blended(x, 0, factor);
        case CONTRAST: return blended(x, mean, factor);
        case SATURATION: return blended(x, grey(x), factor);
        case HUE: return turned(x, factor);
        default: return x;
    }
}

// One image: where its window lies, and what happens to it.
struct Image {
    const unsigned char* corner;
    int row, H, W;
    bool mirrored;
    int which[ADJUSTMENTS];
    float factor[ADJUSTMENTS];

    __device__ Image(const unsigned char* image, const int* moves, const float* factors,
                     const int IW, const int H, const int W)
        : corner(image + (moves[0] * IW + moves[1]) * 3), row(IW * 3), H(H), W(W),
          mirrored(moves[2] != 0) {
#pragma unroll
        for (int turn = 0; turn < ADJUSTMENTS; ++turn) {
            which[turn] = moves[3 + turn];
            factor[turn] = factors[turn];
        }
    }

    // The colour of pixel i of the result; with `early`, as it is before contrast.
    __device__ __forceinline__ Colour pixel(const int i, const bool early, const float mean) const {
        const int j = mirrored ? W - 1 - i % W : i % W;
        const unsigned char* at = corner + i / W * row + j * 3;
        Colour x = {at[0] * (1 / 255.0f), at[1] * (1 / 255.0f), at[2] * (1 / 255.0f)};
#pragma unroll
        for (int turn = 0; turn < ADJUSTMENTS; ++turn) {
            if (early && which[turn] == CONTRAST) return x;
            x = adjusted(x, which[turn], factor[turn], mean);
        }
        return x;
    }

    __device__ __forceinline__ bool has_contrast() const {
        bool found = false;
#pragma unroll
        for (int turn = 0; turn < ADJUSTMENTS; ++turn) found = found || which[turn] == CONTRAST;
        return found;
    }
};

// The idea: each thread takes every blockDim.x-th pixel, so that a warp reads 96 bytes in a row and
// writes 32 numbers in a row of each plane.
__global__ void __launch_bounds__(1024) prepare(const unsigned char* __restrict__ images,
                                                const int* __restrict__ moves,
                                                const float* __restrict__ factors,
                                                float* __restrict__ y, const int IH, const int IW,
                                                const int H, const int W) {
    const size_t n = blockIdx.x;
    const int pixels = H * W;
    const Image image(images + n * IH * IW * 3, moves + n * 7, factors + n * ADJUSTMENTS, IW, H, W);
    float mean = 0;
    // All threads of the block have the same image, so all or none meet in the sum.
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
