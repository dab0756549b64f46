// tensor_core_product.cuh -- products of panels on tensor cores. Included by
// conv2d_tensor_core.cu and linear_tensor_core.cu. Needs sm_80.
//
// The idea, on top of panel_product.cuh: a warp multiplies matrices of 16 x 8 and 8 x 8 numbers with
// one instruction of a tensor core. Its operands have 10 bits of fraction only (TF32), where a float
// has 23. So each float is split into two such numbers (3xTF32, CUTLASS's OpMultiplyAddFastF32),
//
//   x = big + small + rest,   big = x rounded to TF32,   small = x - big, truncated to TF32,
//
// with |rest| at most 2^-22 |x|, and three products replace one:
//
//   a b = big_a big_b + big_a small_b + small_a big_b       (and small_a small_b, which is dropped:
//                                                            at most 2^-22 |a b|)
//
// That is about as accurate as floats are (a single rounding is 2^-24), for three instructions on a
// unit that is many times faster. The small products come first, so that they are added to each
// other before the large one. Splitting a number takes three instructions: add half of big's last bit
// and mask, halves away from zero, and subtract. The tensor core truncates, as it ignores the low 13
// bits of an operand; since big is rounded, `small` has either sign, so that truncation has no bias.
//
// Promotion: a tensor core truncates its sums instead of rounding (emu/tensor_core.h), so that a long
// sum accumulated in it is biased towards zero, by as much as 2e-4 of its terms' root sum of squares
// for 43,264 terms, 60 times FFMA's error. So the three products of a step of 8 begin at zero, and an
// ordinary addition, which rounds to nearest, adds them to the accumulator in registers: 4 FADD for 3
// HMMA. Then the error is smaller than FFMA's at every length (docs/tensor-cores.md). Promoting every
// fourth step would need a second set of 64 accumulators, which two blocks on a multiprocessor have no
// registers for; the zero at the beginning costs none, the instruction takes RZ for it.
//
// Limitation (3 products): an infinity becomes NaN (its `small` is infinity minus infinity).
//
// Arithmetic, for an H100 by its datasheet and sm_90's machine code (not measured): a step of
// 128 x 128 x 8 is 393,216 products at 1024 a clock at best, about 640 by mma.sync: 600 clocks,
// against 1024 by ordinary multiply-adds at their best. A warp then issues 48 HMMA, 64 FADD for
// promotion, 72 instructions to split 24 numbers, 24 LDS and about 150 to load: some 360 in the
// 300 clocks that its HMMA take of a quarter of the multiprocessor: bound by instruction issue.
#include "mma.cuh"
#include "panel_product.cuh"

// Two blocks of 256 threads, or three of 128, or six of 64: as in register_product.cuh.
constexpr int resident_blocks(const int rows) { return rows == 16 ? 2 : 24 / rows; }

// A lane's fragment of a 16 x 8 or 8 x 8 matrix (emu/tensor_core.h draws the layout): with
// g = lane / 4 and t = lane % 4,
//   A      rows g and g + 8, at two k;   B   column g, at two k;
//   sums   rows g and g + 8, columns 2 t and 2 t + 1.
// Which k those are does not matter as long as A and B agree. The instruction calls them t and t + 4;
// here lane t loads k = 2 t and 2 t + 1, so that what the lanes of a warp read at once, a float at
// (2 t, g), lies in bank 8 t + g: 32 different ones.
// PRODUCTS: how many products replace one. 3 as above; 1 is plain TF32, each number rounded to 11
// bits, for floats alone.
template <typename T, int PRODUCTS, int COUNT> struct Operand;

template <int COUNT> struct Operand<float, 3, COUNT> {
    unsigned big[COUNT], small[COUNT];

    __device__ __forceinline__ void set(const int i, const float x) {
        big[i] = (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
        small[i] = __float_as_uint(x - __uint_as_float(big[i]));
    }
};
__device__ __forceinline__ void mma_products(float (&step)[4], const Operand<float, 3, 4>& a,
                                             const Operand<float, 3, 2>& b) {
    mma_tf32(step, a.small, b.big);
    mma_tf32(step, a.big, b.small);
    mma_tf32(step, a.big, b.big);
}

template <int COUNT> struct Operand<float, 1, COUNT> {
    unsigned big[COUNT];

    __device__ __forceinline__ void set(const int i, const float x) { big[i] = to_tf32(x); }
};
__device__ __forceinline__ void mma_products(float (&step)[4], const Operand<float, 1, 4>& a,
                                             const Operand<float, 1, 2>& b) {
    mma_tf32(step, a.big, b.big);
}

template <int PRODUCTS>
__device__ __forceinline__ void multiply_add(float (&sum)[4], const Operand<float, PRODUCTS, 4>& a,
                                             const Operand<float, PRODUCTS, 2>& b) {
    float step[4] = {};
    mma_products(step, a, b);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += step[i];
}

// Doubles, without tensor cores: the lanes exchange the same fragments by shuffles and multiply them,
// which is slow, and tests that the fragments are right.
template <int COUNT> struct Operand<double, 3, COUNT> {
    double value[COUNT];

    __device__ __forceinline__ void set(const int i, const double x) { value[i] = x; }
};
__device__ __forceinline__ void multiply_add(double (&sum)[4], const Operand<double, 3, 4>& a,
                                             const Operand<double, 3, 2>& b) {
    const int lane = threadIdx.x % WARP_SIZE;
#pragma unroll
    for (int k = 0; k < TILE_K; ++k) {
        const int t = k % 4, half = k / 4;
        const int row = lane / 4 * 4 + t, column = lane % 4 * 8 + t;
        const double a0 = __shfl_sync(FULL_MASK, a.value[2 * half], row);
        const double a1 = __shfl_sync(FULL_MASK, a.value[2 * half + 1], row);
        const double b0 = __shfl_sync(FULL_MASK, b.value[half], column);
        const double b1 = __shfl_sync(FULL_MASK, b.value[half], column + 4);
        sum[0] += a0 * b0, sum[1] += a0 * b1;
        sum[2] += a1 * b0, sum[3] += a1 * b1;
    }
}

template <typename T, int ROWS, int PRODUCTS> class TensorCoreMma {
  public:
    using Tile = TileShape<T, ROWS>;

  private:
    // Warps are arranged in rows and columns of the tile; each has MMA_ROWS x MMA_COLUMNS matrices of
    // 16 x 8.
    //   float, ROWS = 16: 2 x 4 warps of 64 x 32 outputs, so 4 x 4 matrices.
    static constexpr int WARPS = Tile::THREADS / WARP_SIZE, WARP_COLUMNS = WARPS < 4 ? WARPS : 4;
    static constexpr int MMA_ROWS = Tile::M / (WARPS / WARP_COLUMNS) / 16;
    static constexpr int MMA_COLUMNS = Tile::N / WARP_COLUMNS / 8;
    T sum[MMA_ROWS][MMA_COLUMNS][4] = {};

    static __device__ __forceinline__ int warp_row() {
        return threadIdx.x / WARP_SIZE / WARP_COLUMNS * MMA_ROWS * 16;
    }
    static __device__ __forceinline__ int lane_row() {
        return warp_row() + threadIdx.x % WARP_SIZE / 4;
    }
    static __device__ __forceinline__ int warp_column() {
        return threadIdx.x / WARP_SIZE % WARP_COLUMNS * MMA_COLUMNS * 8;
    }
    // The column of sum[][j][n] and sum[][j][2 + n], n = 0 or 1.
    static __device__ __forceinline__ int output_column(const int j, const int n) {
        return warp_column() + 8 * j + threadIdx.x % 4 * 2 + n;
    }

  public:
    // rows: how many rows of the tile are in the matrix.
    __device__ __forceinline__ void multiply(const Panel<T, Tile::M>& a_tile,
                                             const Panel<T, Tile::N>& b_tile, const int rows) {
        const int k = threadIdx.x % 4 * 2, column = warp_column() + threadIdx.x % WARP_SIZE / 4;
        Operand<T, PRODUCTS, 2> b[MMA_COLUMNS];
#pragma unroll
        for (int j = 0; j < MMA_COLUMNS; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half) b[j].set(half, b_tile[k + half][column + 8 * j]);
#pragma unroll
        for (int i = 0; i < MMA_ROWS; ++i) {
            // Rows out of bounds are skipped. The branch also keeps the compiler from interleaving two
            // of these rows of matrices, which would spill registers.
            if (warp_row() + 16 * i >= rows) continue;
            Operand<T, PRODUCTS, 4> a;
#pragma unroll
            for (int n = 0; n < 4; ++n)
                a.set(n, a_tile[k + n / 2][lane_row() + 16 * i + n % 2 * 8]);
#pragma unroll
            for (int j = 0; j < MMA_COLUMNS; ++j) multiply_add(sum[i][j], a, b[j]);
        }
    }
    template <class Epilogue> __device__ __forceinline__ void add_bias(const Epilogue& epilogue) {
#pragma unroll
        for (int j = 0; j < MMA_COLUMNS; ++j)
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const T bias = epilogue.bias(epilogue.column(output_column(j, n)));
#pragma unroll
                for (int i = 0; i < MMA_ROWS; ++i) sum[i][j][n] += bias, sum[i][j][2 + n] += bias;
            }
    }
    __device__ __forceinline__ T& output(const int n) {
        return sum[n / (4 * MMA_COLUMNS)][n / 4 % MMA_COLUMNS][n % 4];
    }
    template <class Epilogue>
    __device__ __forceinline__ void store_vectors(const Epilogue& epilogue) const {
#pragma unroll
        for (int i = 0; i < 2 * MMA_ROWS; ++i)
#pragma unroll
            for (int j = 0; j < MMA_COLUMNS; ++j)
                epilogue.template store_vector<2>(lane_row() + 8 * i,
                                                  epilogue.column(output_column(j, 0)),
                                                  sum[i / 2][j] + i % 2 * 2);
    }

    // Strip i is the rows g + 8 i of a warp, in parts of 128 bytes.
    static constexpr int STRIPS = 2 * MMA_ROWS, MATRICES = 16 / sizeof(T);
    using OutputStrip = Strip<T, 8, MMA_COLUMNS / MATRICES>;
    __device__ __forceinline__ void write_strip(const int i, const OutputStrip& strip) const {
        const int row = threadIdx.x % WARP_SIZE / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < MMA_COLUMNS; ++j)
            write_numbers<2>(sum[i / 2][j] + i % 2 * 2,
                             strip.at(row, j / MATRICES, column + j % MATRICES * 8));
    }
    static __device__ __forceinline__ int strip_row(const int i, const int r) {
        return warp_row() + 8 * i + r;
    }
    static __device__ __forceinline__ int strip_column(const int part) {
        return warp_column() + part * OutputStrip::COLUMNS;
    }
};
