#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <helper_cuda.h>
#include <helper_functions.h>

#define IMUL(a, b) __mul24(a, b)
#define SLOTS 64

// the kernel's text
#include "dotProducts_kernel.cuh"

const int PAIRS = 64;
const int ELEMENTS = 1000;

static float randomBetween(float low, float high) {
  const float t = (float)rand() / (float)RAND_MAX;
  return low + t * (high - low);
}

int main(int argc, char **argv) {
  float *left, *right, *dots;
  findCudaDevice(argc, (const char **)argv);
  checkCudaErrors(cudaMallocManaged(&left, PAIRS * ELEMENTS * sizeof(float)));
  checkCudaErrors(cudaMallocManaged(&right, PAIRS * ELEMENTS * sizeof(float)));
  checkCudaErrors(cudaMallocManaged(&dots, PAIRS * sizeof(float)));
  srand(7);
  for (int i = 0; i < PAIRS * ELEMENTS; i++) {
    left[i] = randomBetween(-1, 1);
    right[i] = randomBetween(0, 1);
  }
  dotProductsKernel<<<16, 32>>>(dots, left, right, PAIRS, ELEMENTS);
  getLastCudaError("dotProductsKernel() failed\n");
  checkCudaErrors(cudaDeviceSynchronize());
  double worst = 0;
  for (int p = 0; p < PAIRS; p++) {
    double exact = 0;
    for (int i = 0; i < ELEMENTS; i++)
      exact += (double)left[p * ELEMENTS + i] * right[p * ELEMENTS + i];
    worst = fmax(worst, fabs(exact - dots[p]));
  }
  printf("largest difference %e\n", worst);
  return worst < 1e-3 ? EXIT_SUCCESS : EXIT_FAILURE;
}
