#include <helper_functions.h>
#include <helper_cuda.h>

#include "optionPrices_kernel.cuh"

#define DIV_UP(a, b) (((a) + (b)-1) / (b))

/* The value of a call from a binomial tree, a block per option: the tree's leaves lie in
   shared memory, and each level is one element shorter. */
#define STEPS 96
typedef struct {
  float S;
  float X;
  float vDt;
  float puByDf;
  float pdByDf;
} TreeOption;

#define MAX_OPTIONS 32
static __constant__ TreeOption d_Options[MAX_OPTIONS];
__device__ float d_TreeValue[MAX_OPTIONS];

__device__ inline float payoff(float S, float X, float vDt, int i) {
  const float gain = S * expf(vDt * (2.0f * i - STEPS)) - X;
  return gain > 0 ? gain : 0;
}

__global__ void priceByTree(float *values) {
  __shared__ float level[STEPS + 1];
  const TreeOption option = d_Options[blockIdx.x];
  for (int i = threadIdx.x; i <= STEPS; i += blockDim.x)
    level[i] = payoff(option.S, option.X, option.vDt, i);
  for (int length = STEPS; length > 0; --length) {
    float kept[(STEPS + 31) / 32];
    __syncthreads();  // the level is whole
#pragma unroll
    for (int k = 0, i = threadIdx.x; i < length; ++k, i += blockDim.x)
      kept[k] = option.puByDf * level[i + 1] + option.pdByDf * level[i];
    __syncthreads();  // and has been read
    for (int k = 0, i = threadIdx.x; i < length; ++k, i += blockDim.x) level[i] = kept[k];
  }
  if (threadIdx.x == 0) {
    values[blockIdx.x] = level[0];
    d_TreeValue[blockIdx.x] = level[0];
  }
}

extern "C" void priceAll(float *call, float *put, float *spot, float *strike, float *years,
                         TreeOption *trees, float *values, int n) {
  priceOptions<<<DIV_UP(n / 2, 128), 128>>>((float2 *)call, (float2 *)put, (float2 *)spot,
                                            (float2 *)strike, (float2 *)years, 0.02f, 0.3f, n);
  getLastCudaError("priceOptions() failed");
  checkCudaErrors(cudaMemcpyToSymbol(d_Options, trees, n * sizeof(TreeOption)));
  priceByTree<<<n, 32>>>(values);
  getLastCudaError("priceByTree() failed");
}
