// linear.cuh -- the products of the fully connected layer (panel_product.cuh), and the bias gradient,
// which is fused into the weight gradient's launch. Included by linear.cu, linear_tensor_core.cu and
// linear_multistage.cuh; `Mma` multiplies in registers or on tensor cores.
#include "panel_product.cuh"

// out (M, N) = A B, summed over k. A_ALONG_K: A is (M, K) in memory, else (K, M). B_ALONG_K: B is
// (N, K), else (K, N).
template <class Mma, typename T, int ROWS, bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void linear_gemm(const T* A, const T* B, const T* b, T* out,
                                                  const int M, const int N, const int K,
                                                  const bool vector_aligned, const int depth,
                                                  const Workspace<T>& workspace) {
    using Tile = TileShape<T, ROWS>;
    const int first = blockIdx.y * depth, last = min(K, first + depth);
    const TileOrigin origin = tile_origin<T, ROWS>(M);
    const DenseLoader<T, Tile::M, Tile::THREADS, A_ALONG_K> rows(
        A, 0, A_ALONG_K ? K : M, origin.row, M, last, vector_aligned);
    const DenseLoader<T, Tile::N, Tile::THREADS, B_ALONG_K> columns(
        B, 0, B_ALONG_K ? K : N, origin.column, N, last, vector_aligned);
    const MatrixEpilogue<T> result{
        workspace.result(out, size_t(M) * N), b, N, origin.row, M, origin.column, N};
    panel_product<T, ROWS, Mma>(rows, columns, NoCoords{}, result, first, last, workspace);
}

// The sums of gy (R, O) over its rows, one for each column. gy may be of another type, whose numbers
// are numbers of T.
//
// The idea: one thread per column, so that lanes read along rows; the rows are split into parts. The
// block that finishes its columns last adds up their partial sums, in order (split_sum.cuh). The same
// bits with any number of threads.
template <typename T> struct BiasGradient {
    T* gb;
    T* partials;           // (parts, O); null where there is one
    unsigned* arrived;  // one counter per block of columns
    int rows;           // of a part

    // The work of block number `block` of (blocks of columns) * parts or more.
    template <typename In>
    __device__ __forceinline__ void reduce(const In* gy, const int R, const int O,
                                           const int block) const {
        const int count = max(1, (R + rows - 1) / rows), across = (O - 1) / blockDim.x + 1;
        const int columns = block % across, part = block / across;
        if (part >= count) return;
        const int o = columns * blockDim.x + threadIdx.x, end = min(R, (part + 1) * rows);
        typename Accumulator<T>::type sum = 0;
        if (o < O)
            for (int r = part * rows; r < end; ++r) sum += T(gy[r * O + o]);
        if (count == 1) {
            if (o < O) gb[o] = sum;
            return;
        }
        if (o < O) partials[part * O + o] = sum;
        if (last_to_arrive(arrived + columns, count) && o < O)
            gb[o] = sum_of_partials(partials + o, count, O);
    }
};

// The weight gradient, with the blocks of the bias gradient appended to the grid beyond its tiles, as
// in conv2d_implicit_gemm.cuh.
template <class Mma, typename T, int ROWS>
__device__ __forceinline__ void linear_weight_gradient_gemm(
    const T* gy, const T* x, T* gw, const int R, const int O, const int I, const bool vector_aligned,
    const int depth, const Workspace<T>& workspace, const BiasGradient<T>& bias) {
    if (blockIdx.x >= workspace.tiles)
        bias.reduce(gy, R, O, (blockIdx.x - workspace.tiles) * gridDim.y + blockIdx.y);
    else
        linear_gemm<Mma, T, ROWS, false, false>(
            gy, x, nullptr, gw, O, I, R, vector_aligned, depth, workspace);
}
