#include <algorithm>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <torch/extension.h>
#include <torch/types.h>
#include <vector>

#define WARP_SIZE 32
#define INT4(v) (*reinterpret_cast<int4 *>(&(v)))
#define FLOAT4(v) (*reinterpret_cast<float4 *>(&(v)))
#define HALF2(v) (*reinterpret_cast<half2 *>(&(v)))
#define LDST128BITS(v) (*reinterpret_cast<float4 *>(&(v)))

// grid(n/256), block(256)
__global__ void elementwise_add_f32_kernel(float *a, float *b, float *c, int n) {
  int i = threadIdx.x + blockDim.x * blockIdx.x;
  if (i >= n)
    return;
  c[i] = a[i] + b[i];
}

// grid(n/256), block(256/4); what is left after the last four goes one by one
__global__ void elementwise_add_f32x4_kernel(float *a, float *b, float *c, int n) {
  int i = 4 * (threadIdx.x + blockDim.x * blockIdx.x);
  if (i + 3 < n) {
    float4 va = FLOAT4(a[i]), vb = FLOAT4(b[i]), vc;
    vc.x = va.x + vb.x;
    vc.y = va.y + vb.y;
    vc.z = va.z + vb.z;
    vc.w = va.w + vb.w;
    FLOAT4(c[i]) = vc;
  } else {
    for (; i < n; ++i)
      c[i] = a[i] + b[i];
  }
}

__global__ void elementwise_add_f16x2_kernel(half *a, half *b, half *c, int n) {
  const int i = (threadIdx.x + blockDim.x * blockIdx.x) * 2;
  if (i < n) {
    half2 left = HALF2(a[i]), right = HALF2(b[i]), sum;
    sum.x = __hadd(left.x, right.x);
    sum.y = __hadd(left.y, right.y);
    HALF2(c[i]) = sum;
  }
}

// eight halves in one load of 128 bits, kept in registers
__global__ void elementwise_add_f16x8_pack_kernel(half *a, half *b, half *c, int n) {
  const int i = (threadIdx.x + blockDim.x * blockIdx.x) * 8;
  if (i >= n)
    return;
  half pack_a[8], pack_b[8], pack_c[8];
  LDST128BITS(pack_a[0]) = LDST128BITS(a[i]);
  LDST128BITS(pack_b[0]) = LDST128BITS(b[i]);
#pragma unroll
  for (int k = 0; k < 8; k += 2) {
    HALF2(pack_c[k]) = __hadd2(HALF2(pack_a[k]), HALF2(pack_b[k]));
  }
  LDST128BITS(c[i]) = LDST128BITS(pack_c[0]);
}

#define EXP_RANGE 88.0f
#define CLAMPED(v) fminf(fmaxf((v), -EXP_RANGE), EXP_RANGE)
#define ROOT_OF_2_OVER_PI (M_SQRT2 / 2 * M_2_SQRTPI)

__global__ void relu_f32x4_kernel(float4 *x, float4 *y, int quads) {
  const int i = threadIdx.x + blockDim.x * blockIdx.x;
  if (i < quads) {
    const float4 v = x[i];
    y[i] = make_float4(fmaxf(0.0f, v.x), fmaxf(0.0f, v.y), fmaxf(0.0f, v.z), fmaxf(0.0f, v.w));
  }
}

__global__ void relu_f16x2_kernel(const half2 *x, half2 *y, int pairs) {
  const int i = threadIdx.x + blockDim.x * blockIdx.x;
  if (i < pairs) {
    half2 v = x[i];
    v.x = __hmax(v.x, __float2half(0.0f));
    v.y = __hmax(v.y, __float2half(0.0f));
    y[i] = v;
  }
}

__global__ void sigmoid_f32_kernel(float *x, float *y, int n) {
  int i = threadIdx.x + blockDim.x * blockIdx.x;
  if (i < n) {
    const float v = CLAMPED(x[i]);
    y[i] = 1.0f / (1.0f + expf(-v));
  }
}

__inline__ __device__ float gelu_by_tanh(float x) {
  return x / 2 * (1.0f + tanhf(ROOT_OF_2_OVER_PI * (x + 0.044715f * x * x * x)));
}
__inline__ __device__ float gelu_by_erf(float x) {
  return x / 2 * (1 + erff(x * (float)M_SQRT1_2));
}

// a switch at compile time, as a torch user chooses "none" or "tanh"
template <bool APPROXIMATE>
__global__ void gelu_f32_kernel(float *x, float *y, int n) {
  int i = threadIdx.x + blockDim.x * blockIdx.x;
  if (i < n) {
    float v = CLAMPED(x[i]);
    y[i] = APPROXIMATE ? gelu_by_tanh(v) : gelu_by_erf(v);
  }
}

__device__ __forceinline__ float swish(float x) { return x / (1.0f + expf(-x)); }
__device__ __forceinline__ half elu_half(half x, float alpha) {
  const half zero = __float2half(0.f);
  return __hgt(x, zero) ? x
                        : __hmul(__float2half(alpha), __hsub(hexp(x), __float2half(1.f)));
}

__global__ void swish_f32x4_kernel(float *x, float *y, int n) {
  int i = (threadIdx.x + blockDim.x * blockIdx.x) * 4;
  if (i < n) {
    float4 v = FLOAT4(x[i]);
    v.x = swish(v.x);
    v.y = swish(v.y);
    v.z = swish(v.z);
    v.w = swish(v.w);
    FLOAT4(y[i]) = v;
  }
}

// loops over the grid
__global__ void elu_f16_kernel(const half *__restrict__ x, half *__restrict__ y, int n,
                               float alpha = 1.0f) {
  for (int i = threadIdx.x + blockDim.x * blockIdx.x; i < n; i += blockDim.x * gridDim.x)
    y[i] = elu_half(x[i], alpha);
}

__global__ void embedding_f32x4_kernel(const int *idx, float *weight, float *output, int n,
                                       int emb_size) {
  const int tx = threadIdx.x * 4;
  const int offset = idx[blockIdx.x] * emb_size;
  if (blockIdx.x < n && tx < emb_size)
    FLOAT4(output[blockIdx.x * emb_size + tx]) = FLOAT4(weight[offset + tx]);
}

__global__ void histogram_i32x4_kernel(int *a, int *y, int n) {
  const int i = 4 * (threadIdx.x + blockDim.x * blockIdx.x);
  if (i < n) {
    int4 v = INT4(a[i]);
    atomicAdd(&(y[v.x]), 1);
    atomicAdd(&(y[v.y]), 1);
    atomicAdd(&(y[v.z]), 1);
    atomicAdd(&(y[v.w]), 1);
  }
}

// --------------------- PyTorch bindings -----------------------
#define BIND(func) module.def(#func, &func, "calls " #func "_kernel");
#define NEEDS_DTYPE(T, th_type)                                                \
  if ((T).scalar_type() != (th_type)) {                                        \
    std::cerr << (T).options() << std::endl;                                   \
    throw std::runtime_error(#T " is not of " #th_type);                       \
  }

#define ADDITION(suffix, th_type, type, width)               \
  void elementwise_add_##suffix(torch::Tensor a, torch::Tensor b,         \
                                     torch::Tensor c) {                        \
    NEEDS_DTYPE(a, th_type)                                                    \
    NEEDS_DTYPE(b, th_type)                                                    \
    NEEDS_DTYPE(c, th_type)                                                    \
    const int n = a.numel();                                                   \
    elementwise_add_##suffix##_kernel                                     \
        <<<dim3((n + 255) / 256), dim3(256 / (width))>>>(                 \
            reinterpret_cast<type *>(a.data_ptr()),                    \
            reinterpret_cast<type *>(b.data_ptr()),                    \
            reinterpret_cast<type *>(c.data_ptr()), n);                \
  }

ADDITION(f32, torch::kFloat32, float, 1)
ADDITION(f32x4, torch::kFloat32, float, 4)
ADDITION(f16x2, torch::kHalf, half, 2)
ADDITION(f16x8_pack, torch::kHalf, half, 8)

torch::Tensor histogram_i32x4(torch::Tensor a) {
  NEEDS_DTYPE(a, torch::kInt32)
  auto counts = torch::zeros({a.max().item<int>() + 1}, a.options());
  const int n = a.numel();
  histogram_i32x4_kernel<<<(n + 255) / 256, 64>>>(a.data_ptr<int>(), counts.data_ptr<int>(), n);
  return counts;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  BIND(elementwise_add_f32)
  BIND(elementwise_add_f32x4)
  BIND(elementwise_add_f16x2)
  BIND(elementwise_add_f16x8_pack)
  BIND(histogram_i32x4)
}
