// halves.cu -- half and bfloat16 arithmetic, and the tensor-core wrappers of mma.cuh.
// needs: sm_80
#include "common.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "mma.cuh"

// instances: T = __half, __nv_bfloat16
template <typename T>
__global__ void half_arithmetic(const T* __restrict__ x, T* __restrict__ y, float* __restrict__ z, const int n) {
    const int i = flat_index();
    if (i >= n) return;
    const T a = x[i], b = x[(i + 1) % n];
    y[i] = a + b, y[n + i] = a * b, y[2 * n + i] = a - b, y[3 * n + i] = __hfma(a, b, a);
    z[i] = float(a);
    z[n + i] = a < b;
}
__global__ void conversions(const float* __restrict__ x, unsigned short* __restrict__ h,
                            unsigned short* __restrict__ b, float* __restrict__ back, const int n) {
    const int i = flat_index();
    if (i >= n) return;
    h[i] = __half_as_ushort(__float2half(x[i]));
    b[i] = __bfloat16_as_ushort(__float2bfloat16(x[i]));
    back[i] = __half2float(__float2half(x[i]));
    back[n + i] = __bfloat162float(__float2bfloat16(x[i]));
    const __half2 pair = __floats2half2_rn(x[i], -x[i]);
    back[2 * n + i] = __low2float(pair) - __high2float(pair);
}

// One warp: D (16, 8) += A (16, 8) times B (8, 8), the operands rounded to TF32 or as they come.
__global__ void tf32_tile(const float* __restrict__ a, const float* __restrict__ b,
                          float* __restrict__ d, const bool rounded) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned fa[4], fb[2];
    for (int i = 0; i < 4; ++i) {
        const float v = a[(g + i % 2 * 8) * 8 + t + i / 2 * 4];
        fa[i] = rounded ? to_tf32(v) : __float_as_uint(v);
    }
    for (int i = 0; i < 2; ++i) {
        const float v = b[(t + i * 4) * 8 + g];
        fb[i] = rounded ? to_tf32(v) : __float_as_uint(v);
    }
    float fd[4];
    for (int i = 0; i < 4; ++i) fd[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    mma_tf32(fd, fa, fb);
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fd[i];
}

__device__ void tile(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __half) { mma_f16(d, a, b); }
__device__ void tile(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __nv_bfloat16) { mma_bf16(d, a, b); }

// One warp: D (16, 8) += A (16, 16) times the transpose of B (8, 16), twice in a row.
// instances: T = __half, __nv_bfloat16
template <typename T>
__global__ void half_tile(const T* __restrict__ a, const T* __restrict__ b, float* __restrict__ d) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned fa[4], fb[2];
    for (int i = 0; i < 4; ++i)
        fa[i] = *reinterpret_cast<const unsigned*>(a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8);
    for (int i = 0; i < 2; ++i) fb[i] = *reinterpret_cast<const unsigned*>(b + g * 16 + 2 * t + i * 8);
    float fd[4] = {0, 0, 0, 0};
    tile(fd, fa, fb, T());
    tile(fd, fa, fb, T());
    for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fd[i];
}
