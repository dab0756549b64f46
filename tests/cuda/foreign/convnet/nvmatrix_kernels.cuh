/*
 * Kernels over matrices of floats: element by element, rows, columns.
 */
#ifndef NVMATRIX_KERNELS_CUH
#define NVMATRIX_KERNELS_CUH

#include <cublas.h>

#define ELTWISE_X 16
#define ELTWISE_Y 4
#define FLIP_TILE 16
#define AGG_THREADS 64
#define ADD_VEC_X 32
#define ADD_VEC_Y 4
#ifndef DIVUP
#define DIVUP(x, y) ((x) / (y) + ((x) % (y) != 0))
#endif
#define MUL24(x, y) __mul24(x, y)

class EltwiseOps {
 public:
  class Logistic {
   public:
    __device__ inline float operator()(const float a) const { return __fdividef(1.0f, 1.0f + __expf(-a)); }
  };
  class Square {
   public:
    __device__ inline float operator()(const float a) const { return a * a; }
  };
  class ClampTo {
   private:
    const float low, high;

   public:
    ClampTo(float _low, float _high) : low(_low), high(_high) {}
    __device__ inline float operator()(const float a) const { return a < low ? low : (a > high ? high : a); }
  };
  class SquaredDiff {
   public:
    __device__ inline float operator()(const float a, const float b) const { return (a - b) * (a - b); }
  };
  class WeightedAdd {
   private:
    const float scaleA, scaleB;

   public:
    WeightedAdd(float _scaleA, float _scaleB) : scaleA(_scaleA), scaleB(_scaleB) {}
    __device__ inline float operator()(const float a, const float b) const { return a * scaleA + b * scaleB; }
  };
};

class RowAggs {
 public:
  class Sum {
   public:
    __device__ inline float operator()(const float a, const float b) const { return a + b; }
    __device__ inline float getBaseValue() { return 0; }
  };
  class Max {
   public:
    __device__ inline float operator()(const float a, const float b) const { return a > b ? a : b; }
    __device__ inline float getBaseValue() { return -2e38f; }
  };
};

/* Matrices with strides: a block goes over the rows from blockIdx.y on. */
template <class Op>
__global__ void kMapUnary(const float* a, float* const dest, const uint height, const uint width,
                          const uint strideA, const uint strideDest, Op op) {
  const uint x = MUL24(blockIdx.x, ELTWISE_X) + threadIdx.x;
  for (uint y = MUL24(blockIdx.y, ELTWISE_Y) + threadIdx.y; y < height; y += gridDim.y * ELTWISE_Y) {
    if (x < width) {
      const float before = a[x + strideA * y];
      dest[x + strideDest * y] = op(before);
    }
  }
}

template <class Op>
__global__ void kMapBinary(const float* a, const float* b, float* const dest, const uint numElements, Op op) {
  const uint step = MUL24(gridDim.x, blockDim.x);
  for (uint i = MUL24(blockIdx.x, blockDim.x) + threadIdx.x; i < numElements; i += step) {
    dest[i] = op(a[i], b[i]);
  }
}

/* b is transposed: read by tiles, so that both are read along rows. */
template <class Op, bool checkBounds>
__global__ void kMapBinaryTrans(const float* a, const float* b, float* const dest, const uint height,
                                const uint width, Op op) {
  __shared__ float shmem[FLIP_TILE][FLIP_TILE + 1];
  const uint left = FLIP_TILE * blockIdx.x, top = FLIP_TILE * blockIdx.y;
  const uint bx = top + threadIdx.x, by = left + threadIdx.y;
  if (!checkBounds || (bx < height && by < width)) {
    shmem[threadIdx.y][threadIdx.x] = b[by * height + bx];
  }
  __syncthreads(); // the tile of b
  const uint x = left + threadIdx.x, y = top + threadIdx.y;
  if (!checkBounds || (x < width && y < height)) {
    dest[y * width + x] = op(a[y * width + x], shmem[threadIdx.x][threadIdx.y]);
  }
}

template <class Op>
__global__ void kRowVector(const float* mat, const float* vec, float* const tgtMat, const uint width,
                           const uint height, Op op) {
  __shared__ float shVec[ADD_VEC_X];
  const uint bx = ADD_VEC_X * blockIdx.x, by = ADD_VEC_Y * blockIdx.y;
  const uint tid = ADD_VEC_X * threadIdx.y + threadIdx.x;
  if (tid < ADD_VEC_X && bx + tid < width) {
    shVec[tid] = vec[bx + tid];
  }
  __syncthreads(); // shVec
  if (bx + threadIdx.x < width) {
    for (uint y = by + threadIdx.y; y < height; y += gridDim.y * ADD_VEC_Y) {
      tgtMat[y * width + bx + threadIdx.x] = op(mat[y * width + bx + threadIdx.x], shVec[threadIdx.x]);
    }
  }
}

/* A block per row; the warp at the end goes without the other ones. */
template <class Agg>
__global__ void kAggRowsWide(const float* mat, float* matSum, const uint width, Agg agg) {
  __shared__ float accum[AGG_THREADS];
  mat += blockIdx.x * width;
  float val = agg.getBaseValue();
  for (uint x = threadIdx.x; x < width; x += AGG_THREADS) {
    val = agg(val, mat[x]);
  }
  accum[threadIdx.x] = val;
  __syncthreads(); // accum
  if (threadIdx.x < 32) {
    volatile float* warpAccum = accum;
    warpAccum[threadIdx.x] = agg(warpAccum[threadIdx.x], warpAccum[threadIdx.x + 32]);
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) {
      __syncwarp();
      float other = warpAccum[threadIdx.x + d];
      __syncwarp();
      warpAccum[threadIdx.x] = agg(warpAccum[threadIdx.x], other);
    }
    if (threadIdx.x == 0) {
      matSum[blockIdx.x] = accum[0];
    }
  }
}

/* Columns need no shared memory: a thread per column. */
template <class Agg, class Op>
__global__ void kAggColumns(const float* mat, float* vec, const uint width, const uint height, Agg agg, Op op) {
  const uint x = MUL24(blockIdx.x, AGG_THREADS) + threadIdx.x;
  if (x < width) {
    float mx = agg.getBaseValue();
    for (uint j = 0; j < height; j++) {
      mx = agg(mx, op(mat[j * width + x]));
    }
    vec[x] = mx;
  }
}

#endif
