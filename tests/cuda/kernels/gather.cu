// gather.cu -- accesses at any addresses: index[i] is where thread i of the launch reads and writes,
// counted in elements of WIDTH bytes; below 0 it does neither. Launch: one block of as many threads
// as there are indices.
#include "common.cuh"

template <int WIDTH> struct Element;
template <> struct Element<1> { using type = unsigned char; };
template <> struct Element<4> { using type = float; };
template <> struct Element<8> { using type = float2; };
template <> struct Element<16> { using type = float4; };

// instances: WIDTH = 1, 4, 8, 16
template <int WIDTH>
__global__ void gather_global(const unsigned char* __restrict__ x, const int* __restrict__ index,
                              unsigned char* __restrict__ y) {
    using T = typename Element<WIDTH>::type;
    const int at = index[threadIdx.x];
    if (at >= 0) {                                      // active
        const T v = reinterpret_cast<const T*>(x)[at];  // read
        reinterpret_cast<T*>(y)[at] = v;                // write
    }
}

// instances: WIDTH = 1, 4, 8, 16
template <int WIDTH>
__global__ void gather_shared(const unsigned char* __restrict__ x, const int* __restrict__ index,
                              unsigned char* __restrict__ y) {
    using T = typename Element<WIDTH>::type;
    __shared__ __align__(16) T tile[512];
    for (int i = threadIdx.x; i < 512; i += blockDim.x) tile[i] = reinterpret_cast<const T*>(x)[i];
    __syncthreads();
    const int at = index[threadIdx.x];
    T v{};
    if (at >= 0) v = tile[at];  // load
    __syncthreads();
    if (at >= 0) tile[at] = v;  // store
    reinterpret_cast<T*>(y)[threadIdx.x] = v;
}

__device__ __noinline__ float doubled(const float* a, int i) { return a[i] * 2; }  // in a function

// A function that is not inlined, a shuffle and an atomic, each twice and a branch behind each: lanes
// that part are together again after it. Launch: one block of 32 threads.
__global__ void calls(const float* __restrict__ x, float* __restrict__ y, float* __restrict__ z) {
    const int i = threadIdx.x;
    if (doubled(x, i) > 32) y[i] = 1;                         // first function
    z[i] = 1;                                                 // after the first function
    if (doubled(x, i + 1) > 40) y[i] = 2;                     // second function
    z[32 + i] = 2;                                            // after the second function
    if (__shfl_xor_sync(0xffffffffu, x[i], 1) > 16) y[i] = 3;  // first shuffle
    z[64 + i] = 3;                                            // after the first shuffle
    if (__shfl_xor_sync(0xffffffffu, x[i], 2) > 20) y[i] = 4;  // second shuffle
    z[96 + i] = 4;                                            // after the second shuffle
    atomicAdd(&y[i], 1.0f);
    if (x[i] > 9) y[i] = 5;                                   // after an atomic
    z[128 + i] = 5;                                           // after both
}
