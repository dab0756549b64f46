// From the obvious kernel to shared memory: C = scale * A @ B + keep * C, all row-major.
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <vector>

#define CEIL_DIV(a, b) (((a) - 1) / (b) + 1)

#define TRY(call)                                                        \
  do {                                                                          \
    cudaError_t status_ = (call);                                               \
    if (status_ != cudaSuccess) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,                        \
              cudaGetErrorString(status_));                                     \
      exit(EXIT_FAILURE);                                                       \
    }                                                                           \
  } while (0)

__global__ void sgemm_naive(int M, int N, int K, float scale, const float *A,
                            const float *B, float keep, float *C) {
  const uint row = blockIdx.x * blockDim.x + threadIdx.x;
  const uint col = blockIdx.y * blockDim.y + threadIdx.y;

  // the grid may stick out on both sides
  if (row < M && col < N) {
    float acc = 0.0;
    for (int k = 0; k < K; ++k) {
      acc += A[row * K + k] * B[k * N + col];
    }
    C[row * N + col] = scale * acc + keep * C[row * N + col];
  }
}

template <const uint SIDE>
__global__ void sgemm_coalesced(int M, int N, int K, float scale,
                                const float *A, const float *B, float keep,
                                float *C) {
  const int row = blockIdx.x * SIDE + (threadIdx.x / SIDE);
  const int col = blockIdx.y * SIDE + (threadIdx.x % SIDE);
  if (row >= M || col >= N)
    return;
  float acc = 0.0f;
  for (int k = 0; k < K; ++k) {
    acc += A[row * K + k] * B[k * N + col];
  }
  C[row * N + col] = scale * acc + keep * C[row * N + col];
}

template <const int SIDE>
__global__ void sgemm_shared(int M, int N, int K, float scale, const float *A,
                             const float *B, float keep, float *C) {
  const uint tileRow = blockIdx.x;
  const uint tileCol = blockIdx.y;

  __shared__ float left[SIDE * SIDE], right[SIDE * SIDE];

  const uint tx = threadIdx.x % SIDE;
  const uint ty = threadIdx.x / SIDE;

  A += tileRow * SIDE * K;
  B += tileCol * SIDE;
  C += tileRow * SIDE * N + tileCol * SIDE;

  float acc = 0.0;
  for (int step = 0; step < K; step += SIDE) {
    left[ty * SIDE + tx] = A[ty * K + tx];
    right[ty * SIDE + tx] = B[ty * N + tx];
    __syncthreads();

    A += SIDE;
    B += SIDE * N;
    for (int k = 0; k < SIDE; ++k) {
      acc += left[ty * SIDE + k] * right[k * SIDE + tx];
    }
    // a fast thread must not fill the tiles again while others still read
    __syncthreads();
  }
  C[ty * N + tx] = scale * acc + keep * C[ty * N + tx];
}

void run_sgemm_naive(int M, int N, int K, float scale, float *A, float *B,
                     float keep, float *C) {
  dim3 grid(CEIL_DIV(M, 32), CEIL_DIV(N, 32));
  dim3 block(32, 32);
  sgemm_naive<<<grid, block>>>(M, N, K, scale, A, B, keep, C);
}

void run_sgemm_coalesced(int M, int N, int K, float scale, float *A, float *B,
                         float keep, float *C) {
  dim3 grid(CEIL_DIV(M, 32), CEIL_DIV(N, 32));
  sgemm_coalesced<32><<<grid, dim3(32 * 32)>>>(M, N, K, scale, A, B, keep, C);
}

void run_sgemm_shared(int M, int N, int K, float scale, float *A, float *B,
                      float keep, float *C) {
  dim3 grid(CEIL_DIV(M, 32), CEIL_DIV(N, 32));
  // all of the cache that L1 and shared memory have between them goes to shared memory
  cudaFuncSetAttribute(sgemm_shared<32>,
                       cudaFuncAttributePreferredSharedMemoryCarveout,
                       cudaSharedmemCarveoutMaxShared);
  sgemm_shared<32><<<grid, dim3(32 * 32)>>>(M, N, K, scale, A, B, keep, C);
}

void run_cublas(cublasHandle_t handle, int M, int N, int K, float scale,
                float *A, float *B, float keep, float *C) {
  // cuBLAS is column-major: B^T A^T = (A B)^T
  cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, N, M, K, &scale, B, N, A, K,
              &keep, C, N);
}

int main(int argc, char *argv[]) {
  if (argc != 2) {
    printf("usage: %s <kernel 0..3>\n", argv[0]);
    return EXIT_FAILURE;
  }
  const int which = atoi(argv[1]);
  cublasHandle_t handle;
  if (cublasCreate(&handle)) {
    fprintf(stderr, "no cuBLAS\n");
    return EXIT_FAILURE;
  }
  for (int size : {128, 256, 512}) {
    std::vector<float> host(size * size);
    for (auto &x : host)
      x = (float)rand() / RAND_MAX;
    float *dA, *dB, *dC;
    TRY(cudaMalloc((void **)&dA, sizeof(float) * size * size));
    TRY(cudaMalloc((void **)&dB, sizeof(float) * size * size));
    TRY(cudaMalloc((void **)&dC, sizeof(float) * size * size));
    TRY(cudaMemcpy(dA, host.data(), sizeof(float) * size * size,
                          cudaMemcpyHostToDevice));
    TRY(cudaMemcpy(dB, host.data(), sizeof(float) * size * size,
                          cudaMemcpyHostToDevice));
    switch (which) {
    case 0:
      run_cublas(handle, size, size, size, 1.f, dA, dB, 0.f, dC);
      break;
    case 1:
      run_sgemm_naive(size, size, size, 1.f, dA, dB, 0.f, dC);
      break;
    case 2:
      run_sgemm_coalesced(size, size, size, 1.f, dA, dB, 0.f, dC);
      break;
    default:
      run_sgemm_shared(size, size, size, 1.f, dA, dB, 0.f, dC);
    }
    TRY(cudaPeekAtLastError());
    TRY(cudaDeviceSynchronize());
    cudaFree(dA);
    cudaFree(dB);
    cudaFree(dC);
  }
  cublasDestroy(handle);
  return 0;
}
