// Loads of four floats at a time, A transposed on its way into shared memory.
#include <cuda.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#define OFFSET(row, col, ld) ((row) * (ld) + (col))
#define FETCH_FLOAT4(pointer) (reinterpret_cast<float4*>(&(pointer))[0])
#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))

template <const int BM, const int BN, const int BK, const int RM, const int RN>
__global__ void sgemm_vectorized(float *A, float *B, float *C, int M, int N, int K) {
    const int threads = BM * BN / RM / RN;
    const int a_per_thread = BM * BK / threads / 4;
    const int b_per_thread = BN * BK / threads / 4;

    const int tid = threadIdx.x;
    const int tx = (tid % (BN / RN)) * RN;
    const int ty = (tid / (BN / RN)) * RM;

    __shared__ float As[BK * BM];
    __shared__ float Bs[BK * BN];

    const int a_row = tid / (BK / 4);
    const int a_col = tid % (BK / 4) * 4;
    const int a_stride = BM / a_per_thread;
    const int b_row = tid / (BN / 4);
    const int b_col = tid % (BN / 4) * 4;
    const int b_stride = BK / b_per_thread;

    A = &A[OFFSET(blockIdx.y * BM, 0, K)];
    B = &B[OFFSET(0, blockIdx.x * BN, N)];
    C = &C[OFFSET(blockIdx.y * BM, blockIdx.x * BN, N)];

    float accum[RM][RN] = {0.f};
    float ldg_a[4 * a_per_thread] = {0.f};
    float a_frag[RM];
    float b_frag[RN];

    for (int k = 0; k < K; k += BK) {
        #pragma unroll
        for (int i = 0; i < BM; i += a_stride) {
            const int at = i / a_stride * 4;
            FETCH_FLOAT4(ldg_a[at]) = FETCH_FLOAT4(A[OFFSET(a_row + i, a_col + k, K)]);
            As[OFFSET(a_col, i + a_row, BM)] = ldg_a[at];
            As[OFFSET(a_col + 1, i + a_row, BM)] = ldg_a[at + 1];
            As[OFFSET(a_col + 2, i + a_row, BM)] = ldg_a[at + 2];
            As[OFFSET(a_col + 3, i + a_row, BM)] = ldg_a[at + 3];
        }
        #pragma unroll
        for (int i = 0; i < BK; i += b_stride) {
            FETCH_FLOAT4(Bs[OFFSET(b_row + i, b_col, BN)]) =
                FETCH_FLOAT4(B[OFFSET(k + b_row + i, b_col, N)]);
        }
        __syncthreads();

        #pragma unroll
        for (int p = 0; p < BK; p++) {
            #pragma unroll
            for (int m = 0; m < RM; m += 4) {
                FETCH_FLOAT4(a_frag[m]) = FETCH_FLOAT4(As[OFFSET(p, ty + m, BM)]);
            }
            #pragma unroll
            for (int n = 0; n < RN; n += 4) {
                FETCH_FLOAT4(b_frag[n]) = FETCH_FLOAT4(Bs[OFFSET(p, tx + n, BN)]);
            }
            #pragma unroll
            for (int m = 0; m < RM; m++) {
                #pragma unroll
                for (int n = 0; n < RN; n++) {
                    accum[m][n] += a_frag[m] * b_frag[n];
                }
            }
        }
        __syncthreads();
    }
    #pragma unroll
    for (int m = 0; m < RM; m++) {
        #pragma unroll
        for (int n = 0; n < RN; n += 4) {
            FETCH_FLOAT4(C[OFFSET(ty + m, tx + n, N)]) = FETCH_FLOAT4(accum[m][n]);
        }
    }
}

// One more column in the rows of the transposed tile, against bank conflicts.
template <
    const int BLOCK_SIZE_M,
    const int BLOCK_SIZE_K,
    const int BLOCK_SIZE_N,
    const int PAD
    >
__global__ void sgemm_padded(
    float * __restrict__ A,
    float * __restrict__ B,
    float * __restrict__ C,
    const int M, const int N, const int K,
    float alpha, float beta) {
    __shared__ float As[BLOCK_SIZE_K][BLOCK_SIZE_M + PAD];
    __shared__ float Bs[BLOCK_SIZE_K][BLOCK_SIZE_N];

    const int bx = blockIdx.x, by = blockIdx.y;
    const int tx = threadIdx.x, ty = threadIdx.y;
    const int tid = ty * blockDim.x + tx;
    const int threads = blockDim.x * blockDim.y;

    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};

    for (int tile = 0; tile < K; tile += BLOCK_SIZE_K) {
        for (int i = tid; i < BLOCK_SIZE_M * BLOCK_SIZE_K; i += threads) {
            const int row = i / BLOCK_SIZE_K, col = i % BLOCK_SIZE_K;
            const bool inside = by * BLOCK_SIZE_M + row < M && tile + col < K;
            As[col][row] = inside ? A[OFFSET(by * BLOCK_SIZE_M + row, tile + col, K)] : 0.0f;
        }
        for (int i = tid; i < BLOCK_SIZE_K * BLOCK_SIZE_N; i += threads) {
            const int row = i / BLOCK_SIZE_N, col = i % BLOCK_SIZE_N;
            const bool inside = tile + row < K && bx * BLOCK_SIZE_N + col < N;
            Bs[row][col] = inside ? B[OFFSET(tile + row, bx * BLOCK_SIZE_N + col, N)] : 0.0f;
        }
        __syncthreads();
        #pragma unroll
        for (int k = 0; k < BLOCK_SIZE_K; ++k) {
            const float b = Bs[k][tx];
            #pragma unroll
            for (int i = 0; i < 4; ++i) sum[i] += As[k][ty * 4 + i] * b;
        }
        __syncthreads();
    }

    const int col = bx * BLOCK_SIZE_N + tx;
    #pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int row = by * BLOCK_SIZE_M + ty * 4 + i;
        if (row < M && col < N) {
            C[OFFSET(row, col, N)] = alpha * sum[i] + beta * C[OFFSET(row, col, N)];
        }
    }
}

// While one pair of tiles is multiplied the next one is on its way.
template <const int BM, const int BN, const int BK, const int RM, const int RN>
__global__ void sgemm_double_buffer(float *A, float *B, float *C, int M, int N, int K) {
    __shared__ float As[2][BK][BM];
    __shared__ float Bs[2][BK][BN];

    const int tid = threadIdx.y * blockDim.x + threadIdx.x;
    const int threads_x = BN / RN;
    const int threads_y = BM / RM;
    const int a_threads_per_row = BK / 4;
    const int b_threads_per_row = BN / 4;
    const int a_row = tid / a_threads_per_row;
    const int a_col = tid % a_threads_per_row * 4;
    const int b_row = tid / b_threads_per_row;
    const int b_col = tid % b_threads_per_row * 4;
    const int a_stride = threads_x * threads_y / a_threads_per_row;
    const int b_stride = threads_x * threads_y / b_threads_per_row;
    const int a_loads = BM * BK / (threads_x * threads_y * 4);
    const int b_loads = BK * BN / (threads_x * threads_y * 4);

    float accum[RM][RN] = {0};
    float frag_a[RM], frag_b[RN];
    float next_a[4 * a_loads], next_b[4 * b_loads];

    A = &A[(BM * blockIdx.y) * K];
    B = &B[BN * blockIdx.x];

    #pragma unroll
    for (int i = 0; i < BM; i += a_stride) {
        int at = i / a_stride * 4;
        FETCH_FLOAT4(next_a[at]) = FETCH_FLOAT4(A[OFFSET(a_row + i, a_col, K)]);
        for (int j = 0; j < 4; ++j) As[0][a_col + j][a_row + i] = next_a[at + j];
    }
    #pragma unroll
    for (int i = 0; i < BK; i += b_stride) {
        FETCH_FLOAT4(Bs[0][b_row + i][b_col]) = FETCH_FLOAT4(B[OFFSET(b_row + i, b_col, N)]);
    }
    __syncthreads();

    int write_stage = 1;
    int tile = 0;
    do {
        tile += BK;
        if (tile < K) {
            #pragma unroll
            for (int i = 0; i < BM; i += a_stride) {
                FETCH_FLOAT4(next_a[i / a_stride * 4]) =
                    FETCH_FLOAT4(A[OFFSET(a_row + i, a_col + tile, K)]);
            }
            #pragma unroll
            for (int i = 0; i < BK; i += b_stride) {
                FETCH_FLOAT4(next_b[i / b_stride * 4]) =
                    FETCH_FLOAT4(B[OFFSET(tile + b_row + i, b_col, N)]);
            }
        }
        const int load_stage = write_stage ^ 1;
        #pragma unroll
        for (int k = 0; k < BK; ++k) {
            for (int m = 0; m < RM; m += 4)
                FETCH_FLOAT4(frag_a[m]) = FETCH_FLOAT4(As[load_stage][k][RM * threadIdx.y + m]);
            for (int n = 0; n < RN; n += 4)
                FETCH_FLOAT4(frag_b[n]) = FETCH_FLOAT4(Bs[load_stage][k][RN * threadIdx.x + n]);
            #pragma unroll
            for (int m = 0; m < RM; ++m)
                #pragma unroll
                for (int n = 0; n < RN; ++n) accum[m][n] += frag_a[m] * frag_b[n];
        }
        if (tile < K) {
            #pragma unroll
            for (int i = 0; i < BM; i += a_stride) {
                int at = i / a_stride * 4;
                for (int j = 0; j < 4; ++j)
                    As[write_stage][a_col + j][a_row + i] = next_a[at + j];
            }
            #pragma unroll
            for (int i = 0; i < BK; i += b_stride) {
                FETCH_FLOAT4(Bs[write_stage][b_row + i][b_col]) =
                    FETCH_FLOAT4(next_b[i / b_stride * 4]);
            }
            __syncthreads();  // once per tile is enough with two buffers
            write_stage ^= 1;
        }
    } while (tile < K);

    #pragma unroll
    for (int m = 0; m < RM; ++m)
        #pragma unroll
        for (int n = 0; n < RN; n += 4)
            FETCH_FLOAT4(C[OFFSET(BM * blockIdx.y + RM * threadIdx.y + m,
                                  BN * blockIdx.x + RN * threadIdx.x + n, N)]) =
                FETCH_FLOAT4(accum[m][n]);
}

int main(int argc, char *argv[]) {
    if (argc != 4) {
        printf("usage: ./main [M] [K] [N]\n");
        exit(0);
    }
    size_t M = atoi(argv[1]), K = atoi(argv[2]), N = atoi(argv[3]);
    float* d_A; float* d_B; float* d_C;
    cudaMalloc(&d_A, sizeof(float) * M * K);
    cudaMalloc(&d_B, sizeof(float) * K * N);
    cudaMalloc(&d_C, sizeof(float) * M * N);
    float msecTotal = 0;
    cudaEvent_t start, stop;
    cudaEventCreate(&start);
    cudaEventCreate(&stop);
    cudaEventRecord(start);
    for (int run = 0; run < 100; run++) {
        dim3 dimBlock(16, 16);
        dim3 dimGrid(N / 128, M / 128);
        sgemm_double_buffer<128, 128, 8, 8, 8><<<dimGrid, dimBlock>>>(d_A, d_B, d_C, M, N, K);
    }
    sgemm_vectorized<128, 128, 8, 8, 8><<<dim3(N / 128, M / 128), 256>>>(d_A, d_B, d_C, M, N, K);
    sgemm_padded<32, 8, 32, 1>
        <<<dim3(CEIL_DIV(N, 32), CEIL_DIV(M, 32)), dim3(32, 8)>>>(d_A, d_B, d_C, M, N, K, 1.f, 0.f);
    cudaEventRecord(stop);
    cudaEventSynchronize(stop);
    cudaEventElapsedTime(&msecTotal, start, stop);
    printf("%.3f ms\n", msecTotal);
    cudaFree(d_A); cudaFree(d_B); cudaFree(d_C);
    return 0;
}
