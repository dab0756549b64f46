/*
 * A decomposition into wavelets of Haar, a sequence of low discrepancy, and a filter of images.
 */
#include <helper_cuda.h>
#include <helper_math.h>

typedef unsigned int uint;
typedef unsigned char uchar;

#define INV_SQRT_2 0.70710678118654752440f
#define DIMENSIONS 3
#define BITS 31
#define SCALE (1.0f / (float)0x80000001U)

static __constant__ unsigned int c_Directions[DIMENSIONS][BITS];

/* All levels of a signal of twice the block's size; approximations stay in shared memory */
__global__ void haarLevels(const float *signal, float *details, float *mean, const uint levels) {
  extern __shared__ float values[];
  const uint tid = threadIdx.x, length = 2 * blockDim.x;
  const float *own = signal + blockIdx.x * length;
  values[tid] = own[tid];
  values[tid + blockDim.x] = own[tid + blockDim.x];
  __syncthreads();

  uint active = blockDim.x;
  for (uint level = 0; level < levels; ++level, active >>= 1) {
    float sum = 0;
    if (tid < active) {
      const float even = values[2 * tid], odd = values[2 * tid + 1];
      sum = (even + odd) * INV_SQRT_2;
      details[blockIdx.x * length + active + tid] = (even - odd) * INV_SQRT_2;
    }
    __syncthreads();  // the level has been read
    if (tid < active) values[tid] = sum;
    __syncthreads();  // the next level is there
  }
  if (tid < 2 * active) mean[blockIdx.x * 2 * active + tid] = values[tid];
}

/* Number `pos` of the sequence, in each dimension: threadIdx.y says which */
static __global__ void quasirandom(float *d_Output, unsigned int seed, unsigned int N) {
  const unsigned int *row = c_Directions[threadIdx.y];
  const unsigned int step = blockDim.x * gridDim.x;
  for (unsigned int pos = blockDim.x * blockIdx.x + threadIdx.x; pos < N; pos += step) {
    unsigned int result = 0;
    unsigned int data = seed + pos;
    for (int bit = 0; bit < BITS; bit++, data >>= 1)
      if (data & 1) result ^= row[bit];
    d_Output[threadIdx.y * N + pos] = (float)(result + 1) * SCALE;
  }
}

inline __device__ uint packColor(float4 color) {
  return ((uint)(__saturatef(color.w) * 255.0f) << 24) | ((uint)(__saturatef(color.z) * 255.0f) << 16) |
         ((uint)(__saturatef(color.y) * 255.0f) << 8) | ((uint)(__saturatef(color.x) * 255.0f));
}

inline __device__ float4 unpackColor(uint c) {
  float4 color;
  color.x = (c & 0xff) / 255.0f;
  color.y = ((c >> 8) & 0xff) / 255.0f;
  color.z = ((c >> 16) & 0xff) / 255.0f;
  color.w = ((c >> 24) & 0xff) / 255.0f;
  return color;
}

/* The mean of 2r + 1 pixels in a row of packed colours, a thread per row, by a running sum */
__global__ void boxRows(const uint *id, uint *od, int w, int h, int r) {
  const uint y = blockIdx.x * blockDim.x + threadIdx.x;
  if (y >= h) return;
  const float scale = 1.0f / (float)((r << 1) + 1);
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  for (int x = -r; x < w + r; ++x) {
    if (x < w) {
      const float4 in = unpackColor(id[y * w + max(x, 0)]);
      sum.x += in.x, sum.y += in.y, sum.z += in.z, sum.w += in.w;
    } else {
      const float4 in = unpackColor(id[y * w + w - 1]);
      sum.x += in.x, sum.y += in.y, sum.z += in.z, sum.w += in.w;
    }
    if (x < r) continue;
    od[y * w + x - r] =
        packColor(make_float4(sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale));
    const float4 out = unpackColor(id[y * w + max(x - 2 * r, 0)]);
    sum.x -= out.x, sum.y -= out.y, sum.z -= out.z, sum.w -= out.w;
  }
}

extern "C" void quasirandomOnDevice(float *d_Output, unsigned int *h_Table, unsigned int N) {
  checkCudaErrors(
      cudaMemcpyToSymbol(c_Directions, h_Table, DIMENSIONS * BITS * sizeof(unsigned int)));
  const dim3 threads(128, DIMENSIONS);
  quasirandom<<<128, threads>>>(d_Output, 0, N);
  getLastCudaError("quasirandom() execution failed.\n");
}
