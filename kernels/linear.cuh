// linear.cuh -- the products of the fully connected layer, panel by panel (panel_product.cuh).
// Included by linear.cu, which multiplies in registers, and linear_tensor_core.cu, which does so on
// tensor cores; `Product` says which. And the bias gradient, which goes along with the weight
// gradient.
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
                                                  const bool vectors, const int depth,
                                                  const Workspace<T>& workspace) {
    using Block = Blocking<T, ROWS>;
    const int first = blockIdx.y * depth, last = min(K, first + depth);
    const Home here = home<T, ROWS>(M);
    const Plain<T, Block::M, Block::THREADS, LEFT_ALONG> rows(
        left, 0, LEFT_ALONG ? K : M, here.row, M, last, vectors);
    const Plain<T, Block::N, Block::THREADS, RIGHT_ALONG> columns(
        right, 0, RIGHT_ALONG ? K : N, here.column, N, last, vectors);
    const IntoRows<T> result{workspace.result(out, size_t(M) * N), b, here.row, M, here.column, N};
    panel_product<T, ROWS, Product>(rows, columns, NoSpots{}, result, first, last, workspace);
}

// The sums of gy (R, O) over its rows, one for each column.
//
// The idea: one thread per column, so that lanes read along rows; the rows are cut into parts. The
// block that finishes its columns last adds up their parts, in order (split_sum.cuh). The same bits
// with any number of threads.
template <typename T> struct BiasGradient {
    T* gb;
    T* parts;           // (parts, O); null where there is one
    unsigned* arrived;  // one counter per block of columns
    int rows;           // of a part

    // The work of block number `block` of (blocks of columns) * parts or more.
    __device__ __forceinline__ void add_up(const T* gy, const int R, const int O,
                                           const int block) const {
        const int count = max(1, (R + rows - 1) / rows), across = (O - 1) / blockDim.x + 1;
        const int columns = block % across, part = block / across;
        if (part >= count) return;
        const int o = columns * blockDim.x + threadIdx.x, end = min(R, (part + 1) * rows);
        typename Accumulator<T>::type sum = 0;
        if (o < O)
            for (int r = part * rows; r < end; ++r) sum += gy[r * O + o];
        if (count == 1) {
            if (o < O) gb[o] = sum;
            return;
        }
        if (o < O) parts[part * O + o] = sum;
        if (last_to_arrive(arrived + columns, count) && o < O)
            gb[o] = sum_of_parts(parts + o, count, O);
    }
};

// The weight gradient, with the blocks of the bias gradient beyond its tiles in the grid, as in
// conv2d_implicit_gemm.cuh.
template <class Product, typename T, int ROWS>
__device__ __forceinline__ void linear_weight_gradient_by(
    const T* gy, const T* x, T* gw, const int R, const int O, const int I, const bool vectors,
    const int depth, const Workspace<T>& workspace, const BiasGradient<T>& bias) {
    if (blockIdx.x >= workspace.tiles)
        bias.add_up(gy, R, O, (blockIdx.x - workspace.tiles) * gridDim.y + blockIdx.y);
    else
        linear_product_by<Product, T, ROWS, false, false>(
            gy, x, nullptr, gw, O, I, R, vectors, depth, workspace);
}
