// y = A x, A of (M, K): a warp for a row, for K of 32, 128 and 16.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <torch/extension.h>

#define WARP_SIZE 32
#define FLOAT4(v) (*reinterpret_cast<float4 *>(&(v)))
#define HALF2(v) (*reinterpret_cast<half2 *>(&(v)))

template <const int kWarpSize = WARP_SIZE, typename T>
static __device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int step = kWarpSize / 2; step; step /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// grid(M/4), block(32,4)
__global__ void sgemv_k32_f32_kernel(float *a, float *x, float *y, int M, int K) {
  int own = threadIdx.x % WARP_SIZE;
  int m = blockIdx.x * blockDim.y + threadIdx.y;
  if (m < M) {
    float sum = 0.0f;
    int rounds = (K + WARP_SIZE - 1) / WARP_SIZE;
#pragma unroll
    for (int w = 0; w < rounds; ++w) {
      int k = w * WARP_SIZE + own;
      sum += a[m * K + k] * x[k];
    }
    sum = warp_sum<WARP_SIZE>(sum);
    if (own == 0)
      y[m] = sum;
  }
}

__global__ void sgemv_k128_f32x4_kernel(float *a, float *x, float *y, int M, int K) {
  const int own = threadIdx.x, m = threadIdx.y + blockDim.y * blockIdx.x;
  if (m >= M)
    return;
  float sum = 0.0f;
  for (int k = own * 4; k < K; k += WARP_SIZE * 4) {
    const float4 va = FLOAT4(a[m * K + k]), vx = FLOAT4(x[k]);
    sum += va.x * vx.x + va.y * vx.y + va.z * vx.z + va.w * vx.w;
  }
  sum = warp_sum(sum);
  if (own == 0)
    y[m] = sum;
}

// K is 16: a warp has two rows
template <const int ROWS = 2>
__global__ void sgemv_k16_f32_kernel(float *A, float *x, float *y, int M, int K) {
  constexpr int LANES = WARP_SIZE / ROWS;
  const int own = threadIdx.x % WARP_SIZE;
  const int k = own % LANES;
  const int m = (blockDim.y * blockIdx.x + threadIdx.y) * ROWS + own / LANES;
  float sum = m < M ? A[m * K + k] * x[k] : 0.0f;
  sum = warp_sum<LANES>(sum);
  if (k == 0 && m < M)
    y[m] = sum;
}

__global__ void hgemv_k128_f16x4_kernel(half *a, half *x, half *y, int M, int K) {
  const int own = threadIdx.x % WARP_SIZE;
  const int m = blockDim.y * blockIdx.x + threadIdx.y;
  if (m < M) {
    half sum = __float2half(0.0f);
    for (int k = own * 4; k < K; k += 4 * WARP_SIZE) {
      half2 a0 = HALF2(a[m * K + k]), a1 = HALF2(a[m * K + k + 2]);
      half2 x0 = HALF2(x[k]), x1 = HALF2(x[k + 2]);
      sum = __hadd(sum, __hfma(a0.x, x0.x, __hmul(a0.y, x0.y)));
      sum = __hadd(sum, __hfma(a1.x, x1.x, __hmul(a1.y, x1.y)));
    }
    for (int step = WARP_SIZE / 2; step >= 1; step >>= 1)
      sum = __hadd(sum, __shfl_xor_sync(0xffffffff, sum, step));
    if (own == 0)
      y[m] = sum;
  }
}

torch::Tensor gemv(torch::Tensor a, torch::Tensor x) {
  const int M = a.size(0), K = a.size(1);
  auto y = torch::empty({M}, a.options());
  const dim3 block(32, 4), grid((M + 3) / 4);
  if (a.scalar_type() == torch::kHalf)
    hgemv_k128_f16x4_kernel<<<grid, block>>>((half *)a.data_ptr(), (half *)x.data_ptr(),
                                             (half *)y.data_ptr(), M, K);
  else if (K % 128 == 0)
    sgemv_k128_f32x4_kernel<<<grid, block>>>(a.data_ptr<float>(), x.data_ptr<float>(),
                                             y.data_ptr<float>(), M, K);
  else if (K == 16)
    sgemv_k16_f32_kernel<2><<<dim3((M + 7) / 8), block>>>(a.data_ptr<float>(), x.data_ptr<float>(),
                                                          y.data_ptr<float>(), M, K);
  else
    sgemv_k32_f32_kernel<<<grid, block>>>(a.data_ptr<float>(), x.data_ptr<float>(),
                                          y.data_ptr<float>(), M, K);
  return y;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("gemv", &gemv, "a @ x"); }
