/*
 * Transposed copies of a matrix, in tiles; a thread moves TILE / ROWS elements.
 */
#include <cooperative_groups.h>
#include <helper_cuda.h>
#include <helper_image.h>
#include <helper_string.h>

namespace cg = cooperative_groups;

const char *sampleName = "flipMatrix";

#define TILE 16
#define ROWS 4

__global__ void flipDirectly(float *to, float *from, int width, int height) {
  const int x = TILE * blockIdx.x + threadIdx.x;
  const int y = TILE * blockIdx.y + threadIdx.y;
  for (int k = 0; k < TILE; k += ROWS) to[x * height + y + k] = from[(y + k) * width + x];
}

__global__ void flipThroughTile(float *to, float *from, int width, int height) {
  cg::thread_block cta = cg::this_thread_block();
  __shared__ float tile[TILE][TILE];
  const int left = TILE * blockIdx.x, top = TILE * blockIdx.y;
  from += (top + threadIdx.y) * width + left + threadIdx.x;
  to += (left + threadIdx.y) * height + top + threadIdx.x;
  for (int k = 0; k < TILE; k += ROWS) tile[threadIdx.y + k][threadIdx.x] = from[k * width];
  cg::sync(cta);  // the tile is whole
  for (int k = 0; k < TILE; k += ROWS) to[k * height] = tile[threadIdx.x][threadIdx.y + k];
}

// A column of padding puts the rows of a column into different banks
__global__ void flipPadded(float *to, float *from, int width, int height) {
  __shared__ float tile[TILE][TILE + 1];
  const int left = TILE * blockIdx.x, top = TILE * blockIdx.y;
  for (int y = threadIdx.y; y < TILE; y += ROWS)
    if (left + threadIdx.x < width && top + y < height)
      tile[y][threadIdx.x] = from[(top + y) * width + left + threadIdx.x];
  __syncthreads();
  for (int y = threadIdx.y; y < TILE; y += ROWS)
    if (top + threadIdx.x < height && left + y < width)
      to[(left + y) * height + top + threadIdx.x] = tile[threadIdx.x][y];
}

// Blocks walk along diagonals: no partition of the memory has them all at once
__global__ void flipDiagonal(float *to, float *from, int width, int height) {
  __shared__ float tile[TILE][TILE + 1];
  int blockX, blockY;
  if (width == height) {
    blockY = blockIdx.x;
    blockX = (blockIdx.x + blockIdx.y) % gridDim.x;
  } else {
    const int number = gridDim.x * blockIdx.y + blockIdx.x;
    blockY = number % gridDim.y;
    blockX = (number / gridDim.y + blockY) % gridDim.x;
  }
  const int column = threadIdx.x;
  int at = (blockY * TILE + threadIdx.y) * width + blockX * TILE + column;
  for (int k = threadIdx.y; k < TILE; k += ROWS, at += ROWS * width) tile[k][column] = from[at];
  __syncthreads();  // read by other threads
  at = (blockX * TILE + threadIdx.y) * height + blockY * TILE + column;
  for (int k = threadIdx.y; k < TILE; k += ROWS, at += ROWS * height) to[at] = tile[column][k];
}

typedef void (*Flip)(float *, float *, int, int);

int main() {
  const int width = 512, height = 256;
  const Flip flips[] = {&flipDirectly, &flipThroughTile, &flipPadded, &flipDiagonal};
  float *from, *to;
  checkCudaErrors(cudaMallocManaged(&from, sizeof(float) * width * height));
  checkCudaErrors(cudaMallocManaged(&to, sizeof(float) * width * height));
  for (int i = 0; i < width * height; ++i) from[i] = i;
  for (Flip flip : flips) {
    flip<<<dim3(width / TILE, height / TILE), dim3(TILE, ROWS)>>>(to, from, width, height);
    checkCudaErrors(cudaDeviceSynchronize());
    printf("%s: %s\n", sampleName, to[1] == from[width] ? "right" : "wrong");
  }
  return 0;
}
