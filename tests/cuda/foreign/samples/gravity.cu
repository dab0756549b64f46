/*
 * Bodies that attract each other: all pairs, tile by tile.
 */
#include <math.h>
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <helper_cuda.h>

namespace cg = cooperative_groups;

__constant__ float nearnessLimit;
__constant__ double nearnessLimit64;

template <class T>
struct VectorsOf;
template <>
struct VectorsOf<float> {
  typedef float3 three;
  typedef float4 four;
};
template <>
struct VectorsOf<double> {
  typedef double3 three;
  typedef double4 four;
};

template <typename T>
__device__ T softening() {
  return nearnessLimit;
}
template <>
__device__ double softening<double>() {
  return nearnessLimit64;
}

template <typename T>
__device__ T inverseRoot(T x) {
  return rsqrtf(x);
}
template <>
__device__ double inverseRoot<double>(double x) {
  return rsqrt(x);
}

template <class T>
struct DynamicShared {
  __device__ inline operator T *() {
    extern __shared__ int words[];
    return (T *)words;
  }
};

template <typename T>
__device__ typename VectorsOf<T>::three pull(typename VectorsOf<T>::three a,
                                             typename VectorsOf<T>::four me,
                                             typename VectorsOf<T>::four other) {
  const T dx = other.x - me.x, dy = other.y - me.y, dz = other.z - me.z;
  const T nearness = inverseRoot<T>(dx * dx + dy * dy + dz * dz + softening<T>());
  const T strength = other.w * nearness * nearness * nearness;
  a.x += dx * strength;
  a.y += dy * strength;
  a.z += dz * strength;
  return a;
}

template <typename T>
__device__ typename VectorsOf<T>::three pullOfAll(typename VectorsOf<T>::four me,
                                                  typename VectorsOf<T>::four *positions,
                                                  int tiles, cg::thread_block cta) {
  typename VectorsOf<T>::four *others = DynamicShared<typename VectorsOf<T>::four>();
  typename VectorsOf<T>::three a = {0, 0, 0};
  for (int tile = 0; tile < tiles; tile++) {
    others[threadIdx.x] = positions[tile * blockDim.x + threadIdx.x];
    cg::sync(cta);  // loaded
#pragma unroll 8
    for (unsigned int k = 0; k < blockDim.x; k++) a = pull<T>(a, me, others[k]);
    cg::sync(cta);  // used
  }
  return a;
}

template <typename T>
__global__ void moveBodies(typename VectorsOf<T>::four *__restrict__ after,
                           typename VectorsOf<T>::four *__restrict__ before,
                           typename VectorsOf<T>::four *velocities, unsigned int count,
                           float deltaTime, float damping, int tiles) {
  cg::thread_block cta = cg::this_thread_block();
  const int me = blockIdx.x * blockDim.x + threadIdx.x;
  if (me >= count) {
    return;  // the count is a multiple of the block
  }
  typename VectorsOf<T>::four position = before[me];
  const typename VectorsOf<T>::three a = pullOfAll<T>(position, before, tiles, cta);
  typename VectorsOf<T>::four v = velocities[me];
  v.x = (v.x + a.x * deltaTime) * damping;
  v.y = (v.y + a.y * deltaTime) * damping;
  v.z = (v.z + a.z * deltaTime) * damping;
  position.x += v.x * deltaTime;
  position.y += v.y * deltaTime;
  position.z += v.z * deltaTime;
  after[me] = position;
  velocities[me] = v;
}

template <typename T>
void moveOnDevice(T *positions[2], T *velocities, unsigned count, float deltaTime, int current) {
  typedef typename VectorsOf<T>::four four;
  const int block = 64, blocks = count / block;
  moveBodies<T><<<blocks, block, block * sizeof(four)>>>(
      (four *)positions[1 - current], (four *)positions[current], (four *)velocities, count,
      deltaTime, 0.995f, blocks);
  getLastCudaError("moveBodies");
}

template void moveOnDevice<float>(float *[2], float *, unsigned, float, int);
