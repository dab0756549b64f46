#include <assert.h>
#include <iostream>
#include <algorithm>
#include "nvmatrix_kernels.cuh"

using namespace std;

/* What a softmax costs: the logarithm of the wanted class's share, and whether none is larger */
__global__ void kClassCosts(const float* shares, const float* wanted, const float* largest, float* logShares,
                            float* hits, const int numCases, const int numOut) {
  const int column = MUL24(blockIdx.x, blockDim.x) + threadIdx.x;
  if (column >= numCases) return;
  const float share = shares[int(wanted[column]) * numCases + column];
  logShares[column] = __logf(share);
  // a hit is divided among classes that are as likely
  int ties = 0;
  for (int c = 0; c < numOut; c++) {
    if (shares[c * numCases + column] == largest[column]) ties++;
  }
  hits[column] = share == largest[column] ? 1.0f / ties : 0;
}

/* Gradients of a softmax and its costs at once; a column per case */
template <bool add>
__global__ void kSoftmaxCostGrad(float* y_l, float* labels, float* dE_dx_l, const int numCases, const int numOut,
                                 const float gradCoeff) {
  const int tx = blockIdx.x * ADD_VEC_X + threadIdx.x;
  const int ty = blockIdx.y * ADD_VEC_Y + threadIdx.y;
  const int at = tx + numCases * ty;
  if (ty < numOut && tx < numCases) {
    const int wanted = (int)labels[tx];
    const float v = gradCoeff * ((wanted == ty) - y_l[at]);
    if (add) {
      dE_dx_l[at] += v;
    } else {
      dE_dx_l[at] = v;
    }
  }
}

/* Multiply-with-carry generators, one per thread; what they keep stays in global memory */
typedef unsigned long long uint64;
__constant__ unsigned int rndMults[16];

__global__ void kRandomDropout(uint64* rndWords, float* acts, const float keep, unsigned int numElements) {
  const unsigned int idx = MUL24(blockIdx.x, blockDim.x) + threadIdx.x;
  uint64 rndWord = rndWords[idx];
  const unsigned int rndMult = rndMults[idx % 16];
  for (unsigned int i = idx; i < numElements; i += gridDim.x * blockDim.x) {
    rndWord = rndMult * (rndWord & 0xFFFFFFFFull) + (rndWord >> 32);
    const float rnd = __uint2float_rn((unsigned int)(rndWord >> 8) & 0xFFFFFF) / 16777216.0f;
    acts[i] = rnd < keep ? acts[i] : 0;
  }
  rndWords[idx] = rndWord;
}

void logistic(const float* in, float* out, int rows, int cols) {
  dim3 blocks(DIVUP(cols, ELTWISE_X), std::min(128, DIVUP(rows, ELTWISE_Y)));
  dim3 threads(ELTWISE_X, ELTWISE_Y);
  kMapUnary<EltwiseOps::Logistic><<<blocks, threads>>>(in, out, rows, cols, cols, cols, EltwiseOps::Logistic());
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    cerr << "kMapUnary: " << cudaGetErrorString(status) << endl;
    exit(1);
  }
  kAggRowsWide<<<rows, AGG_THREADS>>>(out, out, cols, RowAggs::Max());
}
