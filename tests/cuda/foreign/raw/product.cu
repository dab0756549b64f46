// Sizes are pasted in by the caller; these are what stands without it.
#ifndef DIM_X
#define DIM_X 8
#define DIM_Y 8
#define BLK_M 16
#define BLK_N 32
#define BLK_K 8
#endif
#define THR_M (BLK_M / DIM_X)
#define THR_N (BLK_N / DIM_Y)
#define within(array, at, last) array[min((at), (last))]

// column-major: C = A B, with A of M x K and B of K x N
extern "C" __global__ __launch_bounds__(DIM_X * DIM_Y) void sgemm(int M, int N, int K,
                                                                  const float *A, const float *B,
                                                                  float *C) {
  __shared__ float panelA[BLK_K][BLK_M + 1];
  __shared__ float panelB[BLK_N][BLK_K + 1];
  float rC[THR_N][THR_M];
  int idx = threadIdx.x, idy = threadIdx.y;
  int id = DIM_X * idy + idx;
  int top = blockIdx.x * BLK_M, left = blockIdx.y * BLK_N;

  for (int n = 0; n < THR_N; n++)
    for (int m = 0; m < THR_M; m++) rC[n][m] = 0;

  for (int kk = 0; kk < K; kk += BLK_K) {
    for (int e = id; e < BLK_K * BLK_M; e += DIM_X * DIM_Y) {
      int k = e / BLK_M, m = e % BLK_M;
      float a = within(A, (kk + k) * M + top + m, M * K - 1);
      panelA[k][m] = kk + k < K ? a : 0;
    }
    for (int e = id; e < BLK_N * BLK_K; e += DIM_X * DIM_Y) {
      int n = e / BLK_K, k = e % BLK_K;
      panelB[n][k] = kk + k < K ? within(B, (left + n) * K + kk + k, K * N - 1) : 0;
    }
    __syncthreads();
    for (int k = 0; k < BLK_K; k++)
      for (int n = 0; n < THR_N; n++)
        for (int m = 0; m < THR_M; m++)
          rC[n][m] += panelA[k][m * DIM_X + idx] * panelB[n * DIM_Y + idy][k];
    __syncthreads();  // before the next panels
  }

  for (int n = 0; n < THR_N; n++) {
    int column = left + n * DIM_Y + idy;
    for (int m = 0; m < THR_M; m++) {
      int row = top + m * DIM_X + idx;
      if (row < M && column < N) C[column * M + row] = rC[n][m];
    }
  }
}
