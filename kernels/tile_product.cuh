// tile_product.cuh -- tiled matrix multiplication through shared memory. Included by conv2d_tiled.cu
// and linear.cu.
//
//   C[m, n] = sum over k of A[m, k] B[k, n]
//
// The idea: a block of TILE x TILE threads computes a TILE x TILE tile of C. Each thread loads one
// element of A and one of B into shared memory, and then all threads use them all: each element is
// loaded once and used TILE times. The block steps along k, TILE at a time, to the end.
//
//          B: TILE rows of K
//             +---+
//             |   |         Thread (ty, tx) sums up C[ty, tx] = row ty of the tile of A
//             +---+         times column tx of the tile of B.
//    A  +---+ +---+
//       |   | | C |
//       +---+ +---+

constexpr int TILE = 16;

// The element of C that one thread computes. load_a(row, k) and load_b(column, k) return elements of
// A and B, counted within the tile, and zero out of bounds, so that a partial tile at the edge adds
// nothing. A_ALONG_K, B_ALONG_K: whether the matrix is contiguous along k in memory. Then neighbouring
// lanes, which differ in tx, load along k, so that loads coalesce either way.
template <typename T, bool A_ALONG_K, bool B_ALONG_K, class LoadA, class LoadB>
__device__ __forceinline__ T tile_product(const LoadA load_a, const LoadB load_b, const int K) {
    // Two rows of floats, or one of doubles, are all 32 banks: a warp that stores along rows needs no
    // padding. Down a column it needs 8 bytes: then 16 rows begin in 16 different pairs of banks.
    constexpr int PADDED = TILE + 8 / sizeof(T);
    __shared__ T a_tile[TILE][A_ALONG_K ? TILE : PADDED], b_tile[TILE][B_ALONG_K ? PADDED : TILE];
    const int tx = threadIdx.x, ty = threadIdx.y;
    T sum = 0;
    for (int k = 0; k < K; k += TILE) {
        // a_tile[row][k], b_tile[k][column]
        if (A_ALONG_K) a_tile[ty][tx] = load_a(ty, k + tx);
        else a_tile[tx][ty] = load_a(tx, k + ty);
        if (B_ALONG_K) b_tile[tx][ty] = load_b(ty, k + tx);
        else b_tile[ty][tx] = load_b(tx, k + ty);
        // Both tiles are complete before any thread reads what others loaded.
        __syncthreads();
#pragma unroll
        for (int d = 0; d < TILE; ++d) sum += a_tile[ty][d] * b_tile[d][tx];
        // All threads have read both tiles before any thread overwrites them with the next.
        __syncthreads();
    }
    return sum;
}
