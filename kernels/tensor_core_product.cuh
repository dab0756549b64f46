// tensor_core_product.cuh -- products of panels, summed up by tensor cores. Included by
// conv2d_tensor_core.cu and linear_tensor_core.cu. Needs sm_80.
//
// The idea, on top of panel_product.cuh: a warp hands whole matrices of 16 x 8 and 8 x 8 numbers to
// a tensor core, which multiplies them in one instruction. It takes floats of 10 bits of fraction
// only (TF32), where a float has 23. So each float is split into two such numbers,
//
//   x = big + small + rest,   big = x rounded to TF32,   small = x - big, cut to TF32,
//
// with |rest| at most 2^-22 |x|, and three products stand for one:
//
//   a b = big_a big_b + big_a small_b + small_a big_b       (and small_a small_b, which is dropped:
//                                                            at most 2^-22 |a b|)
//
// That is about as accurate as floats are (a single rounding is 2^-24), for three instructions on a
// unit that is many times faster. The small products come first, so that they are added to each
// other before they meet the large one. Splitting a number takes three instructions: add half of
// big's last bit and mask, halves away from zero, and subtract. The cutting is the tensor core's,
// which does not look at the low 13 bits of an operand; rounding, as big is, makes `small` of
// either sign, so that what is cut has no bias.
//
// Promotion: a tensor core does not round its sums but cuts them (emu/tensor_core.h), so that a long
// sum kept in there falls short, by as much as 2e-4 of its terms' root sum of squares for 43,264
// terms, 60 times FFMA's error. So the three products of a step of 8 begin at zero, and an ordinary
// addition, which rounds to nearest, adds them to the sum in registers: 4 FADD for 3 HMMA. Then the
// error is smaller than FFMA's at every length (docs/tensor-cores.md). Promoting every fourth step
// would need a second set of 64 sums, which two blocks on a multiprocessor have no registers for;
// the zero at the beginning costs none, the instruction takes RZ for it.
//
// What is given up (3 products): an infinity comes out as NaN (its `small` is infinity minus infinity).
//
// Arithmetic, for an H100 by its datasheet and sm_90's machine code (not measured): a step of
// 128 x 128 x 8 is 393,216 products at 1024 a clock at best, about 640 by mma.sync: 600 clocks,
// against 1024 by ordinary multiply-adds at their best. A warp then issues 48 HMMA, 64 FADD for
// promotion, 72 instructions to split 24 numbers, 24 LDS and about 150 to fetch: some 360 in the
// 300 clocks that its HMMA take of a quarter of the multiprocessor, so that issuing bounds it.
#include "mma.cuh"
#include "panel_product.cuh"

// Two blocks of 256 threads, or three of 128, or six of 64: as in register_product.cuh.
constexpr int resident_blocks(const int rows) { return rows == 16 ? 2 : 24 / rows; }

// What a lane holds of a 16 x 8 or 8 x 8 matrix (emu/tensor_core.h draws the layout): with
// g = lane / 4 and t = lane % 4,
//   left    rows g and g + 8, at two k;   right   column g, at two k;
//   sums    rows g and g + 8, columns 2 t and 2 t + 1.
// Which k those are does not matter as long as both sides agree. The instruction calls them t and
// t + 4; here lane t brings k = 2 t and 2 t + 1, so that what the lanes of a warp read at once, a
// float at (2 t, g), lies in bank 8 t + g: 32 different ones.
// TERMS: how many products stand for one. 3 as above; 1 is plain TF32, each number rounded to 11
// bits, for floats alone.
template <typename T, int TERMS, int COUNT> struct Split;

template <int COUNT> struct Split<float, 3, COUNT> {
    unsigned big[COUNT], small[COUNT];

    __device__ __forceinline__ void set(const int i, const float x) {
        big[i] = (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
        small[i] = __float_as_uint(x - __uint_as_float(big[i]));
    }
};
__device__ __forceinline__ void add_products(float (&step)[4], const Split<float, 3, 4>& a,
                                             const Split<float, 3, 2>& b) {
    mma_tf32(step, a.small, b.big);
    mma_tf32(step, a.big, b.small);
    mma_tf32(step, a.big, b.big);
}

template <int COUNT> struct Split<float, 1, COUNT> {
    unsigned big[COUNT];

    __device__ __forceinline__ void set(const int i, const float x) { big[i] = to_tf32(x); }
};
__device__ __forceinline__ void add_products(float (&step)[4], const Split<float, 1, 4>& a,
                                             const Split<float, 1, 2>& b) {
    mma_tf32(step, a.big, b.big);
}

template <int TERMS>
__device__ __forceinline__ void add_step(float (&sum)[4], const Split<float, TERMS, 4>& a,
                                         const Split<float, TERMS, 2>& b) {
    float step[4] = {};
    add_products(step, a, b);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += step[i];
}

// Doubles: tensor cores have no part in it. The lanes hand each other the same fragments and
// multiply themselves, which is slow, and shows that the fragments are right.
template <int COUNT> struct Split<double, 3, COUNT> {
    double value[COUNT];

    __device__ __forceinline__ void set(const int i, const double x) { value[i] = x; }
};
__device__ __forceinline__ void add_step(double (&sum)[4], const Split<double, 3, 4>& a,
                                         const Split<double, 3, 2>& b) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
        const int t = k % 4, half = k / 4;
        const int row = lane / 4 * 4 + t, column = lane % 4 * 8 + t;
        const double a0 = __shfl_sync(FULL_WARP, a.value[2 * half], row);
        const double a1 = __shfl_sync(FULL_WARP, a.value[2 * half + 1], row);
        const double b0 = __shfl_sync(FULL_WARP, b.value[half], column);
        const double b1 = __shfl_sync(FULL_WARP, b.value[half], column + 4);
        sum[0] += a0 * b0, sum[1] += a0 * b1;
        sum[2] += a1 * b0, sum[3] += a1 * b1;
    }
}

template <typename T, int ROWS, int TERMS> class OnTensorCores {
    using Block = Blocking<T, ROWS>;
    // Warps stand in rows and columns of the tile; each owns UP x ACROSS matrices of 16 x 8.
    //   float, ROWS = 16: 2 x 4 warps of 64 x 32 outputs, so 4 x 4 matrices.
    static constexpr int WARPS = Block::THREADS / WARP, WARP_COLUMNS = WARPS < 4 ? WARPS : 4;
    static constexpr int UP = Block::M / (WARPS / WARP_COLUMNS) / 16;
    static constexpr int ACROSS = Block::N / WARP_COLUMNS / 8;
    T sum[UP][ACROSS][4] = {};

    static __device__ __forceinline__ int first_strip() {
        return threadIdx.x / WARP / WARP_COLUMNS * UP * 16;
    }
    static __device__ __forceinline__ int first_row() {
        return first_strip() + threadIdx.x % WARP / 4;
    }
    static __device__ __forceinline__ int first_column() {
        return threadIdx.x / WARP % WARP_COLUMNS * ACROSS * 8;
    }
    // The column of sum[][j][right] and sum[][j][2 + right].
    static __device__ __forceinline__ int owned(const int j, const int right) {
        return first_column() + 8 * j + threadIdx.x % 4 * 2 + right;
    }

  public:
    // rows: how many rows of the tile are in the matrix.
    __device__ __forceinline__ void multiply(const Panel<T, Block::M>& left,
                                             const Panel<T, Block::N>& right, const int rows) {
        const int k = threadIdx.x % 4 * 2, column = first_column() + threadIdx.x % WARP / 4;
        Split<T, TERMS, 2> b[ACROSS];
#pragma unroll
        for (int j = 0; j < ACROSS; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half) b[j].set(half, right[k + half][column + 8 * j]);
#pragma unroll
        for (int i = 0; i < UP; ++i) {
            // Rows that are not there are left out. As the branch keeps the compiler from working on
            // two strips at once, it also saves the registers that this would spill.
            if (first_strip() + 16 * i >= rows) continue;
            Split<T, TERMS, 4> a;
#pragma unroll
            for (int n = 0; n < 4; ++n)
                a.set(n, left[k + n / 2][first_row() + 16 * i + n % 2 * 8]);
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) add_step(sum[i][j], a, b[j]);
        }
    }
    template <class Store> __device__ __forceinline__ void add_bias(const Store& store) {
#pragma unroll
        for (int j = 0; j < ACROSS; ++j)
#pragma unroll
            for (int right = 0; right < 2; ++right) {
                const T bias = store.bias(store.column(owned(j, right)));
#pragma unroll
                for (int i = 0; i < UP; ++i) sum[i][j][right] += bias, sum[i][j][2 + right] += bias;
            }
    }
    template <class Store> __device__ __forceinline__ void put_into(const Store& store) const {
#pragma unroll
        for (int j = 0; j < ACROSS; ++j)
#pragma unroll
            for (int right = 0; right < 2; ++right) {
                const auto place = store.column(owned(j, right));
#pragma unroll
                for (int i = 0; i < 2 * UP; ++i)
                    store.put(first_row() + 8 * i, place, sum[i / 2][j][i % 2 * 2 + right]);
            }
    }
};
