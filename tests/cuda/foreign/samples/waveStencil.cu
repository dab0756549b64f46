/*
 * A step of finite differences in three dimensions: a plane lies in shared memory, the points
 * in front of it and behind in registers.
 */
#include <cooperative_groups.h>
#include <helper_cuda.h>

namespace cg = cooperative_groups;

#define RADIUS 2
#define k_blockDimX 8
#define k_blockDimMaxY 4

__constant__ float stencil[RADIUS + 1];

__global__ void waveStep(float *output, const float *input, const int dimx, const int dimy,
                         const int dimz) {
  cg::thread_block cta = cg::this_thread_block();
  __shared__ float plane[k_blockDimMaxY + 2 * RADIUS][k_blockDimX + 2 * RADIUS];
  const int line = 2 * RADIUS + dimx;
  const int layer = line * (dimy + 2 * RADIUS);
  const int tx = threadIdx.x + RADIUS, ty = threadIdx.y + RADIUS;
  // the halo is as wide as the stencil, on each side
  int at = (blockIdx.y * k_blockDimMaxY + ty) * line + blockIdx.x * k_blockDimX + tx;
  float behind[RADIUS], current, front[RADIUS];

  for (int k = RADIUS - 1; k >= 0; k--, at += layer) behind[k] = input[at];
  current = input[at];
  for (int k = 0; k < RADIUS; k++) front[k] = input[at + (k + 1) * layer];

  for (int iz = 0; iz < dimz; iz++, at += layer) {
    if (iz > 0) {
      for (int k = RADIUS - 1; k > 0; k--) behind[k] = behind[k - 1];
      behind[0] = current;
      current = front[0];
#pragma unroll
      for (int k = 0; k < RADIUS - 1; k++) front[k] = front[k + 1];
      front[RADIUS - 1] = input[at + RADIUS * layer];
    }
    cg::sync(cta);  // the plane before has been used
    plane[ty][tx] = current;
    if (threadIdx.y < RADIUS) {
      plane[threadIdx.y][tx] = input[at - RADIUS * line];
      plane[ty + k_blockDimMaxY][tx] = input[at + k_blockDimMaxY * line];
    }
    if (threadIdx.x < RADIUS) {
      plane[ty][threadIdx.x] = input[at - RADIUS];
      plane[ty][tx + k_blockDimX] = input[at + k_blockDimX];
    }
    cg::sync(cta);  // the plane is whole

    float value = current * stencil[0];
#pragma unroll
    for (int i = 1; i <= RADIUS; i++) {
      value += stencil[i] * (front[i - 1] + behind[i - 1] + plane[ty - i][tx] + plane[ty + i][tx] +
                             plane[ty][tx - i] + plane[ty][tx + i]);
    }
    output[at] = value;
  }
}

bool waveOnDevice(float *output, float *input, const float *coefficients, int dimx, int dimy,
                  int dimz, int steps) {
  checkCudaErrors(
      cudaMemcpyToSymbol(stencil, (void *)coefficients, (RADIUS + 1) * sizeof(float)));
  const dim3 block(k_blockDimX, k_blockDimMaxY);
  const dim3 grid(dimx / block.x, dimy / block.y);
  for (int step = 0; step < steps; ++step) {
    printf("\tt = %d ", step);
    waveStep<<<grid, block>>>(output, input, dimx, dimy, dimz);
    float *kept = input;
    input = output;
    output = kept;
  }
  return cudaDeviceSynchronize() == cudaSuccess;
}
