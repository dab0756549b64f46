// sgemm.cu -- one product of matrices in six rungs, after the ladder whose times SGEMM_CUDA publishes.
// Python side: benchmarks/sgemm/rungs.py.
//
//   C[m, n] = alpha sum over k of A[m, k] B[k, n] + beta C[m, n]
//
// Layout:  A (M, K), B (K, N), C (M, N), C-contiguous floats. M, N and K are multiples of the rung's
//          tile: no kernel here guards an edge. A, B and C begin at a multiple of 16 bytes.
// Launch:  uncoalesced: blocks of (32, 32) threads, the grid (tiles of rows, tiles of columns).
//          coalesced, shared_tiles: blocks of 1024 threads, the same grid.
//          thread_columns: blocks of 512 threads, the grid (tiles of columns, tiles of rows).
//          thread_tiles, vectorised: blocks of 256 threads, the same grid as thread_columns.
// Cost:    2 M N K operations each. What a rung mends is where the numbers for them come from:
//
//                          tile of C     from global memory    from shared memory
//                                        per multiply-add      per multiply-add
//          uncoalesced     32 x 32       2                     -
//          coalesced       32 x 32       2                     -
//          shared_tiles    32 x 32       1 / 16                2
//          thread_columns  64 x 64       1 / 32                9 / 8
//          thread_tiles    128 x 128     1 / 64                1 / 4
//          vectorised      128 x 128     1 / 64, by fours      1 / 4, by fours
//
// These are the shapes that the published times are of, and their faults are kept: bank
// conflicts in the last two, no double buffering. linear.cu in kernels/ goes further.
#include "common.cuh"
// ---- one result per thread -----------------------------------------------------------------------

constexpr int SIDE = 32;  // of the tile of C that a block of 1024 threads computes

// The idea: none. Neighbouring lanes compute neighbouring *rows* of one column, so that A is read, and C
// written, one row apart: 32 sectors for what a coalesced access does in 4. B is broadcast.
__global__ void __launch_bounds__(1024) sgemm_uncoalesced(
    const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, const int M,
    const int N, const int K, const float alpha, const float beta) {
    const unsigned m = blockIdx.x * SIDE + threadIdx.x, n = blockIdx.y * SIDE + threadIdx.y;
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += A[m * K + k] * B[k * N + n];
    C[m * N + n] = alpha * sum + beta * C[m * N + n];
}

// The idea: neighbouring lanes compute neighbouring columns of one row. A is broadcast, B and C are
// coalesced. Nothing else differs.
__global__ void __launch_bounds__(1024) sgemm_coalesced(
    const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, const int M,
    const int N, const int K, const float alpha, const float beta) {
    const int m = blockIdx.x * SIDE + threadIdx.x / SIDE, n = blockIdx.y * SIDE + threadIdx.x % SIDE;
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += A[m * K + k] * B[k * N + n];
    C[m * N + n] = alpha * sum + beta * C[m * N + n];
}

// The idea: the block copies a tile of A and one of B to shared memory, where each number is used 32
// times. A row of a tile is one warp's copy and covers the banks once; in the product a_tile is
// broadcast. No bank conflicts, so no padding.
__global__ void __launch_bounds__(1024) sgemm_shared_tiles(
    const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, const int M,
    const int N, const int K, const float alpha, const float beta) {
    __shared__ float a_tile[SIDE][SIDE], b_tile[SIDE][SIDE];
    const int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    const int m = blockIdx.x * SIDE + row, n = blockIdx.y * SIDE + column;
    float sum = 0;
    for (int k = 0; k < K; k += SIDE) {
        a_tile[row][column] = A[m * K + k + column];
        b_tile[row][column] = B[(k + row) * N + n];
        // Both tiles are complete before any thread reads what others copied.
        __syncthreads();
#pragma unroll
        for (int d = 0; d < SIDE; ++d) sum += a_tile[row][d] * b_tile[d][column];
        // All threads have read both tiles before any thread overwrites them with the next.
        __syncthreads();
    }
    C[m * N + n] = alpha * sum + beta * C[m * N + n];
}

// ---- several results per thread ------------------------------------------------------------------

constexpr int DEPTH = 8;    // of the tiles, along k
constexpr int RESULTS = 8;  // of a thread, along one side

// The idea: a thread computes 8 results of one column. A number of b_tile, once in a register, is used
// 8 times. A warp has 32 columns: b_tile is read without conflicts, a_tile is broadcast. Loading A, a
// warp spans 4 rows of 8: four sectors, in four lines.
__global__ void __launch_bounds__(512) sgemm_thread_columns(
    const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, const int M,
    const int N, const int K, const float alpha, const float beta) {
    constexpr int SIZE = 64;
    __shared__ float a_tile[SIZE][DEPTH], b_tile[DEPTH][SIZE];
    const int a_row = threadIdx.x / DEPTH, a_column = threadIdx.x % DEPTH;
    const int b_row = threadIdx.x / SIZE, b_column = threadIdx.x % SIZE;
    const int first_row = b_row * RESULTS;
    A += (blockIdx.y * SIZE + a_row) * K + a_column;
    B += b_row * N + blockIdx.x * SIZE + b_column;
    C += (blockIdx.y * SIZE + first_row) * N + blockIdx.x * SIZE + b_column;
    float sum[RESULTS] = {};
    for (int k = 0; k < K; k += DEPTH) {
        a_tile[a_row][a_column] = A[k];
        b_tile[b_row][b_column] = B[k * N];
        // Both tiles are complete before any thread reads what others copied.
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            const float b = b_tile[d][b_column];
#pragma unroll
            for (int i = 0; i < RESULTS; ++i) sum[i] += a_tile[first_row + i][d] * b;
        }
        // All threads have read both tiles before any thread overwrites them with the next.
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < RESULTS; ++i) C[i * N] = alpha * sum[i] + beta * C[i * N];
}

constexpr int TILE_SIDE = 128;
constexpr int THREADS_ALONG = TILE_SIDE / RESULTS;         // threads along one side of the tile
constexpr int THREADS = THREADS_ALONG * THREADS_ALONG;

// The idea: a thread computes 8 x 8 results. For each k it reads 8 + 8 numbers into registers and
// forms their outer product: 64 multiply-adds. The price: a thread's 8 columns are neighbours, so
// lanes are 32 bytes apart, both in b_tile and in C.
__global__ void __launch_bounds__(THREADS) sgemm_thread_tiles(
    const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, const int M,
    const int N, const int K, const float alpha, const float beta) {
    __shared__ float a_tile[TILE_SIDE][DEPTH], b_tile[DEPTH][TILE_SIDE];
    constexpr int A_ROWS = THREADS / DEPTH, B_ROWS = THREADS / TILE_SIDE;  // that the block copies at once
    const int a_row = threadIdx.x / DEPTH, a_column = threadIdx.x % DEPTH;
    const int b_row = threadIdx.x / TILE_SIDE, b_column = threadIdx.x % TILE_SIDE;
    const int first_row = threadIdx.x / THREADS_ALONG * RESULTS;
    const int first_column = threadIdx.x % THREADS_ALONG * RESULTS;
    A += blockIdx.y * TILE_SIDE * K;
    B += blockIdx.x * TILE_SIDE;
    C += (blockIdx.y * TILE_SIDE + first_row) * N + blockIdx.x * TILE_SIDE + first_column;
    float sum[RESULTS][RESULTS] = {};
    for (int k = 0; k < K; k += DEPTH) {
#pragma unroll
        for (int r = 0; r < TILE_SIDE; r += A_ROWS)
            a_tile[r + a_row][a_column] = A[(r + a_row) * K + k + a_column];
#pragma unroll
        for (int r = 0; r < DEPTH; r += B_ROWS)
            b_tile[r + b_row][b_column] = B[(k + r + b_row) * N + b_column];
        // Both tiles are complete before any thread reads what others copied.
        __syncthreads();
        // No pragma: told to unroll, the compiler reads a_tile in vectors along k, a step ahead of this
        // rung; left alone it does so late, and reads single numbers.
        for (int d = 0; d < DEPTH; ++d) {
            float a[RESULTS], b[RESULTS];
#pragma unroll
            for (int i = 0; i < RESULTS; ++i) a[i] = a_tile[first_row + i][d];
#pragma unroll
            for (int j = 0; j < RESULTS; ++j) b[j] = b_tile[d][first_column + j];
#pragma unroll
            for (int i = 0; i < RESULTS; ++i)
#pragma unroll
                for (int j = 0; j < RESULTS; ++j) sum[i][j] += a[i] * b[j];
        }
        // All threads have read both tiles before any thread overwrites them with the next.
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < RESULTS; ++i)
#pragma unroll
        for (int j = 0; j < RESULTS; ++j) C[i * N + j] = alpha * sum[i][j] + beta * C[i * N + j];
}

// Reads or writes four neighbouring numbers at once. `at` is a multiple of 16 bytes.
__device__ __forceinline__ float4 vector_at(const float* at) {
    return *reinterpret_cast<const float4*>(at);
}
__device__ __forceinline__ float4& vector_at(float* at) { return *reinterpret_cast<float4*>(at); }

// The idea: all that is read or written is a vector of four numbers. For that the tile of A lies
// transposed in shared memory, so that a thread's 8 numbers of it are neighbours; the copy pays for
// it with four stores of one number each.
__global__ void __launch_bounds__(THREADS) sgemm_vectorised(
    const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, const int M,
    const int N, const int K, const float alpha, const float beta) {
    __shared__ __align__(16) float a_tile[DEPTH][TILE_SIDE], b_tile[DEPTH][TILE_SIDE];
    const int a_row = threadIdx.x / (DEPTH / 4), a_column = threadIdx.x % (DEPTH / 4) * 4;
    const int b_row = threadIdx.x / (TILE_SIDE / 4), b_column = threadIdx.x % (TILE_SIDE / 4) * 4;
    const int first_row = threadIdx.x / THREADS_ALONG * RESULTS;
    const int first_column = threadIdx.x % THREADS_ALONG * RESULTS;
    A += (blockIdx.y * TILE_SIDE + a_row) * K + a_column;
    B += b_row * N + blockIdx.x * TILE_SIDE + b_column;
    C += (blockIdx.y * TILE_SIDE + first_row) * N + blockIdx.x * TILE_SIDE + first_column;
    float sum[RESULTS][RESULTS] = {};
    for (int k = 0; k < K; k += DEPTH) {
        const float4 loaded = vector_at(A + k);
        a_tile[a_column + 0][a_row] = loaded.x;
        a_tile[a_column + 1][a_row] = loaded.y;
        a_tile[a_column + 2][a_row] = loaded.z;
        a_tile[a_column + 3][a_row] = loaded.w;
        vector_at(&b_tile[b_row][b_column]) = vector_at(B + k * N);
        // Both tiles are complete before any thread reads what others copied.
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            float a[RESULTS], b[RESULTS];
#pragma unroll
            for (int half = 0; half < RESULTS; half += 4) {
                vector_at(a + half) = vector_at(&a_tile[d][first_row + half]);
                vector_at(b + half) = vector_at(&b_tile[d][first_column + half]);
            }
#pragma unroll
            for (int i = 0; i < RESULTS; ++i)
#pragma unroll
                for (int j = 0; j < RESULTS; ++j) sum[i][j] += a[i] * b[j];
        }
        // All threads have read both tiles before any thread overwrites them with the next.
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < RESULTS; ++i)
#pragma unroll
        for (int j = 0; j < RESULTS; j += 4) {
            float4 c = vector_at(C + i * N + j);
            c.x = alpha * sum[i][j + 0] + beta * c.x;
            c.y = alpha * sum[i][j + 1] + beta * c.y;
            c.z = alpha * sum[i][j + 2] + beta * c.z;
            c.w = alpha * sum[i][j + 3] + beta * c.w;
            vector_at(C + i * N + j) = c;
        }
}
