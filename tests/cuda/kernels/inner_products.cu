// inner_products.cu -- one instruction of a tensor core for every eight inner products.
// needs: sm_80
#include "common.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "mma.cuh"

__device__ unsigned held(const float* p) { return __float_as_uint(*p); }
template <typename T> __device__ unsigned held(const T* p) {
    return *reinterpret_cast<const unsigned*>(p);
}
__device__ void tile(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], float) { mma_tf32(d, a, b); }
__device__ void tile(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __half) { mma_f16(d, a, b); }
__device__ void tile(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __nv_bfloat16) { mma_bf16(d, a, b); }

// d[r] += the inner product of a[r] and b[r], for as many records r as there are threads / 4: they
// are the diagonal of a product of matrices. a and b have 32 bytes a record.
// instances: T = float, __half, __nv_bfloat16
template <typename T>
__global__ void inner_products(const T* __restrict__ a, const T* __restrict__ b, float* __restrict__ d) {
    constexpr int EACH = 4 / sizeof(T), K = 8 * EACH;
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4, first = blockIdx.x * 8;
    const T *row = a + (first + g) * K + EACH * t, *column = b + (first + g) * K + EACH * t;
    const unsigned fa[4] = {held(row), 0, held(row + K / 2), 0};
    const unsigned fb[2] = {held(column), held(column + K / 2)};
    float fd[4] = {};
    for (int i = 0; i < 2; ++i)
        if (2 * t + i == g) fd[i] = d[first + g];
    tile(fd, fa, fb, T());
    for (int i = 0; i < 2; ++i)
        if (2 * t + i == g) d[first + g] = fd[i];
}
