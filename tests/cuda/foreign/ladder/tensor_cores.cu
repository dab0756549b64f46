// The same ladder on tensor cores: fragments from memory, from shared memory, by hand.
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>
#include <stdio.h>

using namespace nvcuda;

#define WARP_SIZE 32
#define WMMA_M 16
#define WMMA_N 16
#define WMMA_K 16

inline __device__ __host__ size_t div_ceil(size_t a, size_t b) {
    return (a % b != 0) ? (a / b + 1) : (a / b);
}

// A row-major, B column-major, a warp per 16 x 16 tile of C
__global__ void wmmaNaiveKernel(const half *__restrict__ A, const half *__restrict__ B,
                                half *__restrict__ C, size_t M, size_t N, size_t K) {
    const size_t K_tiles = div_ceil(K, WMMA_K);
    const size_t warp_row = blockIdx.y * WMMA_M;
    const size_t warp_col = blockIdx.x * WMMA_N;
    if (warp_row >= M && warp_col >= N) {
        return;
    }
    wmma::fragment<wmma::accumulator, WMMA_M, WMMA_N, WMMA_K, half> C_frag;
    wmma::fill_fragment(C_frag, 0.0);
#pragma unroll
    for (size_t i = 0; i < K_tiles; ++i) {
        wmma::fragment<wmma::matrix_a, WMMA_M, WMMA_N, WMMA_K, half, wmma::row_major> A_frag;
        wmma::fragment<wmma::matrix_b, WMMA_M, WMMA_N, WMMA_K, half, wmma::col_major> B_frag;
        wmma::load_matrix_sync(A_frag, A + warp_row * K + i * WMMA_K, K);
        wmma::load_matrix_sync(B_frag, B + i * WMMA_K + warp_col * K, K);
        wmma::mma_sync(C_frag, A_frag, B_frag, C_frag);
    }
    wmma::store_matrix_sync(C + warp_row * N + warp_col, C_frag, N, wmma::mem_row_major);
}

// two by two warps share tiles of A and B; sums in float
template <int WARPS_M = 2, int WARPS_N = 2>
__global__ void wmma_shared(const half *A, const half *B, float *C, int M, int N, int K) {
    constexpr int BM = WARPS_M * WMMA_M, BN = WARPS_N * WMMA_N;
    __shared__ half s_a[BM][WMMA_K + 8];
    __shared__ half s_b[WMMA_K][BN + 8];
    const int warp = threadIdx.x / WARP_SIZE;
    const int warp_m = warp / WARPS_N, warp_n = warp % WARPS_N;

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    for (int k = 0; k < K; k += WMMA_K) {
        for (int i = threadIdx.x; i < BM * WMMA_K; i += blockDim.x)
            s_a[i / WMMA_K][i % WMMA_K] = A[(blockIdx.y * BM + i / WMMA_K) * K + k + i % WMMA_K];
        for (int i = threadIdx.x; i < WMMA_K * BN; i += blockDim.x)
            s_b[i / BN][i % BN] = B[(k + i / BN) * N + blockIdx.x * BN + i % BN];
        __syncthreads();
        wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> b;
        wmma::load_matrix_sync(a, &s_a[warp_m * WMMA_M][0], WMMA_K + 8);
        wmma::load_matrix_sync(b, &s_b[0][warp_n * WMMA_N], BN + 8);
        wmma::mma_sync(sum, a, b, sum);
        __syncthreads();
    }
    float *tile = C + (blockIdx.y * BM + warp_m * WMMA_M) * N + blockIdx.x * BN + warp_n * WMMA_N;
    wmma::store_matrix_sync(tile, sum, N, wmma::mem_row_major);
}

// C = alpha * A @ B + beta * C: accumulators are scaled element by element
__global__ void wmma_scaled(half *a, half *b, float *c, float *d, int m_ld, int n_ld, int k_ld,
                            float alpha, float beta) {
    int lda = k_ld;
    int ldb = k_ld;
    int ldc = n_ld;
    int warpM = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize;
    int warpN = (blockIdx.y * blockDim.y + threadIdx.y);

    wmma::fragment<wmma::matrix_a, WMMA_M, WMMA_N, WMMA_K, half, wmma::row_major> a_frag;
    wmma::fragment<wmma::matrix_b, WMMA_M, WMMA_N, WMMA_K, half, wmma::col_major> b_frag;
    wmma::fragment<wmma::accumulator, WMMA_M, WMMA_N, WMMA_K, float> acc_frag;
    wmma::fragment<wmma::accumulator, WMMA_M, WMMA_N, WMMA_K, float> c_frag;
    wmma::fill_fragment(acc_frag, 0.0f);

    for (int i = 0; i < k_ld; i += WMMA_K) {
        int aCol = i, aRow = warpM * WMMA_M;
        int bCol = warpN * WMMA_N, bRow = i;
        if (aRow < m_ld && aCol < k_ld && bRow < k_ld && bCol < n_ld) {
            wmma::load_matrix_sync(a_frag, a + aCol + aRow * lda, lda);
            wmma::load_matrix_sync(b_frag, b + bRow + bCol * ldb, ldb);
            wmma::mma_sync(acc_frag, a_frag, b_frag, acc_frag);
        }
    }

    int cCol = warpN * WMMA_N;
    int cRow = warpM * WMMA_M;
    if (cRow < m_ld && cCol < n_ld) {
        wmma::load_matrix_sync(c_frag, c + cCol + cRow * ldc, ldc, wmma::mem_row_major);
        for (int i = 0; i < c_frag.num_elements; i++) {
            c_frag.x[i] = alpha * acc_frag.x[i] + beta * c_frag.x[i];
        }
        wmma::store_matrix_sync(d + cCol + cRow * ldc, c_frag, ldc, wmma::mem_row_major);
    }
}

void wmmaNaive(half *A, half *B, half *C, size_t M, size_t N, size_t K) {
    dim3 block(WARP_SIZE);
    dim3 grid(div_ceil(N, WMMA_N), div_ceil(M, WMMA_M));
    wmmaNaiveKernel<<<grid, block>>>(A, B, C, M, N, K);
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
    wmmaNaive(A, B, C, 64, 64, 64);
    cudaDeviceSynchronize();
    printf("%f\n", __half2float(C[0]));
    return 0;
}
