// asynchronous_copies.cu -- copies into shared memory that are waited for later.
// needs: sm_80
#include "common.cuh"
#if !defined(MINIALEX_EMULATED)
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_pipeline.h>
#endif

// Tiles of 32 numbers are summed up, each copied while the one before it is added: y[i] is the sum of
// x[i], x[i + 32], ...
__global__ void pipeline(const float* x, float* y, const int tiles) {
    __shared__ float stage[2][32];
    const int i = threadIdx.x;
    __pipeline_memcpy_async(&stage[0][i], x + i, 4);
    __pipeline_commit();
    float sum = 0;
    for (int t = 0; t < tiles; ++t) {
        if (t + 1 < tiles) __pipeline_memcpy_async(&stage[(t + 1) % 2][i], x + 32 * (t + 1) + i, 4);
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();  // the copies of others are there
        sum += stage[t % 2][31 - i];
        __syncthreads();  // the tile has been read
    }
    y[31 - i] = sum;
}

// Each block reverses its n numbers.
__global__ void reversed(const float* x, float* y, const int n) {
    extern __shared__ float row[];
    const auto block = cooperative_groups::this_thread_block();
    cooperative_groups::memcpy_async(block, row, x + blockIdx.x * n, sizeof(float) * n);
    cooperative_groups::wait(block);
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[blockIdx.x * n + i] = row[n - 1 - i];
}

// A thread's own copy, of 8 bytes of which the last 4 are zeros; and an address there and back.
__global__ void own(const float* x, float* y) {
    __shared__ __align__(16) float pairs[32][2];
    const int i = threadIdx.x;
    __pipeline_memcpy_async(pairs[i], x + 2 * i, 8, 4);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    const size_t address = __cvta_generic_to_shared(pairs[i]);
    const float* back = static_cast<const float*>(__cvta_shared_to_generic(address));
    y[2 * i] = back[0], y[2 * i + 1] = back[1] + (address % 8 == 0 && address < (1u << 18) && __isShared(back));
}
