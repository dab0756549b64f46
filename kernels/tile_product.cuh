// tile_product.cuh -- the product of two matrices through tiles in shared memory. Included by
// conv2d_tiled.cu and linear.cu.
//
//   out[m, n] = sum over k of left[m, k] right[k, n]
//
// The idea: TILE x TILE threads compute TILE x TILE outputs. Each thread fetches one number of
// `left` and one of `right` into shared memory, and then all use them all: a number is fetched
// once and used TILE times. The next TILE along k follow, and so on to the end.
//
//        right: TILE of K rows
//             +---+
//             |   |         Thread (ty, tx) sums up out[ty, tx] = row ty of the left tile
//             +---+         times column tx of the right one.
//       +---+ +---+
//       |   | |out|
//       +---+ +---+

constexpr int TILE = 16;

// The sum for one thread. left(k) is the thread's row at k, right(k) its column, both zero beyond
// the end, so that a last tile which sticks out adds nothing. Neighbouring lanes differ in tx. Where
// neighbours in memory follow k, lanes should fetch along k: LEFT_ALONG and RIGHT_ALONG say so.
//   left(line, k), right(line, k): `line` is the row or column within the tile, 0 to TILE - 1.
template <typename T, bool LEFT_ALONG, bool RIGHT_ALONG, class Left, class Right>
__device__ __forceinline__ T tile_product(const Left left, const Right right, const int K) {
    // One column more than needed: without it the 16 numbers of a column would lie in two banks,
    // and lanes that fetch along k, each writing to another row, would queue up for them.
    __shared__ T lefts[TILE][TILE + 1], rights[TILE][TILE + 1];
    const int tx = threadIdx.x, ty = threadIdx.y;
    T sum = 0;
    for (int k = 0; k < K; k += TILE) {
        // lefts[row][k], rights[k][column]
        if (LEFT_ALONG) lefts[ty][tx] = left(ty, k + tx);
        else lefts[tx][ty] = left(tx, k + ty);
        if (RIGHT_ALONG) rights[tx][ty] = right(ty, k + tx);
        else rights[ty][tx] = right(tx, k + ty);
        // Both tiles are whole before anyone reads what others fetched.
        __syncthreads();
#pragma unroll
        for (int d = 0; d < TILE; ++d) sum += lefts[ty][d] * rights[d][tx];
        // Everyone has read these tiles before anyone overwrites them with the next.
        __syncthreads();
    }
    return sum;
}
