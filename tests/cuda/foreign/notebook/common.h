// What the files of this folder have in common: checks, packs of 16 bytes, sums over warps.
#pragma once
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WARP_SIZE 32U

template <class T>
__host__ __device__ T ceil_div(T a, T b) {
    return a / b + (a % b != 0);
}

__device__ float sum_over_warp(float x) {
    for (int distance = 1; distance < 32; distance *= 2) x += __shfl_xor_sync(~0u, x, distance);
    return x;
}

__device__ inline float max_over_warp(float x) {
    for (int distance = 1; distance < 32; distance *= 2) {
        x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
    }
    return x;
}

inline void gpu_check(cudaError_t status, const char *where, int line) {
    if (status == cudaSuccess) return;
    fprintf(stderr, "%s, line %d: %s\n", where, line, cudaGetErrorName(status));
    exit(EXIT_FAILURE);
}
#define gpuCheck(call) gpu_check((call), __FILE__, __LINE__)

#ifdef WITH_BF16
#include <cuda_bf16.h>
typedef __nv_bfloat16 floatX;
#else
#ifdef WITH_FP16
#include <cuda_fp16.h>
typedef half floatX;
#else
typedef float floatX;
#endif
#endif

// 16 bytes of numbers, which travel in one instruction
template <class Number>
struct alignas(16) Packed {
    static constexpr const size_t size = 16 / sizeof(Number);
    Number numbers[size];

    __device__ Packed() = default;
    __device__ explicit Packed(int4 raw) {
        static_assert(sizeof(raw) == sizeof(numbers), "a pack has 16 bytes");
        memcpy(numbers, &raw, sizeof(numbers));
    }
    __device__ Number &operator[](int i) { return numbers[i]; }
    __device__ const Number &operator[](int i) const { return numbers[i]; }
    __device__ int4 raw() const {
        int4 result;
        memcpy(&result, numbers, sizeof(numbers));
        return result;
    }
};

typedef Packed<float> pack_f;
typedef Packed<floatX> pack_x;

template <class Number>
__device__ Packed<Number> load_pack(const Number *from) {
    return Packed<Number>{*(const int4 *)from};
}
template <class Number>
__device__ Packed<Number> load_pack_once(const Number *from) {
    return Packed<Number>{__ldcs((const int4 *)from)};
}
template <class Number>
__device__ void store_pack(Number *to, Packed<Number> pack) {
    *(int4 *)to = pack.raw();
}
template <class Number>
__device__ void store_pack_once(Number *to, Packed<Number> pack) {
    __stcs((int4 *)to, pack.raw());
}

inline float *random_floats(size_t count) {
    float *numbers = new float[count];
    for (float *x = numbers; x < numbers + count; x++) *x = 2.0f * rand() / RAND_MAX - 1.0f;
    return numbers;
}

// the mean time of a launch in milliseconds
template <class Launch, class... Args>
float timed(int times, Launch launch, Args &&...args) {
    cudaEvent_t events[2];
    for (auto &event : events) gpuCheck(cudaEventCreate(&event));
    gpuCheck(cudaEventRecord(events[0]));
    for (int i = 0; i < times; i++) launch(args...);
    gpuCheck(cudaEventRecord(events[1]));
    gpuCheck(cudaEventSynchronize(events[1]));
    float ms = 0;
    gpuCheck(cudaEventElapsedTime(&ms, events[0], events[1]));
    return ms / times;
}
