// Stencils and convolutions, each rung with one more idea than the one below.
#include <assert.h>
#include <stdio.h>
#include "cuda_runtime.h"
#include "device_launch_parameters.h"

#define MASK_DIM 5
#define MASK_OFFSET (MASK_DIM / 2)
#define RADIUS 3
#define IN_TILE_DIM 16
#define OUT_TILE_DIM ((IN_TILE_DIM) - 2 * (MASK_OFFSET))

__constant__ int mask[MASK_DIM * MASK_DIM];
__constant__ float F_c[2 * RADIUS + 1];
__constant__ float c0, c1;

__global__ void convolution_2d(int *matrix, int *result, int N) {
  const int x = threadIdx.x + blockDim.x * blockIdx.x;
  const int y = threadIdx.y + blockDim.y * blockIdx.y;
  if (x >= N || y >= N) return;
  int sum = 0;
  for (int i = 0; i < MASK_DIM; i++) {
    for (int j = 0; j < MASK_DIM; j++) {
      const int row = y - MASK_OFFSET + i, col = x - MASK_OFFSET + j;
      // zeros all around
      if (row >= 0 && row < N && col >= 0 && col < N) {
        sum += mask[i * MASK_DIM + j] * matrix[row * N + col];
      }
    }
  }
  result[y * N + x] = sum;
}

// a block loads a tile with its halo, only the inner threads have results
__global__ void convolution_2d_tiled(const int *in, int *out, int width, int height) {
  int col = blockIdx.x * OUT_TILE_DIM + threadIdx.x - MASK_OFFSET;
  int row = blockIdx.y * OUT_TILE_DIM + threadIdx.y - MASK_OFFSET;
  __shared__ int tile[IN_TILE_DIM][IN_TILE_DIM];
  if (row >= 0 && row < height && col >= 0 && col < width) {
    tile[threadIdx.y][threadIdx.x] = in[row * width + col];
  } else {
    tile[threadIdx.y][threadIdx.x] = 0;
  }
  __syncthreads();
  int tileCol = threadIdx.x - MASK_OFFSET;
  int tileRow = threadIdx.y - MASK_OFFSET;
  if (col >= 0 && col < width && row >= 0 && row < height) {
    if (tileCol >= 0 && tileCol < OUT_TILE_DIM && tileRow >= 0 && tileRow < OUT_TILE_DIM) {
      int value = 0;
      for (int i = 0; i < MASK_DIM; i++)
        for (int j = 0; j < MASK_DIM; j++)
          value += mask[i * MASK_DIM + j] * tile[tileRow + i][tileCol + j];
      out[row * width + col] = value;
    }
  }
}

// dynamic shared memory: the block's part and RADIUS more on either side
__global__ void convolution_1d(const float *array, float *result, int n) {
  extern __shared__ float s_array[];
  int tid = threadIdx.x + blockDim.x * blockIdx.x;
  int n_padded = blockDim.x + 2 * RADIUS;
  int first = blockIdx.x * blockDim.x - RADIUS;
  for (int i = threadIdx.x; i < n_padded; i += blockDim.x) {
    int at = first + i;
    s_array[i] = at >= 0 && at < n ? array[at] : 0.0f;
  }
  __syncthreads();
  if (tid < n) {
    float temp = 0;
#pragma unroll
    for (int j = 0; j < 2 * RADIUS + 1; j++) temp += s_array[threadIdx.x + j] * F_c[j];
    result[tid] = temp;
  }
}

// seven points in 3-D, planes pass through registers
__global__ void stencil_coarsened(const float *in, float *out, unsigned int N) {
  constexpr int TILE = 8;
  const int j = blockIdx.y * (TILE - 2) + threadIdx.y - 1;
  const int k = blockIdx.x * (TILE - 2) + threadIdx.x - 1;
  const bool valid = j >= 0 && j < N && k >= 0 && k < N;
  __shared__ float plane[TILE][TILE];
  float before = 0, current = 0, next = 0;
  if (valid) {
    before = in[j * N + k];
    current = in[N * N + j * N + k];
  }
  plane[threadIdx.y][threadIdx.x] = current;
  for (int i = 1; i < N - 1; ++i) {
    if (valid) next = in[(i + 1) * N * N + j * N + k];
    __syncthreads();
    const bool inner = threadIdx.x >= 1 && threadIdx.x < TILE - 1 && threadIdx.y >= 1 &&
                       threadIdx.y < TILE - 1;
    if (inner && j >= 1 && j < N - 1 && k >= 1 && k < N - 1) {
      out[i * N * N + j * N + k] =
          c0 * current + c1 * (plane[threadIdx.y][threadIdx.x - 1] +
                               plane[threadIdx.y][threadIdx.x + 1] +
                               plane[threadIdx.y - 1][threadIdx.x] +
                               plane[threadIdx.y + 1][threadIdx.x] + before + next);
    }
    __syncthreads();
    before = current;
    current = next;
    plane[threadIdx.y][threadIdx.x] = next;
  }
}

static int expected_at(const int *m, const int *weights, int N, int y, int x) {
  int sum = 0;
  for (int i = -MASK_OFFSET; i <= MASK_OFFSET; i++)
    for (int j = -MASK_OFFSET; j <= MASK_OFFSET; j++)
      if (y + i >= 0 && y + i < N && x + j >= 0 && x + j < N)
        sum += m[(y + i) * N + x + j] * weights[(i + MASK_OFFSET) * MASK_DIM + j + MASK_OFFSET];
  return sum;
}

int main() {
  const int N = 256, bytes = N * N * sizeof(int);
  int *matrix = new int[N * N], *result = new int[N * N];
  int weights[MASK_DIM * MASK_DIM];
  for (int i = 0; i < N * N; i++) matrix[i] = rand() % 10;
  for (int &w : weights) w = rand() % 3;
  int *d_matrix, *d_result;
  cudaMalloc(&d_matrix, bytes);
  cudaMalloc(&d_result, bytes);
  cudaMemcpy(d_matrix, matrix, bytes, cudaMemcpyHostToDevice);
  cudaMemcpyToSymbol(mask, weights, sizeof(weights));
  convolution_2d<<<dim3(N / 16, N / 16), dim3(16, 16)>>>(d_matrix, d_result, N);
  cudaMemcpy(result, d_result, bytes, cudaMemcpyDeviceToHost);
  for (int i = 0; i < N * N; i++) assert(result[i] == expected_at(matrix, weights, N, i / N, i % N));
  puts("as expected");
  delete[] matrix;
  delete[] result;
  cudaFree(d_matrix);
  cudaFree(d_result);
  return 0;
}
