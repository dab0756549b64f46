// linear_multistage.cuh -- the products of the fully connected layer, their panels copied several stages
// ahead by multistage_product.cuh. Included by linear_multistage.cu and linear_bf16.cu.
#include "linear.cuh"
#include "multistage_product.cuh"

// A matrix in memory: rows of `length` numbers. is_aligned: whether they are whole chunks, aligned to 16
// bytes.
template <typename T> struct MatrixRows {
    const T* p;
    int length;
    bool is_aligned;
};

// out (M, N) = A B, summed over k, as linear_gemm in linear.cuh; out is of float or bfloat16.
template <int STAGES, class Arithmetic, int ROWS, bool A_ALONG_K, bool B_ALONG_K, typename Out,
          typename T = typename Arithmetic::Number>
__device__ __forceinline__ void linear_multistage(
    const MatrixRows<T>& A, const MatrixRows<T>& B,
    const float* b, Out* out, const int M, const int N, const int K, const int depth,
    const Workspace<float>& workspace) {
    using Mma = MultistageMma<ROWS, Arithmetic, A_ALONG_K, B_ALONG_K>;
    const int first = blockIdx.y * depth, last = min(K, first + depth);
    const TileOrigin origin = tile_origin<float, ROWS>(M);
    const DenseChunks<T, A_ALONG_K> a_chunks{A.p, 0, A.length, M, last, A.is_aligned};
    const DenseChunks<T, B_ALONG_K> b_chunks{B.p, 0, B.length, N, last, B.is_aligned};
    const RowCopier<ROWS, DenseChunks<T, A_ALONG_K>> rows(a_chunks, origin.row);
    const ColumnCopier<ROWS, DenseChunks<T, B_ALONG_K>> columns(b_chunks, origin.column);
    const MatrixEpilogue<float, Out> result{
        workspace.result(out, size_t(M) * N), b, N, origin.row, M, origin.column, N};
    multistage_product<ROWS, STAGES, Mma>(rows, columns, NoCoords{}, result, first, last, workspace);
}

// The weight gradient, with the blocks of the bias gradient beyond its tiles, as in linear.cuh; that adds
// up gy as it was.
template <int STAGES, class Arithmetic, int ROWS, typename In,
          typename T = typename Arithmetic::Number>
__device__ __forceinline__ void linear_multistage_weight_gradient(
    const In* gy, const MatrixRows<T>& gy_rows,
    const MatrixRows<T>& x, float* gw, const int R, const int O, const int I,
    const int depth, const Workspace<float>& workspace, const BiasGradient<float>& bias) {
    if (blockIdx.x >= workspace.tiles)
        bias.reduce(gy, R, O, (blockIdx.x - workspace.tiles) * gridDim.y + blockIdx.y);
    else
        linear_multistage<STAGES, Arithmetic, ROWS, false, false>(
            gy_rows, x, nullptr, gw, O, I, R, depth, workspace);
}
