// block_sums.cu -- a whole program as it comes from nvcc's users: ../your-kernels.md runs its kernels.
#include <cstdio>
#include <cuda_runtime.h>
#include <vector>

#define CHECK(call)                                                              \
    do {                                                                         \
        if ((call) != cudaSuccess) return fprintf(stderr, "%s failed\n", #call); \
    } while (0)

constexpr int THREADS = 128;
__constant__ float weights[4];
__device__ int calls;

struct Range {
    int begin, end;
};

// sums[b] = sum over i of block b of weights[i % 4] x[i], of the x in a range
__global__ void __launch_bounds__(THREADS) block_sums(const float* x, float* sums, Range range) {
    __shared__ float partial[THREADS];
    const int i = range.begin + blockIdx.x * THREADS + threadIdx.x;
    partial[threadIdx.x] = i < range.end ? weights[i % 4] * x[i] : 0.f;
    __syncthreads();
    for (int step = THREADS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) partial[threadIdx.x] += partial[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = partial[0], atomicAdd(&calls, 1);
}

int main() {
    const int n = 1 << 20, blocks = (n + THREADS - 1) / THREADS;
    std::vector<float> x(n, 1.f), sums(blocks);
    const float ones[4] = {1, 1, 1, 1};
    float *on_device, *sums_on_device;
    CHECK(cudaMemcpyToSymbol(weights, ones, sizeof(ones)));
    CHECK(cudaMalloc(&on_device, n * sizeof(float)));
    CHECK(cudaMalloc(&sums_on_device, blocks * sizeof(float)));
    CHECK(cudaMemcpy(on_device, x.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    block_sums<<<blocks, THREADS>>>(on_device, sums_on_device, Range{0, n});
    CHECK(cudaMemcpy(sums.data(), sums_on_device, blocks * sizeof(float), cudaMemcpyDeviceToHost));
    printf("%f\n", sums[0]);
}
