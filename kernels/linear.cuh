// linear.cuh -- the products of the fully connected layer, panel by panel (panel_product.cuh).
// Included by linear.cu, which multiplies in registers, and linear_tensor_core.cu, which does so on
// tensor cores; `Product` says which.
#include "panel_product.cuh"

// The result, `columns` wide, with a bias for each column.
template <typename T> struct IntoRows {
    static constexpr bool COLUMN_BIAS = true;
    T* p;
    const T* b;
    int first_row, rows, first_column, columns;

    __device__ __forceinline__ int column(const int j) const { return first_column + j; }
    __device__ __forceinline__ T bias(const int column) const {
        return column < columns ? b[column] : T(0);
    }
    __device__ __forceinline__ void put(const int i, const int column, const T value) const {
        const int row = first_row + i;
        if (row < rows && column < columns) p[row * columns + column] = value;
    }
};

// out (M, N) = sum over k of left and right. LEFT_ALONG: left is (M, K) in memory, else (K, M).
// RIGHT_ALONG: right is (N, K), else (K, N).
template <class Product, typename T, int ROWS, bool LEFT_ALONG, bool RIGHT_ALONG>
__device__ __forceinline__ void linear_product_by(const T* left, const T* right, const T* b, T* out,
                                                  const int M, const int N, const int K,
                                                  const bool vectors, const int depth) {
    using Block = Blocking<T, ROWS>;
    const int first = blockIdx.y * depth, last = min(K, first + depth);
    const Home here = home<T, ROWS>(M);
    const Plain<T, Block::M, Block::THREADS, LEFT_ALONG> rows(
        left, 0, LEFT_ALONG ? K : M, here.row, M, last, vectors);
    const Plain<T, Block::N, Block::THREADS, RIGHT_ALONG> columns(
        right, 0, RIGHT_ALONG ? K : N, here.column, N, last, vectors);
    const IntoRows<T> result{out + size_t(blockIdx.y) * M * N, b, here.row, M, here.column, N};
    panel_product<T, ROWS, Product>(rows, columns, NoSpots{}, result, first, last);
}
