#include <helper_cuda.h>
#include "walshTransform_kernel.cuh"

void walshOnDevice(float *d_Data, int rows, int log2N) {
  const int limit = 10;
  int N = 1 << log2N;
  for (; log2N > limit; log2N -= 2, N >>= 2, rows <<= 2) {
    walshStep<<<dim3(N / 1024, rows), 256>>>(d_Data, d_Data, N / 4);
    getLastCudaError("walshStep() failed\n");
  }
  walshRows<<<rows, N / 4, N * sizeof(float)>>>(d_Data, d_Data, log2N);
  getLastCudaError("walshRows() failed\n");
}

void convolveDyadic(float *d_A, float *d_B, int log2N) {
  walshOnDevice(d_A, 1, log2N);
  walshOnDevice(d_B, 1, log2N);
  multiplySpectra<<<128, 256>>>(d_A, d_B, 1 << log2N);
  walshOnDevice(d_A, 1, log2N);
}
