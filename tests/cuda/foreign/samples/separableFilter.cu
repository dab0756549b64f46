/*
 * A separable filter of an image: rows, then columns, with weights in constant
 * memory. Beyond the border the image is zero.
 */
#include <assert.h>
#include <helper_cuda.h>

#define RADIUS 3
#define TAPS (2 * RADIUS + 1)

__constant__ float c_Taps[TAPS];

extern "C" void setTaps(float *h_Taps) {
  cudaMemcpyToSymbol(c_Taps, h_Taps, TAPS * sizeof(float));
}

#define ROWS_X 16
#define ROWS_Y 4
#define ROWS_EACH 2

__global__ void filterRows(float *d_To, const float *d_From, int width, int height, int pitch) {
  __shared__ float line[ROWS_Y][ROWS_EACH * ROWS_X + 2 * RADIUS];
  const int left = blockIdx.x * ROWS_EACH * ROWS_X;
  const int y = blockIdx.y * ROWS_Y + threadIdx.y;
  for (int k = threadIdx.x; k < ROWS_EACH * ROWS_X + 2 * RADIUS; k += ROWS_X) {
    const int x = left + k - RADIUS;
    line[threadIdx.y][k] = x >= 0 && x < width ? d_From[y * pitch + x] : 0;
  }
  __syncthreads();

#pragma unroll
  for (int part = 0; part < ROWS_EACH; ++part) {
    const int k = part * ROWS_X + threadIdx.x;
    float sum = 0;
#pragma unroll
    for (int tap = -RADIUS; tap <= RADIUS; ++tap)
      sum += c_Taps[RADIUS - tap] * line[threadIdx.y][k + RADIUS + tap];
    d_To[y * pitch + left + k] = sum;
  }
}

#define COLUMNS_X 8
#define COLUMNS_Y 8
#define COLUMNS_EACH 2

__global__ void filterColumns(float *d_To, const float *d_From, int width, int height, int pitch) {
  // one more: the threads of a warp read one column
  __shared__ float lines[COLUMNS_X][COLUMNS_EACH * COLUMNS_Y + 2 * RADIUS + 1];
  const int x = blockIdx.x * COLUMNS_X + threadIdx.x;
  const int top = blockIdx.y * COLUMNS_EACH * COLUMNS_Y;
  for (int k = threadIdx.y; k < COLUMNS_EACH * COLUMNS_Y + 2 * RADIUS; k += COLUMNS_Y) {
    const int y = top + k - RADIUS;
    lines[threadIdx.x][k] = (y >= 0 && y < height) ? d_From[y * pitch + x] : 0;
  }
  __syncthreads();  // lines are loaded

  for (int part = 0; part < COLUMNS_EACH; ++part) {
    const int k = part * COLUMNS_Y + threadIdx.y;
    float sum = 0;
    for (int tap = 0; tap < TAPS; ++tap) sum += c_Taps[TAPS - 1 - tap] * lines[threadIdx.x][k + tap];
    d_To[(top + k) * pitch + x] = sum;
  }
}

extern "C" void separableFilterGPU(float *d_To, float *d_Between, float *d_From, int width,
                                   int height) {
  assert(width % (ROWS_EACH * ROWS_X) == 0 && height % (COLUMNS_EACH * COLUMNS_Y) == 0);
  filterRows<<<dim3(width / (ROWS_EACH * ROWS_X), height / ROWS_Y), dim3(ROWS_X, ROWS_Y)>>>(
      d_Between, d_From, width, height, width);
  getLastCudaError("rows");
  filterColumns<<<dim3(width / COLUMNS_X, height / (COLUMNS_EACH * COLUMNS_Y)),
                  dim3(COLUMNS_X, COLUMNS_Y)>>>(d_To, d_Between, width, height, width);
  getLastCudaError("columns");
}
