// The same ladder on tensor cores: fragments from memory, from shared memory, by hand.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>
#include <stdio.h>

using namespace nvcuda;

#define WARP_SIZE 32
#define FRAG_M 16
#define FRAG_N 16
#define FRAG_K 16

inline __device__ __host__ size_t up_to(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

// A row-major, B column-major, a warp per 16 x 16 tile of C
__global__ void wmma_plain(const half *__restrict__ A, const half *__restrict__ B,
                                half *__restrict__ C, size_t M, size_t N, size_t K) {
    const size_t steps = up_to(K, FRAG_K);
    const size_t top = blockIdx.y * FRAG_M;
    const size_t first = blockIdx.x * FRAG_N;
    if (top >= M || first >= N) return;
    wmma::fragment<wmma::accumulator, FRAG_M, FRAG_N, FRAG_K, half> sums;
    wmma::fill_fragment(sums, 0.0);
#pragma unroll
    for (size_t i = 0; i < steps; ++i) {
        wmma::fragment<wmma::matrix_a, FRAG_M, FRAG_N, FRAG_K, half, wmma::row_major> left;
        wmma::fragment<wmma::matrix_b, FRAG_M, FRAG_N, FRAG_K, half, wmma::col_major> right;
        wmma::load_matrix_sync(left, A + top * K + i * FRAG_K, K);
        wmma::load_matrix_sync(right, B + i * FRAG_K + first * K, K);
        wmma::mma_sync(sums, left, right, sums);
    }
    wmma::store_matrix_sync(C + top * N + first, sums, N, wmma::mem_row_major);
}

// two by two warps share tiles of A and B; sums in float
template <int WARPS_M = 2, int WARPS_N = 2>
__global__ void wmma_shared(const half *A, const half *B, float *C, int M, int N, int K) {
    constexpr int BM = WARPS_M * FRAG_M, BN = WARPS_N * FRAG_N;
    __shared__ half s_a[BM][FRAG_K + 8];
    __shared__ half s_b[FRAG_K][BN + 8];
    const int warp = threadIdx.x / WARP_SIZE;
    const int warp_m = warp / WARPS_N, warp_n = warp % WARPS_N;

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    for (int k = 0; k < K; k += FRAG_K) {
        for (int i = threadIdx.x; i < BM * FRAG_K; i += blockDim.x)
            s_a[i / FRAG_K][i % FRAG_K] = A[(blockIdx.y * BM + i / FRAG_K) * K + k + i % FRAG_K];
        for (int i = threadIdx.x; i < FRAG_K * BN; i += blockDim.x)
            s_b[i / BN][i % BN] = B[(k + i / BN) * N + blockIdx.x * BN + i % BN];
        __syncthreads();
        wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> b;
        wmma::load_matrix_sync(a, &s_a[warp_m * FRAG_M][0], FRAG_K + 8);
        wmma::load_matrix_sync(b, &s_b[0][warp_n * FRAG_N], BN + 8);
        wmma::mma_sync(sum, a, b, sum);
        __syncthreads();
    }
    float *tile = C + (blockIdx.y * BM + warp_m * FRAG_M) * N + blockIdx.x * BN + warp_n * FRAG_N;
    wmma::store_matrix_sync(tile, sum, N, wmma::mem_row_major);
}

// C = alpha * A @ B + beta * C: accumulators are scaled element by element
__global__ void wmma_scaled(half *a, half *b, float *c, float *d, int m_total, int n_total, int k_total,
                            float alpha, float beta) {
    int lda = k_total;
    int ldb = k_total;
    int ldc = n_total;
    int tileRow = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize;
    int tileCol = (blockIdx.y * blockDim.y + threadIdx.y);

    wmma::fragment<wmma::matrix_a, FRAG_M, FRAG_N, FRAG_K, half, wmma::row_major> rows;
    wmma::fragment<wmma::matrix_b, FRAG_M, FRAG_N, FRAG_K, half, wmma::col_major> cols;
    wmma::fragment<wmma::accumulator, FRAG_M, FRAG_N, FRAG_K, float> products;
    wmma::fragment<wmma::accumulator, FRAG_M, FRAG_N, FRAG_K, float> scaled;
    wmma::fill_fragment(products, 0.0f);

    for (int i = 0; i < k_total; i += FRAG_K) {
        int aCol = i, aRow = tileRow * FRAG_M;
        int bCol = tileCol * FRAG_N, bRow = i;
        if (aRow < m_total && bCol < n_total) {
            wmma::load_matrix_sync(rows, a + aCol + aRow * lda, lda);
            wmma::load_matrix_sync(cols, b + bRow + bCol * ldb, ldb);
            wmma::mma_sync(products, rows, cols, products);
        }
    }

    int outCol = tileCol * FRAG_N;
    int outRow = tileRow * FRAG_M;
    if (outRow < m_total && outCol < n_total) {
        wmma::load_matrix_sync(scaled, c + outCol + outRow * ldc, ldc, wmma::mem_row_major);
        for (int e = 0; e < scaled.num_elements; ++e) {
            scaled.x[e] *= beta;
            scaled.x[e] += alpha * products.x[e];
        }
        wmma::store_matrix_sync(d + outCol + outRow * ldc, scaled, ldc, wmma::mem_row_major);
    }
}

void run_wmma_plain(half *A, half *B, half *C, size_t M, size_t N, size_t K) {
    dim3 block(WARP_SIZE);
    dim3 grid(up_to(N, FRAG_N), up_to(M, FRAG_M));
    wmma_plain<<<grid, block>>>(A, B, C, M, N, K);
}

int main() {
    int device = 0;
    cudaDeviceProp prop;
    cudaGetDeviceProperties(&prop, device);
    if (prop.major < 7) {
        printf("tensor cores came with compute capability 7.0\n");
        return 1;
    }
    half *A, *B, *C;
    cudaMallocManaged(&A, 64 * 64 * sizeof(half));
    cudaMallocManaged(&B, 64 * 64 * sizeof(half));
    cudaMallocManaged(&C, 64 * 64 * sizeof(half));
    for (int i = 0; i < 64 * 64; i++) A[i] = B[i] = __float2half((i % 7) / 7.0f);
    run_wmma_plain(A, B, C, 64, 64, 64);
    cudaDeviceSynchronize();
    printf("%f\n", __half2float(C[0]));
    return 0;
}
