/*
 * Convolutions of images that lie as (channels, imgSizeY, imgSizeX, images): a warp's lanes take
 * neighbouring images.
 */
#include <assert.h>
#include <nvmatrix.cuh>

#define MUL24 __mul24
enum HIDDEN_LAYOUT { BY_MODULE, BY_FILTER };

/*
 * filters: (channels, filterPixels, numFilters); targets: (numFilters, modules, images).
 * A block does one module, B_Y * filtersPerThread filters and B_X * imgsPerThread images.
 */
template <int B_Y, int B_X, int imgsPerThread, int filtersPerThread, bool scale, bool checkCaseBounds>
__global__ void convForward(float* images, float* filters, float* targets, const int numChannels,
                            const int imgSize, const int filterSize, const int paddingStart,
                            const int moduleStride, const int numModulesX, const int numImages,
                            const int numFilters, const float scaleTargets, const float scaleOutputs) {
  __shared__ float shFilters[B_Y * filtersPerThread];
  __shared__ float shImages[B_X * imgsPerThread];
  const int thread = threadIdx.x + B_X * threadIdx.y;
  const int filterBlocks = numFilters / (B_Y * filtersPerThread);
  const int module = blockIdx.y / filterBlocks;
  const int filterIdx = (blockIdx.y % filterBlocks) * B_Y * filtersPerThread;
  const int imgIdx = blockIdx.x * B_X * imgsPerThread;
  const int imgPixels = MUL24(imgSize, imgSize);
  const int imgTop = paddingStart + (module / numModulesX) * moduleStride;
  const int imgLeft = paddingStart + (module % numModulesX) * moduleStride;

  float sums[filtersPerThread][imgsPerThread];
#pragma unroll
  for (int f = 0; f < filtersPerThread; f++) {
#pragma unroll
    for (int i = 0; i < imgsPerThread; i++) {
      sums[f][i] = 0;
    }
  }

  for (int c = 0; c < numChannels; c++) {
    for (int p = 0; p < filterSize * filterSize; p++) {
      const int y = imgTop + p / filterSize, x = imgLeft + p % filterSize;
      // all threads of the block leave out the same pixels
      if (y < 0 || y >= imgSize || x < 0 || x >= imgSize) continue;
      for (int f = thread; f < B_Y * filtersPerThread; f += B_X * B_Y) {
        shFilters[f] = filters[(c * filterSize * filterSize + p) * numFilters + filterIdx + f];
      }
      for (int i = thread; i < B_X * imgsPerThread; i += B_X * B_Y) {
        const int img = imgIdx + i;
        shImages[i] = !checkCaseBounds || img < numImages
                          ? images[(c * imgPixels + y * imgSize + x) * numImages + img] : 0;
      }
      __syncthreads(); // one pixel of all
#pragma unroll
      for (int f = 0; f < filtersPerThread; f++) {
        for (int i = 0; i < imgsPerThread; i++) {
          sums[f][i] += shImages[threadIdx.x + i * B_X] * shFilters[threadIdx.y + f * B_Y];
        }
      }
      __syncthreads(); // used
    }
  }

  const int numModules = numModulesX * numModulesX;
  for (int f = 0; f < filtersPerThread; f++) {
    float* row = targets + ((filterIdx + threadIdx.y + f * B_Y) * numModules + module) * numImages;
    for (int i = 0; i < imgsPerThread; i++) {
      const int img = imgIdx + threadIdx.x + i * B_X;
      if (!checkCaseBounds || img < numImages) {
        row[img] = scale ? scaleTargets * row[img] + scaleOutputs * sums[f][i] : scaleOutputs * sums[f][i];
      }
    }
  }
}

/* Gradients of images: a thread per pixel of blockIdx.y, image and channel threadIdx.y */
template <int colorsPerBlock>
__global__ void convBackward(const float* hidActs, const float* filters, float* targets, const int numModulesX,
                             const int numImages, const int numFilters, const int filterSize, const int imgSize,
                             const int paddingStart, const int moduleStride) {
  extern __shared__ float shWeights[];
  const int img = blockIdx.x * blockDim.x + threadIdx.x;
  const int pxY = blockIdx.y / imgSize, pxX = blockIdx.y % imgSize;
  const int color = threadIdx.y;
  const int filterPixels = filterSize * filterSize;
  const int lane = threadIdx.y * blockDim.x + threadIdx.x;
  float prod = 0;
  for (int my = 0; my < numModulesX; my++) {
    const int fy = pxY - paddingStart - my * moduleStride;
    if (fy < 0 || fy >= filterSize) continue;
    for (int mx = 0; mx < numModulesX; mx++) {
      const int fx = pxX - paddingStart - mx * moduleStride;
      if (fx < 0 || fx >= filterSize) continue;
      const int pixel = fy * filterSize + fx;
      __syncthreads(); // weights before have been used
      for (int w = lane; w < colorsPerBlock * numFilters; w += blockDim.x * blockDim.y) {
        shWeights[w] = filters[((w / numFilters) * filterPixels + pixel) * numFilters + w % numFilters];
      }
      __syncthreads(); // weights are there
      if (img < numImages) {
        for (int f = 0; f < numFilters; f++) {
          const float act = hidActs[(f * numModulesX * numModulesX + my * numModulesX + mx) * numImages + img];
          prod += act * shWeights[color * numFilters + f];
        }
      }
    }
  }
  if (img < numImages) {
    targets[(color * imgSize * imgSize + blockIdx.y) * numImages + img] = prod;
  }
}

/* Gradients of weights: a block per filter and pixel of it, threads along images; a union halves
   the shared memory. */
template <int B_X>
__global__ void convWeights(const float* images, const float* hidActs, float* targets, const int numImages,
                            const int numFilters, const int numModulesX, const int imgSize, const int filterSize,
                            const int paddingStart, const int moduleStride, const HIDDEN_LAYOUT order) {
  union Workspace {
    float sums[B_X];
    int counts[B_X];
  };
  __shared__ Workspace sh;
  const int f = blockIdx.x, pixel = blockIdx.y;
  float sum = 0;
  int count = 0;
  for (int m = 0; m < numModulesX * numModulesX; m++) {
    const int y = paddingStart + (m / numModulesX) * moduleStride + pixel / filterSize;
    const int x = paddingStart + (m % numModulesX) * moduleStride + pixel % filterSize;
    if (y >= 0 && y < imgSize && x >= 0 && x < imgSize) {
      const int row = order == BY_FILTER ? f * numModulesX * numModulesX + m : m * numFilters + f;
      for (int i = threadIdx.x; i < numImages; i += B_X) {
        sum += images[(y * imgSize + x) * numImages + i] * hidActs[row * numImages + i];
        count++;
      }
    }
  }
  sh.counts[threadIdx.x] = count;
  __syncthreads(); // counts
  int all = 0;
  for (int t = 0; t < B_X; t++) all += sh.counts[t];
  __syncthreads(); // sums take their place
  sh.sums[threadIdx.x] = sum;
  __syncthreads(); // sums
  if (threadIdx.x == 0) {
    float total = 0;
    for (int t = 0; t < B_X; t++) total += sh.sums[t];
    targets[pixel * numFilters + f] = all ? total / all : 0;
  }
}

void forward(float* images, float* filters, float* targets, int numImages) {
  dim3 blocks(numImages % 64 ? numImages / 64 + 1 : numImages / 64, 16 * 4);
  dim3 threads(32, 4);
  bool checkCaseBounds = numImages % 64 != 0;
  if (checkCaseBounds) {
    convForward<4, 32, 2, 4, false, true><<<blocks, threads>>>(images, filters, targets, 3, 8, 5, -2, 2, 4,
                                                               numImages, 64, 0, 1);
  } else {
    convForward<4, 32, 2, 4, false, false><<<blocks, threads>>>(images, filters, targets, 3, 8, 5, -2, 2, 4,
                                                                numImages, 64, 0, 1);
  }
  assert(cudaGetLastError() == cudaSuccess);
}
