#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <torch/extension.h>

#define WARP_SIZE 32
#define WARP_SIZE_S 16
#define PAD 1
#define THETA 10000.0f
#define FLOAT4(v) (*reinterpret_cast<float4 *>(&(v)))

// pairs of neighbours are turned by an angle of the token's place: x is (tokens, 2 * N)
__global__ void rope_f32_kernel(float *x, float *out, int tokens, int N) {
  const int i = threadIdx.x + blockDim.x * blockIdx.x;
  if (i >= tokens * N)
    return;
  const float a = x[2 * i], b = x[2 * i + 1];
  const int token = i / N, pair = i % N;
  const float angle = token / powf(THETA, 2.0f * pair / (2.0f * N));
  out[2 * i] = a * cosf(angle) - b * sinf(angle);
  out[2 * i + 1] = a * sinf(angle) + b * cosf(angle);
}

// two pairs per thread; a block per token
__global__ void rope_f32x4_pack_kernel(float *x, float *out, int tokens, int N) {
  const int quad = threadIdx.x;
  if (blockIdx.x >= tokens || quad >= N / 2)
    return;
  float sine, cosine;
  float4 v = FLOAT4(x[blockIdx.x * 2 * N + quad * 4]), turned;
  sincosf(blockIdx.x * powf(THETA, -2.0f * (2 * quad) / (2.0f * N)), &sine, &cosine);
  turned.x = v.x * cosine - v.y * sine;
  turned.y = v.x * sine + v.y * cosine;
  sincosf(blockIdx.x * powf(THETA, -2.0f * (2 * quad + 1) / (2.0f * N)), &sine, &cosine);
  turned.z = v.z * cosine - v.w * sine;
  turned.w = v.z * sine + v.w * cosine;
  FLOAT4(out[blockIdx.x * 2 * N + quad * 4]) = turned;
}

__global__ void mat_transpose_f32_col2row_kernel(float *x, float *y, const int row, const int col) {
  const int i = threadIdx.x + blockDim.x * blockIdx.x;
  const int r = i / col;
  const int c = i % col;
  if (i < row * col) {
    y[c * row + r] = x[i];
  }
}

// reads four of a row, writes them down a column
__global__ void mat_transpose_f32x4_col2row_kernel(float *x, float *y, const int row,
                                                   const int col) {
  const int i = threadIdx.x + blockDim.x * blockIdx.x;
  const int r = (i * 4) / col, c = (i * 4) % col;
  if (r < row && c + 3 < col) {
    const float4 v = FLOAT4(x[i * 4]);
    y[c * row + r] = v.x;
    y[(c + 1) * row + r] = v.y;
    y[(c + 2) * row + r] = v.z;
    y[(c + 3) * row + r] = v.w;
  }
}

// tiles of 16 by 16 through padded shared memory
__global__ void mat_transpose_f32_shared_bcf_kernel(const float *__restrict__ x,
                                                    float *__restrict__ y, const int row,
                                                    const int col) {
  __shared__ float tile[WARP_SIZE_S][WARP_SIZE_S + PAD];
  int c = blockIdx.x * WARP_SIZE_S + threadIdx.x;
  int r = blockIdx.y * WARP_SIZE_S + threadIdx.y;
  if (r < row && c < col)
    tile[threadIdx.y][threadIdx.x] = x[r * col + c];
  __syncthreads();
  c = blockIdx.y * WARP_SIZE_S + threadIdx.x;
  r = blockIdx.x * WARP_SIZE_S + threadIdx.y;
  if (r < col && c < row)
    y[r * row + c] = tile[threadIdx.x][threadIdx.y];
}

// a tile of 16 x 64: four floats in, four floats out
__global__ void mat_transpose_f32x4_shared_kernel(float *x, float *y, const int row, const int col) {
  __shared__ float tile[WARP_SIZE_S * 4][WARP_SIZE_S + 4];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int r = blockIdx.y * WARP_SIZE_S + ty, c = blockIdx.x * WARP_SIZE_S * 4 + tx * 4;
  const float4 v = FLOAT4(x[r * col + c]);
  tile[tx * 4][ty] = v.x;
  tile[tx * 4 + 1][ty] = v.y;
  tile[tx * 4 + 2][ty] = v.z;
  tile[tx * 4 + 3][ty] = v.w;
  __syncthreads();
  // the 64 x 16 numbers are dealt anew: a quarter of a row for each thread
  const int id = ty * WARP_SIZE_S + tx;
  const int to_row = id / 4, to_col = id % 4 * 4;
  FLOAT4(y[(blockIdx.x * WARP_SIZE_S * 4 + to_row) * row + blockIdx.y * WARP_SIZE_S + to_col]) =
      FLOAT4(tile[to_row][to_col]);
}

// blocks walk along diagonals
__global__ void mat_transpose_f32_diagonal2d_kernel(float *x, float *y, int row, int col) {
  const int diagonal_y = blockIdx.x;
  const int diagonal_x = (blockIdx.x + blockIdx.y) % gridDim.x;
  const int c = threadIdx.x + blockDim.x * diagonal_x;
  const int r = threadIdx.y + blockDim.y * diagonal_y;
  if (r < row && c < col)
    y[c * row + r] = x[r * col + c];
}

void mat_transpose_f32_shared_bcf(torch::Tensor x, torch::Tensor y) {
  const int M = x.size(0), N = x.size(1);
  dim3 block(WARP_SIZE_S, WARP_SIZE_S);
  dim3 grid((N + WARP_SIZE_S - 1) / WARP_SIZE_S, (M + WARP_SIZE_S - 1) / WARP_SIZE_S);
  mat_transpose_f32_shared_bcf_kernel<<<grid, block>>>(x.data_ptr<float>(), y.data_ptr<float>(), M, N);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("mat_transpose_f32_shared_bcf", &mat_transpose_f32_shared_bcf, "x.T");
}
