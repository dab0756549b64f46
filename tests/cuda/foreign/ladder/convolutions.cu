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
  int row = blockIdx.y * blockDim.y + threadIdx.y;
  int col = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= N || col >= N) return;
  int start_r = row - MASK_OFFSET;
  int start_c = col - MASK_OFFSET;
  int temp = 0;
  for (int i = 0; i < MASK_DIM; i++) {
    for (int j = 0; j < MASK_DIM; j++) {
      if ((start_r + i) >= 0 && (start_r + i) < N) {
        if ((start_c + j) >= 0 && (start_c + j) < N) {
          temp += matrix[(start_r + i) * N + (start_c + j)] *
                  mask[i * MASK_DIM + j];
        }
      }
    }
  }
  result[row * N + col] = temp;
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
  int tid = blockIdx.x * blockDim.x + threadIdx.x;
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

void verify_result(int *m, int *mask_host, int *result, int N) {
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      int temp = 0;
      for (int k = 0; k < MASK_DIM; k++) {
        for (int l = 0; l < MASK_DIM; l++) {
          int r = i - MASK_OFFSET + k, c = j - MASK_OFFSET + l;
          if (r >= 0 && r < N && c >= 0 && c < N)
            temp += m[r * N + c] * mask_host[k * MASK_DIM + l];
        }
      }
      assert(result[i * N + j] == temp);
    }
  }
}

int main() {
  int N = 1 << 10;
  size_t bytes_n = N * N * sizeof(int);
  int *matrix = new int[N * N];
  int *result = new int[N * N];
  int *h_mask = new int[MASK_DIM * MASK_DIM];
  for (int i = 0; i < N * N; i++) matrix[i] = rand() % 100;
  for (int i = 0; i < MASK_DIM * MASK_DIM; i++) h_mask[i] = rand() % 10;
  int *d_matrix, *d_result;
  cudaMalloc(&d_matrix, bytes_n);
  cudaMalloc(&d_result, bytes_n);
  cudaMemcpy(d_matrix, matrix, bytes_n, cudaMemcpyHostToDevice);
  cudaMemcpyToSymbol(mask, h_mask, MASK_DIM * MASK_DIM * sizeof(int));
  int THREADS = 16;
  int BLOCKS = (N + THREADS - 1) / THREADS;
  convolution_2d<<<dim3(BLOCKS, BLOCKS), dim3(THREADS, THREADS)>>>(d_matrix, d_result, N);
  cudaMemcpy(result, d_result, bytes_n, cudaMemcpyDeviceToHost);
  verify_result(matrix, h_mask, result, N);
  printf("COMPLETED SUCCESSFULLY!");
  delete[] matrix;
  delete[] result;
  delete[] h_mask;
  cudaFree(d_result);
  return 0;
}
