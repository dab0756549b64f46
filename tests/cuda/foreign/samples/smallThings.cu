/*
 * One feature per kernel: clocks, assertions, output, structures in global memory, groups.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <helper_cuda.h>

using namespace cooperative_groups;

#ifdef _WIN32
#define WINDOWS_LEAN_AND_MEAN
#include <windows.h>
#endif

// The smallest of a block's numbers, and when it began and ended
__global__ static void timedMinimum(const float *input, float *output, clock_t *timer) {
  extern __shared__ float both[];
  const int tid = threadIdx.x;
  const int bid = blockIdx.x;
  if (tid == 0) timer[bid] = clock();
  both[tid] = input[tid];
  both[tid + blockDim.x] = input[tid + blockDim.x];

  for (int width = blockDim.x; width > 0; width /= 2) {
    __syncthreads();
    if (tid < width) {
      const float other = both[tid + width];
      if (other < both[tid]) both[tid] = other;
    }
  }
  if (tid == 0) output[bid] = both[0];
  __syncthreads();
  if (tid == 0) timer[bid + gridDim.x] = clock();
}

__global__ void numbersBelow(int N, int *numbers) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  assert(at < N);
  numbers[at] = N - at;
}

__global__ void sayHello(int value, int *said) {
  printf("[%d, %d]:\t\tThe value is:%d\n", blockIdx.y * gridDim.x + blockIdx.x,
         threadIdx.z * blockDim.x * blockDim.y + threadIdx.y * blockDim.x + threadIdx.x, value);
  atomicAdd(said, 1);
}

// Four characters per int, each shifted by ten
__global__ void shiftLetters(int *g_data) {
  const unsigned int tid = threadIdx.x;
  const int word = g_data[tid];
  const int letters[4] = {word << 24 >> 24, word << 16 >> 24, word << 8 >> 24, word >> 24};
  uint32_t shifted = 0;
  for (int k = 3; k >= 0; --k) shifted = (shifted << 8) | (uint32_t)(letters[k] - 10);
  g_data[tid] = (int)shifted;
}

__global__ void shiftLetters2(int2 *g_data) {
  const int2 letter = g_data[threadIdx.x];
  g_data[threadIdx.x].x = letter.x - letter.y;
}

struct __align__(16) Particle {
  float3 position;
  float mass;
  int neighbours[4];
};

__global__ void heaviestNeighbour(const Particle *particles, int *heaviest, int count) {
  const int me = threadIdx.x + blockDim.x * blockIdx.x;
  if (me >= count) return;
  const Particle &own = particles[me];
  float most = own.mass;
  int found = me;
  for (int k = 0; k < 4; ++k) {
    const int other = own.neighbours[k];
    if (other >= 0 && particles[other].mass > most) {
      most = particles[other].mass;
      found = other;
    }
  }
  heaviest[me] = found;
}

/* The sum of ranks over any group of threads: a block or a tile of it */
__device__ int sumOfRanks(thread_group g, int *x, int val) {
  const int lane = g.thread_rank();
  for (int i = g.size() >> 1; i; i >>= 1) {
    x[lane] = val;
    g.sync();  // stored
    if (lane < i) val += x[lane + i];
    g.sync();  // read
  }
  return lane == 0 ? val : -1;
}

__global__ void sumsOfGroups(int *ofBlock, int *ofTiles) {
  thread_block whole = this_thread_block();
  extern __shared__ int workspace[];
  const int sum = sumOfRanks(whole, workspace, whole.thread_rank());
  if (whole.thread_rank() == 0) *ofBlock = sum;
  whole.sync();
  thread_block_tile<16> tile = tiled_partition<16>(whole);
  const int offset = whole.thread_rank() - tile.thread_rank();
  const int part = sumOfRanks(tile, workspace + offset, tile.thread_rank());
  if (tile.thread_rank() == 0) ofTiles[whole.thread_rank() / 16] = part + offset;
}

int main(int argc, char **argv) {
  int *numbers;
  checkCudaErrors(cudaMallocManaged(&numbers, 64 * sizeof(int)));
  numbersBelow<<<2, 32>>>(60, numbers);
  cudaError_t error = cudaDeviceSynchronize();
  if (error == cudaErrorAssert) printf("Device assert failed as expected\n");
  sayHello<<<dim3(2, 2), dim3(2, 2, 2)>>>(10, numbers);
  sumsOfGroups<<<1, 64, 64 * sizeof(int)>>>(numbers, numbers + 1);
  return cudaDeviceSynchronize() != cudaSuccess;
}
