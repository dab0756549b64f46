#include "local_weights.cuh"

/* Momentum with weight decay, as it was done then: v = mom v - eps wc w + eps g; w = w + v */
__global__ void kUpdateWeights(float* weights, float* increments, const float* grads, const float mom,
                               const float epsilon, const float wc, const RateKind kind, const int numElements) {
  const float decay = kind == DECAYED_RATE ? epsilon * wc : 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < numElements; i += gridDim.x * blockDim.x) {
    const float v = mom * increments[i] - decay * weights[i] + epsilon * grads[i];
    increments[i] = v;
    weights[i] += v;
  }
}

/* Columns that are longer than maxNorm are shortened to it */
template <int B_X>
__global__ void kLimitNorms(float* weights, const int numRows, const int numColumns, const float maxNorm) {
  __shared__ float norms[B_X], scales[B_X];
  const int column = blockIdx.x * B_X + threadIdx.x;
  float norm = 0;
  if (column < numColumns) {
    for (int r = threadIdx.y; r < numRows; r += blockDim.y) {
      norm += weights[r * numColumns + column] * weights[r * numColumns + column];
    }
  }
  if (threadIdx.y == 0) norms[threadIdx.x] = 0;
  __syncthreads(); // zeros
  atomicAdd(&norms[threadIdx.x], norm);
  __syncthreads(); // norms
  if (threadIdx.y == 0) {
    const float length = sqrtf(norms[threadIdx.x]);
    scales[threadIdx.x] = length > maxNorm ? maxNorm / length : 1;
  }
  __syncthreads(); // scales
  for (int r = threadIdx.y; column < numColumns && r < numRows; r += blockDim.y) {
    weights[r * numColumns + column] *= scales[threadIdx.x];
  }
}
