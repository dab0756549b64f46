// wmma.cu -- products of matrices that a warp holds in fragments.
// needs: sm_80
#include "common.cuh"
#if !defined(MINIALEX_EMULATED)
#include <mma.h>
#endif

using namespace nvcuda;

// One warp: D (M, N) = A (M, K) B (K, N) + C, A and B by rows or by columns, the sums twice.
template <int M, int N, int K, typename T, typename S, typename ByA, typename ByB, typename F>
__device__ void product(const F* a, const F* b, const S* c, S* d, bool columns) {
    wmma::fragment<wmma::matrix_a, M, N, K, T, ByA> left;
    wmma::fragment<wmma::matrix_b, M, N, K, T, ByB> right;
    wmma::fragment<wmma::accumulator, M, N, K, S> sums;
    const auto order = columns ? wmma::mem_col_major : wmma::mem_row_major;
    constexpr bool rows_a = std::is_same<ByA, wmma::row_major>::value;
    constexpr bool rows_b = std::is_same<ByB, wmma::row_major>::value;
    wmma::load_matrix_sync(left, a, rows_a ? K : M);
    wmma::load_matrix_sync(right, b, rows_b ? N : K);
    wmma::load_matrix_sync(sums, c, columns ? M : N, order);
    wmma::mma_sync(sums, left, right, sums);  // multiplied
    wmma::store_matrix_sync(d, sums, columns ? M : N, order);
}

template <typename T, typename S, typename ByA, typename ByB>
__device__ void products(const T* a, const T* b, const S* c, S* d, int shape, bool columns) {
    if (shape == 16) product<16, 16, 16, T, S, ByA, ByB>(a, b, c, d, columns);
    else if (shape == 32) product<32, 8, 16, T, S, ByA, ByB>(a, b, c, d, columns);
    else product<8, 32, 16, T, S, ByA, ByB>(a, b, c, d, columns);
}
__global__ void half_rows(const __half* a, const __half* b, const float* c, float* d, int shape, bool columns) {
    products<__half, float, wmma::row_major, wmma::row_major>(a, b, c, d, shape, columns);
}
__global__ void half_columns(const __half* a, const __half* b, const float* c, float* d, int shape, bool columns) {
    products<__half, float, wmma::col_major, wmma::row_major>(a, b, c, d, shape, columns);
}
__global__ void half_sums(const __half* a, const __half* b, const __half* c, __half* d, int shape, bool columns) {
    products<__half, __half, wmma::row_major, wmma::col_major>(a, b, c, d, shape, columns);
}
__global__ void bfloat16(const __nv_bfloat16* a, const __nv_bfloat16* b, const float* c, float* d, int shape, bool columns) {
    products<__nv_bfloat16, float, wmma::row_major, wmma::col_major>(a, b, c, d, shape, columns);
}

// Elements rounded to TF32, and the result scaled element by element.
__global__ void tf32(const float* a, const float* b, float* d) {
    wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::col_major> right;
    wmma::fragment<wmma::accumulator, 16, 16, 8, float> sums;
    wmma::fill_fragment(sums, 0.0f);
    wmma::load_matrix_sync(left, a, 8), wmma::load_matrix_sync(right, b, 8);
    for (int i = 0; i < left.num_elements; ++i) left.x[i] = wmma::__float_to_tf32(left.x[i]);
    for (int i = 0; i < right.num_elements; ++i) right.x[i] = wmma::__float_to_tf32(right.x[i]);
    wmma::mma_sync(sums, left, right, sums);
    for (int i = 0; i < sums.num_elements; ++i) sums.x[i] *= 2;
    wmma::store_matrix_sync(d, sums, 16, wmma::mem_row_major);
}

// Through shared memory, two tiles of K.
__global__ void staged(const __half* a, const __half* b, float* d) {
    __shared__ __align__(32) __half left[16][24], right[16][24];
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums;
    wmma::fill_fragment(sums, 0.0f);
    for (int k = 0; k < 32; k += 16) {
        for (int i = threadIdx.x; i < 256; i += 32) {
            left[i / 16][i % 16] = a[i / 16 * 32 + k + i % 16];
            right[i / 16][i % 16] = b[(k + i / 16) * 16 + i % 16];
        }
        __syncthreads();  // written
        wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> fb;
        wmma::load_matrix_sync(fa, &left[0][0], 24);  // left
        wmma::load_matrix_sync(fb, &right[0][0], 24);
        wmma::mma_sync(sums, fa, fb, sums);
        __syncthreads();  // read
    }
    wmma::store_matrix_sync(d, sums, 16, wmma::mem_row_major);
}
