#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <float.h>
#include <stdio.h>
#include <torch/extension.h>
#include <tuple>

#define WARP_SIZE 32
#define INT4(v) (*reinterpret_cast<int4 *>(&(v)))
#define FLOAT4(v) (*reinterpret_cast<float4 *>(&(v)))
#define HALF2(v) (*reinterpret_cast<half2 *>(&(v)))
#define LDST128BITS(v) (*reinterpret_cast<float4 *>(&(v)))

// -------------------------------------- of a w --------------------------------------
template <typename T, const int LANES = WARP_SIZE>
__device__ __forceinline__ T warp_sum(T v0) {
#pragma unroll
  for (int step = LANES >> 1; step >= 1; step >>= 1) {
    v0 += __shfl_xor_sync(0xffffffff, v0, step);
  }
  return v0;
}

template <const int LANES = WARP_SIZE>
__device__ __forceinline__ float warp_max(float v0) {
#pragma unroll
  for (int step = LANES >> 1; step >= 1; step >>= 1) {
    v0 = fmaxf(v0, __shfl_xor_sync(0xffffffff, v0, step));
  }
  return v0;
}

// -------------------------------------- of a block -------------------------------------
template <const int THREADS = 256>
__device__ float block_sum(float v0) {
  constexpr int WARPS = (THREADS + WARP_SIZE - 1) / WARP_SIZE;
  int w = threadIdx.x / WARP_SIZE;
  int lane = threadIdx.x % WARP_SIZE;
  static __shared__ float of_warps[WARPS];

  float value = warp_sum<float>(v0);
  if (lane == 0)
    of_warps[w] = value;
  __syncthreads();
  value = (lane < WARPS) ? of_warps[lane] : 0.0f;
  value = warp_sum<float, WARPS>(value);
  // lane 0 has the sum, all need it
  value = __shfl_sync(0xffffffff, value, 0);
  return value;
}

template <const int THREADS = 256>
__device__ float block_max(float v0) {
  constexpr int WARPS = (THREADS + WARP_SIZE - 1) / WARP_SIZE;
  static __shared__ float of_warps[WARPS];
  float value = warp_max(v0);
  if (threadIdx.x % WARP_SIZE == 0)
    of_warps[threadIdx.x / WARP_SIZE] = value;
  __syncthreads();
  value = (threadIdx.x % WARP_SIZE < WARPS) ? of_warps[threadIdx.x % WARP_SIZE] : -FLT_MAX;
  value = warp_max<WARPS>(value);
  return __shfl_sync(0xffffffff, value, 0);
}

// grid(n/256), block(256)
template <const int THREADS = 256>
__global__ void block_all_reduce_sum_f32_f32_kernel(float *a, float *y, int n) {
  int tx = threadIdx.x;
  int at = THREADS * blockIdx.x + tx;
  constexpr int WARPS = (THREADS + WARP_SIZE - 1) / WARP_SIZE;
  __shared__ float of_warps[WARPS];
  float sum = at < n ? a[at] : 0.0f;
  int w = tx / WARP_SIZE, lane = tx % WARP_SIZE;
  sum = warp_sum<float, WARP_SIZE>(sum);
  if (lane == 0)
    of_warps[w] = sum;
  __syncthreads();
  sum = lane < WARPS ? of_warps[lane] : 0.0f;
  if (w == 0)
    sum = warp_sum<float, WARPS>(sum);
  if (tx == 0)
    atomicAdd(y, sum);
}

template <const int THREADS = 256 / 8>
__global__ void block_all_reduce_sum_f16x8_pack_f32_kernel(half *a, float *y, int n) {
  const int at = (blockIdx.x * THREADS + threadIdx.x) * 8;
  half pack[8];
  float sum = 0.0f;
  if (at + 7 < n) {
    LDST128BITS(pack[0]) = LDST128BITS(a[at]);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      sum += __half2float(pack[i]);
  }
  sum = block_sum<THREADS>(sum);
  if (threadIdx.x == 0)
    atomicAdd(y, sum);
}

// sums of bytes are exact in 32 bits
template <const int THREADS = 256>
__global__ void block_all_reduce_sum_i8_i32_kernel(int8_t *a, int32_t *y, int n) {
  __shared__ int32_t parts[THREADS / WARP_SIZE];
  int i = blockIdx.x * THREADS + threadIdx.x;
  int32_t sum = i < n ? static_cast<int32_t>(a[i]) : 0;
  sum = warp_sum<int32_t>(sum);
  if (threadIdx.x % WARP_SIZE == 0)
    parts[threadIdx.x / WARP_SIZE] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < THREADS / WARP_SIZE; ++w)
      sum += parts[w];
    atomicAdd(y, sum);
  }
}

template <const int THREADS = 256 / 4>
__global__ void dot_prod_f32x4_f32_kernel(float *a, float *b, float *y, int n) {
  int at = (blockIdx.x * THREADS + threadIdx.x) * 4;
  float prod = 0.0f;
  if (at < n) {
    float4 va = FLOAT4(a[at]);
    float4 vb = FLOAT4(b[at]);
    prod = va.x * vb.x + va.y * vb.y + va.z * vb.z + va.w * vb.w;
  }
  prod = block_sum<THREADS>(prod);
  if (threadIdx.x == 0)
    atomicAdd(y, prod);
}

// a token per block: grid(tokens), block(H); exponentials of large numbers stay finite
template <const int THREADS = 256>
__global__ void softmax_of_tokens_kernel(float *x, float *y, int n) {
  const int tx = threadIdx.x;
  const int at = blockIdx.x * blockDim.x + tx;
  float v0 = (at < n) ? x[at] : -FLT_MAX;
  float top = block_max<THREADS>(v0);
  float e = (at < n) ? expf(x[at] - top) : 0.0f;
  float total = block_sum<THREADS>(e);
  if (at < n)
    y[at] = e / total;
}

struct __align__(8) MD {
  float m;
  float d;
};

template <const int LANES = WARP_SIZE>
__device__ __forceinline__ MD warp_fold(MD value) {
#pragma unroll
  for (int step = LANES >> 1; step >= 1; step >>= 1) {
    MD other;
    other.m = __shfl_xor_sync(0xffffffff, value.m, step);
    other.d = __shfl_xor_sync(0xffffffff, value.d, step);
    const bool bigger = value.m > other.m;
    const MD high = bigger ? value : other, low = bigger ? other : value;
    value.d = high.d + low.d * __expf(low.m - high.m);
    value.m = high.m;
  }
  return value;
}

template <const int THREADS = 256>
__global__ void online_softmax_kernel(const float *x, float *y, int n) {
  const int tx = threadIdx.x;
  const int at = blockIdx.x * THREADS + tx;
  const int WARPS = THREADS / WARP_SIZE;
  __shared__ MD of_warps[WARPS];
  MD v0;
  v0.m = at < n ? x[at] : -FLT_MAX;
  v0.d = at < n ? 1.0f : 0.0f;
  MD folded = warp_fold<WARP_SIZE>(v0);
  if (tx % WARP_SIZE == 0)
    of_warps[tx / WARP_SIZE] = folded;
  __syncthreads();
  if (tx < WARP_SIZE) {
    MD block_res = tx < WARPS ? of_warps[tx] : MD{-FLT_MAX, 0.0f};
    block_res = warp_fold<WARPS>(block_res);
    if (tx == 0)
      of_warps[0] = block_res;
  }
  __syncthreads();
  const MD final_res = of_warps[0];
  if (at < n)
    y[at] = __expf(x[at] - final_res.m) / final_res.d;
}

// y = x / rms(x) * g, a row of K per block
template <const int THREADS = 256 / 4>
__global__ void rms_norm_f32x4_kernel(float *x, float *y, float g, int n, int K) {
  int at = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  const float eps = 1e-5f;
  __shared__ float s_scale;
  float4 v = at < n * K ? FLOAT4(x[at]) : make_float4(0.f, 0.f, 0.f, 0.f);
  float squares = v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  squares = block_sum<THREADS>(squares);
  if (threadIdx.x == 0)
    s_scale = rsqrtf(squares / (float)K + eps);
  __syncthreads();
  v.x = v.x * s_scale * g;
  v.y = v.y * s_scale * g;
  v.z = v.z * s_scale * g;
  v.w = v.w * s_scale * g;
  if (at < n * K)
    FLOAT4(y[at]) = v;
}

// two reductions, one after the other, through the same function
template <const int THREADS = 256>
__global__ void layer_norm_f16_f32_kernel(half *x, half *y, float g, float b, int n, int K) {
  int tx = threadIdx.x;
  int at = blockIdx.x * THREADS + tx;
  float value = (at < n * K && tx < K) ? __half2float(x[at]) : 0.0f;
  float mean = block_sum<THREADS>(value) / (float)K;
  __syncthreads();  // the sums of warps are used again
  float diff = value - mean;
  float squares = block_sum<THREADS>(diff * diff);
  float scale = rsqrtf(squares / (float)K + 1e-5f);
  if (at < n * K)
    y[at] = __float2half(__fmaf_rn(diff * scale, g, b));
}

torch::Tensor dot_prod_f32x4_f32(torch::Tensor a, torch::Tensor b) {
  auto result = torch::zeros({1}, a.options());
  const int n = a.numel();
  dot_prod_f32x4_f32_kernel<64><<<(n + 255) / 256, 64>>>(
      a.data_ptr<float>(), b.data_ptr<float>(), result.data_ptr<float>(), n);
  return result;
}

#define SOFTMAX_OF_WIDTH(H)                                                    \
  case H:                                                                      \
    softmax_of_tokens_kernel<H>                                       \
        <<<tokens, H>>>(x.data_ptr<float>(), y.data_ptr<float>(), tokens * H); \
    break;

void softmax_of_tokens(torch::Tensor x, torch::Tensor y) {
  const int tokens = x.size(0);
  switch (x.size(1)) {
    SOFTMAX_OF_WIDTH(64)
    SOFTMAX_OF_WIDTH(128)
    SOFTMAX_OF_WIDTH(256)
  default:
    throw std::runtime_error("rows of 64, 128 or 256");
  }
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("dot_prod_f32x4_f32", &dot_prod_f32x4_f32, "a . b");
  module.def("softmax_of_tokens", &softmax_of_tokens, "along rows");
}
