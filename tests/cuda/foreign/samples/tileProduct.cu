/*
 * out = left * right through square tiles in shared memory. All sizes are
 * multiples of the tile.
 */
#include <assert.h>
#include <cuda_runtime.h>
#include <helper_cuda.h>
#include <helper_functions.h>
#include <stdio.h>

template <int BLOCK_SIZE>
__global__ void TileProductCUDA(float *out, float *left, float *right, int widthLeft,
                                int widthRight) {
  const int column = threadIdx.x, row = threadIdx.y;
  // where the block's first tiles begin
  float *leftTile = left + widthLeft * BLOCK_SIZE * blockIdx.y;
  float *rightTile = right + BLOCK_SIZE * blockIdx.x;
  float sum = 0;

  for (int done = 0; done < widthLeft; done += BLOCK_SIZE) {
    __shared__ float L[BLOCK_SIZE][BLOCK_SIZE];
    __shared__ float R[BLOCK_SIZE][BLOCK_SIZE];
    L[row][column] = leftTile[widthLeft * row + column];
    R[row][column] = rightTile[widthRight * row + column];
    __syncthreads();  // both tiles are there

#pragma unroll
    for (int k = 0; k < BLOCK_SIZE; ++k) sum += L[row][k] * R[k][column];

    __syncthreads();  // no tile is overwritten while it is read
    leftTile += BLOCK_SIZE;
    rightTile += BLOCK_SIZE * widthRight;
  }
  out[widthRight * (BLOCK_SIZE * blockIdx.y + row) + BLOCK_SIZE * blockIdx.x + column] = sum;
}

static void fill(float *numbers, unsigned count, float with) {
  while (count--) *numbers++ = with;
}

int main(int argc, char **argv) {
  const int tile = argc > 1 && checkCmdLineFlag(argc, (const char **)argv, "small") ? 16 : 32;
  const dim3 sizeLeft(4 * tile, 2 * tile), sizeRight(3 * tile, 4 * tile);
  assert(sizeLeft.x == sizeRight.y);
  float *left, *right, *out;
  checkCudaErrors(cudaMallocManaged(&left, sizeof(float) * sizeLeft.x * sizeLeft.y));
  checkCudaErrors(cudaMallocManaged(&right, sizeof(float) * sizeRight.x * sizeRight.y));
  checkCudaErrors(cudaMallocManaged(&out, sizeof(float) * sizeRight.x * sizeLeft.y));
  fill(left, sizeLeft.x * sizeLeft.y, 1.0f);
  fill(right, sizeRight.x * sizeRight.y, 0.25f);
  cudaStream_t stream;
  checkCudaErrors(cudaStreamCreate(&stream));
  const dim3 threads(tile, tile), grid(sizeRight.x / tile, sizeLeft.y / tile);
  if (tile == 16)
    TileProductCUDA<16><<<grid, threads, 0, stream>>>(out, left, right, sizeLeft.x, sizeRight.x);
  else
    TileProductCUDA<32><<<grid, threads, 0, stream>>>(out, left, right, sizeLeft.x, sizeRight.x);
  checkCudaErrors(cudaStreamSynchronize(stream));
  printf("%f, expected %f\n", out[0], 0.25f * sizeLeft.x);
  return 0;
}
