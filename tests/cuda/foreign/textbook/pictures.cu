#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string>

typedef unsigned char pixel;
typedef float (*op_t)(float, float);

#define CHANNELS 3
#define BLUR 1

namespace image {
namespace detail {
__device__ __forceinline__ pixel luminance(pixel r, pixel g, pixel b) {
    return (pixel)(0.21f * r + 0.71f * g + 0.07f * b);
}
}  // namespace detail

__global__ void toGrey(pixel *grey, const uchar3 *rgb, int width, int height) {
    const int2 at = make_int2(blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y);
    if (at.x < width && at.y < height) {
        const uchar3 c = rgb[at.y * width + at.x];
        grey[at.y * width + at.x] = detail::luminance(c.x, c.y, c.z);
    }
}

__global__ void blur(const unsigned char *in, unsigned char *out, int w, int h) {
    int col = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (col >= w || row >= h) return;
    int sum = 0, pixels = 0;
    for (int r = max(row - BLUR, 0); r <= min(row + BLUR, h - 1); ++r)
        for (int c = max(col - BLUR, 0); c <= min(col + BLUR, w - 1); ++c, ++pixels) sum += in[r * w + c];
    out[row * w + col] = (unsigned char)(sum / pixels);
}
}  // namespace image

__device__ float add(float a, float b) { return a + b; }
__device__ float larger(float a, float b) { return a > b ? a : b; }
__device__ op_t operations[2] = {add, larger};

// Which operation is a number: the table has the functions
__global__ void combine(const float *a, const float *b, float *c, int n, int which) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    op_t op = operations[which];
    if (i < n) c[i] = op(a[i], b[i]);
}

__device__ const int gamma_table[8] = {0, 4, 9, 15, 22, 30, 39, 49};
__device__ int overflows;

__global__ void lookUp(const uint8_t *in, int *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        int v = in[i];
        if (v > 7) {
            v = 7;
            atomicAdd(&overflows, 1);
        }
        out[i] = gamma_table[v];
    }
}

template <typename T>
__device__ void exchange(T &a, T &b) {
    T t = a;
    a = b;
    b = t;
}

// Odd and even neighbours in turn, until every element had time to walk through
template <typename Key>
__global__ void brickSort(Key *keys, const int n) {
    extern __shared__ unsigned char raw[];
    Key *own = reinterpret_cast<Key *>(raw);
    for (int i = threadIdx.x; i < n; i += blockDim.x) own[i] = keys[i];
    for (int turn = 0; turn < n; ++turn) {
        __syncthreads();
        const int i = 2 * threadIdx.x + (turn & 1);
        if (i + 1 < n && own[i] > own[i + 1]) exchange(own[i], own[i + 1]);
    }
    __syncthreads();  // sorted
    for (int i = threadIdx.x; i < n; i += blockDim.x) keys[i] = own[i];
}

// The rank of each element of one list in the other gives its place
__global__ void mergeByRank(const int *a, int na, const int *b, int nb, int *out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= na + nb) return;
    const bool first = i < na;
    const int own = first ? i : i - na;
    const int value = first ? a[own] : b[own];
    const int *other = first ? b : a;
    int low = 0, high = first ? nb : na;
    while (low < high) {
        int middle = (low + high) / 2;
        bool before = first ? other[middle] < value : other[middle] <= value;
        if (before) low = middle + 1;
        else high = middle;
    }
    out[own + low] = value;
}

int main(int argc, char **argv) {
    std::string name = argc > 1 ? argv[1] : "picture";
    uchar3 *rgb;
    pixel *grey;
    cudaMalloc(&rgb, 640 * 480 * sizeof(uchar3));
    cudaMalloc(&grey, 640 * 480);
    dim3 block(16, 16), grid((640 + block.x - 1) / block.x, (480 + block.y - 1) / block.y);
    image::toGrey<<<grid, block>>>(grey, rgb, 640, 480);
    assert(cudaGetLastError() == cudaSuccess);
    printf("%s is grey\n", name.c_str());
}
