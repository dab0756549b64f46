/*
 * The set of Mandelbrot as an image of uchar4; blocks take tiles until none is left.
 */
#include <stdio.h>
#include <helper_cuda.h>
#include "fractal_kernel.h"

// The next tile that no block has taken
__device__ unsigned int nextTile;

template <class T>
__device__ inline int iterationsAt(const T x0, const T y0, const int limit) {
  T x = x0, y = y0;
  int count = 0;
  while (x * x + y * y <= T(4) && count < limit) {
    const T t = x * x - y * y + x0;
    y = T(2) * x * y + y0;
    x = t;
    ++count;
  }
  return count;
}

template <class T>
__global__ void Fractal(uchar4 *dst, const int imageW, const int imageH, const int limit,
                        const T left, const T top, const T scale, const uchar4 colors,
                        const dim3 tiles) {
  __shared__ unsigned int tile;
  while (true) {
    if (threadIdx.x == 0 && threadIdx.y == 0) tile = atomicAdd(&nextTile, 1);
    __syncthreads();
    const unsigned int mine = tile;
    __syncthreads();  // all have read it
    if (mine >= tiles.x * tiles.y) break;

    const int ix = (mine % tiles.x) * blockDim.x + threadIdx.x;
    const int iy = (mine / tiles.x) * blockDim.y + threadIdx.y;
    if (ix < imageW && iy < imageH) {
      const int m = limit - iterationsAt<T>(left + T(ix) * scale, top + T(iy) * scale, limit);
      uchar4 color = make_uchar4(0, 0, 0, 255);
      if (m > 0) {
        color.x = m * colors.x;
        color.y = m * colors.y;
        color.z = m * colors.z;
      }
      dst[imageW * iy + ix] = color;
    }
  }
}

void runFractal(uchar4 *dst, int imageW, int imageH, int limit, float left, float top, float scale,
                uchar4 colors, int processors) {
  const dim3 threads(BLOCKDIM_X, BLOCKDIM_Y);
  const dim3 tiles(iDivUp(imageW, BLOCKDIM_X), iDivUp(imageH, BLOCKDIM_Y));
  unsigned int none = 0;
  checkCudaErrors(cudaMemcpyToSymbol(nextTile, &none, sizeof(none), 0, cudaMemcpyHostToDevice));
  Fractal<float><<<processors, threads>>>(dst, imageW, imageH, limit, left, top, scale, colors,
                                          tiles);
  getLastCudaError("Fractal kernel execution failed.\n");
}
