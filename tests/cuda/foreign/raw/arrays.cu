extern "C" {

__global__ void saxpy(float a, const float *x, float *y, const size_t n) {
  size_t i = (size_t)blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

__global__ void row_argmax(const double *x, long long *which, int rows, int columns) {
  extern __shared__ char scratch[];
  double *best = (double *)scratch;
  int *place = (int *)(best + blockDim.x);
  int row = blockIdx.x, tid = threadIdx.x;
  best[tid] = -1.0 / 0.0;
  place[tid] = 0;
  for (int c = tid; c < columns; c += blockDim.x)
    if (x[row * columns + c] > best[tid]) {
      best[tid] = x[row * columns + c];
      place[tid] = c;
    }
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half >>= 1) {
    if (tid < half) {
      bool later = best[tid + half] == best[tid] && place[tid + half] < place[tid];
      if (best[tid + half] > best[tid] || later) {
        best[tid] = best[tid + half];
        place[tid] = place[tid + half];
      }
    }
    __syncthreads();
  }
  if (tid == 0) which[row] = place[0];
}

// clusters are few: each block adds up in shared memory first
__global__ void add_to_centers(const float2 *points, const int *label, float2 *sums,
                               unsigned long long *counts, int n, int k) {
  __shared__ float sx[8], sy[8];
  __shared__ unsigned int members[8];
  if (threadIdx.x < k) {
    sx[threadIdx.x] = sy[threadIdx.x] = 0.f;
    members[threadIdx.x] = 0u;
  }
  __syncthreads();  // zeros
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    atomicAdd(&sx[label[i]], points[i].x);
    atomicAdd(&sy[label[i]], points[i].y);
    atomicAdd(&members[label[i]], 1u);
  }
  __syncthreads();
  if (threadIdx.x < k) {
    atomicAdd(&sums[threadIdx.x].x, sx[threadIdx.x]);
    atomicAdd(&sums[threadIdx.x].y, sy[threadIdx.x]);
    atomicAdd(&counts[threadIdx.x], (unsigned long long)members[threadIdx.x]);
  }
}

}  // extern "C"
