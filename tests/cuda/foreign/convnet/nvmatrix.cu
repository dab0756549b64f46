#include <assert.h>
#include <iostream>
#include <algorithm>
#include "nvmatrix_kernels.cuh"

using namespace std;

/* The costs of a softmax: log-probability of the right label, and whether no label is likelier */
__global__ void kLogregCosts(float* probs, float* labels, float* maxProbs, float* labelLogProbs,
                             float* correctProbs, const int numCases, const int numOut) {
  const int tx = MUL24(blockIdx.x, blockDim.x) + threadIdx.x;
  if (tx < numCases) {
    const int label = int(labels[tx]);
    const float maxp = maxProbs[tx];
    const float labelp = probs[label * numCases + tx];
    labelLogProbs[tx] = __logf(labelp);
    if (labelp != maxp) {
      correctProbs[tx] = 0;
    } else {
      // shared with labels that are as likely
      int numMax = 0;
      for (int i = 0; i < numOut; i++) {
        numMax += probs[i * numCases + tx] == maxp;
      }
      correctProbs[tx] = 1.0f / float(numMax);
    }
  }
}

/* Gradients of a softmax and its costs at once; a column per case */
template <bool add>
__global__ void kSoftmaxCostGrad(float* y_l, float* labels, float* dE_dx_l, const int numCases, const int numOut,
                                 const float gradCoeff) {
  const int tx = blockIdx.x * ADD_VEC_X + threadIdx.x;
  const int ty = blockIdx.y * ADD_VEC_Y + threadIdx.y;
  const int tidx = ty * numCases + tx;
  if (ty < numOut && tx < numCases) {
    const int label = int(labels[tx]);
    const float v = gradCoeff * ((label == ty) - y_l[tidx]);
    if (add) {
      dE_dx_l[tidx] += v;
    } else {
      dE_dx_l[tidx] = v;
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
  cudaError_t err = cudaGetLastError();
  if (err != cudaSuccess) {
    cerr << "kMapUnary: " << cudaGetErrorString(err) << endl;
    exit(1);
  }
  kAggRowsWide<<<rows, AGG_THREADS>>>(out, out, cols, RowAggs::Max());
}
