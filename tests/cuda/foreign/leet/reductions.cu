#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <float.h>
#include <stdio.h>
#include <torch/extension.h>
#include <tuple>

#define WARP_SIZE 32
#define INT4(value) (reinterpret_cast<int4 *>(&(value))[0])
#define FLOAT4(value) (reinterpret_cast<float4 *>(&(value))[0])
#define HALF2(value) (reinterpret_cast<half2 *>(&(value))[0])
#define LDST128BITS(value) (reinterpret_cast<float4 *>(&(value))[0])

// -------------------------------------- of a warp --------------------------------------
template <typename T, const int kWarpSize = WARP_SIZE>
__device__ __forceinline__ T warp_reduce_sum(T val) {
#pragma unroll
  for (int mask = kWarpSize >> 1; mask >= 1; mask >>= 1) {
    val += __shfl_xor_sync(0xffffffff, val, mask);
  }
  return val;
}

template <const int kWarpSize = WARP_SIZE>
__device__ __forceinline__ float warp_reduce_max_f32(float val) {
#pragma unroll
  for (int mask = kWarpSize >> 1; mask >= 1; mask >>= 1) {
    val = fmaxf(val, __shfl_xor_sync(0xffffffff, val, mask));
  }
  return val;
}

// -------------------------------------- of a block -------------------------------------
template <const int NUM_THREADS = 256>
__device__ float block_reduce_sum_f32(float val) {
  constexpr int NUM_WARPS = (NUM_THREADS + WARP_SIZE - 1) / WARP_SIZE;
  int warp = threadIdx.x / WARP_SIZE;
  int lane = threadIdx.x % WARP_SIZE;
  static __shared__ float shared[NUM_WARPS];

  float value = warp_reduce_sum<float>(val);
  if (lane == 0)
    shared[warp] = value;
  __syncthreads();
  value = (lane < NUM_WARPS) ? shared[lane] : 0.0f;
  value = warp_reduce_sum<float, NUM_WARPS>(value);
  // lane 0 has the sum, all need it
  value = __shfl_sync(0xffffffff, value, 0, 32);
  return value;
}

template <const int NUM_THREADS = 256>
__device__ float block_reduce_max_f32(float val) {
  constexpr int NUM_WARPS = (NUM_THREADS + WARP_SIZE - 1) / WARP_SIZE;
  static __shared__ float shared[NUM_WARPS];
  float value = warp_reduce_max_f32(val);
  if (threadIdx.x % WARP_SIZE == 0)
    shared[threadIdx.x / WARP_SIZE] = value;
  __syncthreads();
  value = (threadIdx.x % WARP_SIZE < NUM_WARPS) ? shared[threadIdx.x % WARP_SIZE] : -FLT_MAX;
  value = warp_reduce_max_f32<NUM_WARPS>(value);
  return __shfl_sync(0xffffffff, value, 0);
}

// grid(N/256), block(256)
template <const int NUM_THREADS = 256>
__global__ void block_all_reduce_sum_f32_f32_kernel(float *a, float *y, int N) {
  int tid = threadIdx.x;
  int idx = NUM_THREADS * blockIdx.x + tid;
  constexpr int NUM_WARPS = (NUM_THREADS + WARP_SIZE - 1) / WARP_SIZE;
  __shared__ float reduce_smem[NUM_WARPS];
  float sum = idx < N ? a[idx] : 0.0f;
  int warp = tid / WARP_SIZE, lane = tid % WARP_SIZE;
  sum = warp_reduce_sum<float, WARP_SIZE>(sum);
  if (lane == 0)
    reduce_smem[warp] = sum;
  __syncthreads();
  sum = lane < NUM_WARPS ? reduce_smem[lane] : 0.0f;
  if (warp == 0)
    sum = warp_reduce_sum<float, NUM_WARPS>(sum);
  if (tid == 0)
    atomicAdd(y, sum);
}

template <const int NUM_THREADS = 256 / 8>
__global__ void block_all_reduce_sum_f16x8_pack_f32_kernel(half *a, float *y, int N) {
  const int idx = (blockIdx.x * NUM_THREADS + threadIdx.x) * 8;
  half pack[8];
  float sum = 0.0f;
  if (idx + 7 < N) {
    LDST128BITS(pack[0]) = LDST128BITS(a[idx]);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      sum += __half2float(pack[i]);
  }
  sum = block_reduce_sum_f32<NUM_THREADS>(sum);
  if (threadIdx.x == 0)
    atomicAdd(y, sum);
}

// sums of bytes are exact in 32 bits
template <const int NUM_THREADS = 256>
__global__ void block_all_reduce_sum_i8_i32_kernel(int8_t *a, int32_t *y, int N) {
  __shared__ int32_t parts[NUM_THREADS / WARP_SIZE];
  int i = blockIdx.x * NUM_THREADS + threadIdx.x;
  int32_t sum = i < N ? static_cast<int32_t>(a[i]) : 0;
  sum = warp_reduce_sum<int32_t>(sum);
  if (threadIdx.x % WARP_SIZE == 0)
    parts[threadIdx.x / WARP_SIZE] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < NUM_THREADS / WARP_SIZE; ++w)
      sum += parts[w];
    atomicAdd(y, sum);
  }
}

template <const int NUM_THREADS = 256 / 4>
__global__ void dot_prod_f32x4_f32_kernel(float *a, float *b, float *y, int N) {
  int idx = (blockIdx.x * NUM_THREADS + threadIdx.x) * 4;
  float prod = 0.0f;
  if (idx < N) {
    float4 va = FLOAT4(a[idx]);
    float4 vb = FLOAT4(b[idx]);
    prod = va.x * vb.x + va.y * vb.y + va.z * vb.z + va.w * vb.w;
  }
  prod = block_reduce_sum_f32<NUM_THREADS>(prod);
  if (threadIdx.x == 0)
    atomicAdd(y, prod);
}

// a token per block: grid(tokens), block(H); exponentials of large numbers stay finite
template <const int NUM_THREADS = 256>
__global__ void safe_softmax_f32_per_token_kernel(float *x, float *y, int N) {
  const int tid = threadIdx.x;
  const int idx = blockIdx.x * blockDim.x + tid;
  float val = (idx < N) ? x[idx] : -FLT_MAX;
  float max_val = block_reduce_max_f32<NUM_THREADS>(val);
  float exp_val = (idx < N) ? expf(x[idx] - max_val) : 0.0f;
  float exp_sum = block_reduce_sum_f32<NUM_THREADS>(exp_val);
  if (idx < N)
    y[idx] = exp_val / exp_sum;
}

struct __align__(8) MD {
  float m;
  float d;
};

template <const int kWarpSize = WARP_SIZE>
__device__ __forceinline__ MD warp_reduce_md_op(MD value) {
#pragma unroll
  for (int stride = kWarpSize >> 1; stride >= 1; stride >>= 1) {
    MD other;
    other.m = __shfl_xor_sync(0xffffffff, value.m, stride);
    other.d = __shfl_xor_sync(0xffffffff, value.d, stride);
    const bool bigger = value.m > other.m;
    const MD high = bigger ? value : other, low = bigger ? other : value;
    value.d = high.d + low.d * __expf(low.m - high.m);
    value.m = high.m;
  }
  return value;
}

template <const int NUM_THREADS = 256>
__global__ void online_safe_softmax_f32_per_token_kernel(const float *x, float *y, int N) {
  const int tid = threadIdx.x;
  const int at = blockIdx.x * NUM_THREADS + tid;
  const int NUM_WARPS = NUM_THREADS / WARP_SIZE;
  __shared__ MD shared[NUM_WARPS];
  MD val;
  val.m = at < N ? x[at] : -FLT_MAX;
  val.d = at < N ? 1.0f : 0.0f;
  MD res = warp_reduce_md_op<WARP_SIZE>(val);
  if (tid % WARP_SIZE == 0)
    shared[tid / WARP_SIZE] = res;
  __syncthreads();
  if (tid < WARP_SIZE) {
    MD block_res = tid < NUM_WARPS ? shared[tid] : MD{-FLT_MAX, 0.0f};
    block_res = warp_reduce_md_op<NUM_WARPS>(block_res);
    if (tid == 0)
      shared[0] = block_res;
  }
  __syncthreads();
  const MD final_res = shared[0];
  if (at < N)
    y[at] = __expf(x[at] - final_res.m) / final_res.d;
}

// y = x / rms(x) * g, a row of K per block
template <const int NUM_THREADS = 256 / 4>
__global__ void rms_norm_f32x4_kernel(float *x, float *y, float g, int N, int K) {
  int idx = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  const float epsilon = 1e-5f;
  __shared__ float s_variance;
  float4 v = idx < N * K ? FLOAT4(x[idx]) : make_float4(0.f, 0.f, 0.f, 0.f);
  float variance = v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  variance = block_reduce_sum_f32<NUM_THREADS>(variance);
  if (threadIdx.x == 0)
    s_variance = rsqrtf(variance / (float)K + epsilon);
  __syncthreads();
  v.x = v.x * s_variance * g;
  v.y = v.y * s_variance * g;
  v.z = v.z * s_variance * g;
  v.w = v.w * s_variance * g;
  if (idx < N * K)
    FLOAT4(y[idx]) = v;
}

// two reductions, one after the other, through the same function
template <const int NUM_THREADS = 256>
__global__ void layer_norm_f16_f32_kernel(half *x, half *y, float g, float b, int N, int K) {
  int tid = threadIdx.x;
  int idx = blockIdx.x * NUM_THREADS + tid;
  float value = (idx < N * K && tid < K) ? __half2float(x[idx]) : 0.0f;
  float mean = block_reduce_sum_f32<NUM_THREADS>(value) / (float)K;
  __syncthreads();
  float diff = value - mean;
  float variance = block_reduce_sum_f32<NUM_THREADS>(diff * diff);
  float scale = rsqrtf(variance / (float)K + 1e-5f);
  if (idx < N * K)
    y[idx] = __float2half(__fmaf_rn(diff * scale, g, b));
}

torch::Tensor dot_prod_f32x4_f32(torch::Tensor a, torch::Tensor b) {
  auto result = torch::zeros({1}, a.options());
  const int N = a.numel();
  dot_prod_f32x4_f32_kernel<64><<<(N + 255) / 256, 64>>>(
      a.data_ptr<float>(), b.data_ptr<float>(), result.data_ptr<float>(), N);
  return result;
}

#define SOFTMAX_OF_WIDTH(H)                                                    \
  case H:                                                                      \
    safe_softmax_f32_per_token_kernel<H>                                       \
        <<<tokens, H>>>(x.data_ptr<float>(), y.data_ptr<float>(), tokens * H); \
    break;

void safe_softmax_f32_per_token(torch::Tensor x, torch::Tensor y) {
  const int tokens = x.size(0);
  switch (x.size(1)) {
    SOFTMAX_OF_WIDTH(64)
    SOFTMAX_OF_WIDTH(128)
    SOFTMAX_OF_WIDTH(256)
  default:
    throw std::runtime_error("rows of 64, 128 or 256");
  }
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("dot_prod_f32x4_f32", &dot_prod_f32x4_f32, "a . b");
  m.def("safe_softmax_f32_per_token", &safe_softmax_f32_per_token, "along rows");
}
