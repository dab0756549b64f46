#include <iostream>
#include <assert.h>
#include <nvmatrix_kernels.cuh>
#include <conv_util.cuh>

using namespace std;

class MaxPooler {
 public:
  __device__ inline float operator()(const float a, const float b) const { return fmaxf(a, b); }
  __device__ inline float getBaseValue() const { return -2e38; }
  __device__ inline float output(const float a, const int regionSize) const { return a; }
};

class AvgPooler {
 public:
  __device__ inline float operator()(const float a, const float b) const { return a + b; }
  __device__ inline float getBaseValue() const { return 0; }
  __device__ inline float output(const float a, const int regionSize) const { return a / regionSize; }
};

/*
 * imgs: (numFilters, imgPixels, numImages); target: (numFilters, numOutputs, numImages)
 * blockIdx.y is an output; each thread takes imgsPerThread images of one filter.
 */
template <class Agg, int B_Y, int B_X, int imgsPerThread, bool checkCaseBounds>
__global__ void kPoolWindows(float* imgs, float* target, const int imgSize, const int numFilters,
                             const int numImages, const int subsX, const int startX, const int strideX,
                             const int outputsX, Agg agg) {
  const int imgIdx = blockIdx.x * B_X * imgsPerThread + threadIdx.x;
  const int filterIdx = blockIdx.z * B_Y + threadIdx.y;
  if (filterIdx >= numFilters) {
    return;
  }
  const int outX = blockIdx.y % outputsX, outY = blockIdx.y / outputsX;
  const int fromY = max(0, startX + outY * strideX), fromX = max(0, startX + outX * strideX);
  const int toY = min(imgSize, startX + outY * strideX + subsX);
  const int toX = min(imgSize, startX + outX * strideX + subsX);
  float prod[imgsPerThread];
#pragma unroll
  for (int i = 0; i < imgsPerThread; i++) {
    prod[i] = agg.getBaseValue();
  }
  imgs += filterIdx * imgSize * imgSize * numImages + imgIdx;
  target += (filterIdx * outputsX * outputsX + blockIdx.y) * numImages + imgIdx;
  for (int y = fromY; y < toY; y++) {
    for (int x = fromX; x < toX; x++) {
#pragma unroll
      for (int i = 0; i < imgsPerThread; i++) {
        if (!checkCaseBounds || i * B_X < numImages - imgIdx) {
          prod[i] = agg(prod[i], imgs[(y * imgSize + x) * numImages + i * B_X]);
        }
      }
    }
  }
  for (int i = 0; i < imgsPerThread; i++) {
    if (!checkCaseBounds || i * B_X < numImages - imgIdx) {
      target[i * B_X] = agg.output(prod[i], (toY - fromY) * (toX - fromX));
    }
  }
}

/* Gradients go to all pixels that are the largest of a window; a thread per pixel and image */
__global__ void kPoolMaxUndo(const float* imgs, const float* maxGrads, const float* maxActs, float* target,
                             const int imgSize, const int numImages, const int subsX, const int strideX,
                             const int outputsX) {
  const int img = blockIdx.x * blockDim.x + threadIdx.x;
  if (img >= numImages) return;
  const int pxX = blockIdx.y % imgSize, pxY = blockIdx.y / imgSize, filter = blockIdx.z;
  const int startY = pxY < subsX ? 0 : 1 + (pxY - subsX) / strideX;
  const int startX = pxX < subsX ? 0 : 1 + (pxX - subsX) / strideX;
  const int endY = min(outputsX, 1 + pxY / strideX), endX = min(outputsX, 1 + pxX / strideX);
  const float own = imgs[(filter * imgSize * imgSize + blockIdx.y) * numImages + img];
  float sum = 0;
  for (int my = startY; my != max(startY, endY); ++my) {
    for (int mx = startX; mx != max(startX, endX); ++mx) {
      const int at = (filter * outputsX * outputsX + my * outputsX + mx) * numImages + img;
      sum += own == maxActs[at] ? maxGrads[at] : 0;
    }
  }
  target[(filter * imgSize * imgSize + blockIdx.y) * numImages + img] = sum;
}

/* Response normalisation over channels: denoms = 1 + addScale * sum of squares */
template <int B_X, int sizeF>
__global__ void kNormAcross(const float* acts, float* denoms, float* target, const int numFilters,
                            const int numCols, const float addScale, const float powScale) {
  __shared__ float squares[sizeF][B_X];
  const int col = blockIdx.x * B_X + threadIdx.x;
  const int lead = sizeF / 2;
  float sum = 0;
  // a ring of squares: each row is of this thread alone
  for (int f = 0; f < sizeF; f++) squares[f][threadIdx.x] = 0;
  for (int f = 0; f < numFilters + lead; f++) {
    const float act = f < numFilters && col < numCols ? acts[f * numCols + col] : 0;
    float& oldest = squares[f % sizeF][threadIdx.x];
    sum += act * act - oldest;
    oldest = act * act;
    const int center = f - lead;
    if (center >= 0 && col < numCols) {
      const float denom = 1 + addScale * fmaxf(sum, 0);
      denoms[center * numCols + col] = denom;
      target[center * numCols + col] = acts[center * numCols + col] * __powf(denom, -powScale);
    }
  }
}

template <class Pooler>
void convPool(float* images, float* target, int numFilters, int numImages, Pooler pooler) {
  const int outputsX = 4;
  dim3 threads(32, 4);
  dim3 blocks(DIVUP(numImages, 64), outputsX * outputsX, DIVUP(numFilters, 4));
  if (numImages % 64)
    kPoolWindows<Pooler, 4, 32, 2, true><<<blocks, threads>>>(images, target, 8, numFilters, numImages, 3, 0, 2,
                                                              outputsX, pooler);
  else
    kPoolWindows<Pooler, 4, 32, 2, false><<<blocks, threads>>>(images, target, 8, numFilters, numImages, 3, 0, 2,
                                                               outputsX, pooler);
}

template void convPool<MaxPooler>(float*, float*, int, int, MaxPooler);
template void convPool<AvgPooler>(float*, float*, int, int, AvgPooler);
