// register_product.cuh -- the product of two matrices, summed up in registers. Included by
// linear.cu, conv2d_im2col.cu and conv2d_implicit_gemm.cu.
//
//   out[m, n] = sum over k of left[m, k] right[k, n]
//
// The idea, in three steps. A multiplication needs two numbers; whoever fetches both from memory
// for each one is held up by memory. So
//   1. a block of threads owns a block of `out` and walks along k, DEPTH numbers a step. Of each
//      step it needs a panel of `left` and a panel of `right`, which it lays in shared memory: with
//      128 x 128 outputs each number fetched is used 128 times;
//   2. a thread owns 8 x 8 outputs (double: 4 x 4). For each k it reads 8 + 8 numbers from shared
//      memory into registers and multiplies each with each: 64 multiplications for 16 reads;
//   3. while it multiplies one panel, the next is on its way from memory to registers, and it is
//      laid into the other half of shared memory: nobody waits for memory, and one barrier a step
//      is enough (double buffering).
//
// The arithmetic behind the sizes, for an H100 (132 multiprocessors, 128 multiply-adds and 128
// bytes of shared memory a clock each; by the datasheet, not measured):
//   8 x 8 a thread   16 numbers in four 16-byte reads for 64 multiply-adds. A warp spans 4 x 8
//                    threads, so a read fetches 64 or 128 different bytes: 4 clocks of shared
//                    memory for 16 clocks of multiply-adds. 4 x 4 would need 2 for 4.
//   128 x 128, 8     a step is 1024 clocks of multiply-adds for 8 KiB from the L2 cache, 8 bytes a
//                    clock and multiprocessor of about 24 that it delivers; memory's delay (600 to
//                    800 clocks) is hidden by one step, more so with two blocks on a multiprocessor.
//   128 registers    at most, so that 512 threads (two blocks of 256) share the 65,536 registers.
// Fewer rows (ROWS = 8: 64 x 128, ROWS = 4: 32 x 128) waste less where `left` is short, at 12 and
// 20 bytes a clock. ops/_blocking.py weighs these against each other.

constexpr int DEPTH = 8;
constexpr int COLUMNS = 16;

// 16 bytes, the most that one instruction moves: four floats or two doubles.
template <typename T> constexpr int WIDTH = 16 / sizeof(T);

__device__ __forceinline__ void read_vector(const float* from, float* to) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
__device__ __forceinline__ void read_vector(const double* from, double* to) {
    const double2 v = *reinterpret_cast<const double2*>(from);
    to[0] = v.x, to[1] = v.y;
}
__device__ __forceinline__ void write_vector(const float* from, float* to) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
}
__device__ __forceinline__ void write_vector(const double* from, double* to) {
    *reinterpret_cast<double2*>(to) = make_double2(from[0], from[1]);
}

// The sizes of a block with ROWS x COLUMNS threads.
template <typename T, int ROWS> struct Blocking {
    static constexpr int EACH = 2 * WIDTH<T>;
    static constexpr int M = ROWS * EACH, N = COLUMNS * EACH;
    static constexpr int THREADS = ROWS * COLUMNS;
};

// Shared memory for a panel: DEPTH rows of LINES numbers. A line is a row of `left` or a column of
// `right`. The padding of one vector keeps lanes that write down a column out of each other's
// banks: a float at (k, line) lies in bank 4 k + line (mod 32), different for k < 8, line < 4.
template <typename T, int LINES> using Panel = T[DEPTH][LINES + WIDTH<T>];

// What is known of one k beforehand, for matrices whose elements do not lie in even steps
// (conv2d.cuh says what the numbers mean). Plain ones have no use for it.
struct __align__(16) Spot {
    int offset, h, w, dense;
};
struct NoSpots {
    static constexpr bool NEEDED = false;
};

// ---- fetching panels -----------------------------------------------------------------------------
// A fetcher reads a thread's share of a panel into registers (fetch) and later lays it into shared
// memory (lay). Which lane reads what decides how well memory is used: the 32 lanes of a warp are
// to read neighbours. What lies beyond the last line or the last k is read as zero, which adds
// nothing.

// A plain matrix. ALONG_K: element (line, k) is p[line * lead + k], neighbours in memory follow
// each other along k, and so do lanes. Otherwise it is p[k * lead + line], and lanes run along
// lines. Either way element (slow, fast) is p[slow * lead + fast].
template <typename T, int LINES, int THREADS, bool ALONG_K> class Plain {
    static constexpr int COUNT = LINES * DEPTH / THREADS;
    const T* p;
    int lead, lines, last;
    bool vectors;
    T held[COUNT];

    // Group i of W neighbours: SPAN / W lanes share a row of memory.
    //   ALONG_K, W = 4: i = 0, 1 are k = 0..3 and 4..7 of line 0, i = 2, 3 those of line 1, ...
    template <int W> static __device__ __forceinline__ int slow(const int r) {
        return (threadIdx.x + r * THREADS) / ((ALONG_K ? DEPTH : LINES) / W);
    }
    template <int W> static __device__ __forceinline__ int fast(const int r) {
        return (threadIdx.x + r * THREADS) % ((ALONG_K ? DEPTH : LINES) / W) * W;
    }

    template <int W> __device__ __forceinline__ void fetch_by(const int k) {
        const T* from = p + (ALONG_K ? k : k * lead);
#pragma unroll
        for (int r = 0; r < COUNT / W; ++r) {
            const int i = slow<W>(r), j = fast<W>(r);
            const bool there = ALONG_K ? i < lines && k + j < last : j < lines && k + i < last;
            if constexpr (W > 1) {
                if (there) {
                    read_vector(from + i * lead + j, held + r * W);
                    continue;
                }
            }
#pragma unroll
            for (int n = 0; n < W; ++n) held[r * W + n] = there ? from[i * lead + j + n] : T(0);
        }
    }

    template <int W> __device__ __forceinline__ void lay_by(Panel<T, LINES>& panel) const {
#pragma unroll
        for (int r = 0; r < COUNT / W; ++r) {
            const int i = slow<W>(r), j = fast<W>(r);
            if constexpr (ALONG_K) {
#pragma unroll
                for (int n = 0; n < W; ++n) panel[j + n][i] = held[r * W + n];
            } else if constexpr (W > 1) {
                write_vector(held + r * W, &panel[i][j]);
            } else {
                panel[i][j] = held[r];
            }
        }
    }

  public:
    // The part of the matrix from line `first` on; it has `all` lines and ends at k = `last`.
    // Vectors can be read where every row of memory begins at a multiple of 16 bytes and ends at
    // a whole vector.
    __device__ Plain(const T* p, const int lead, const int first, const int all, const int last)
        : p(p + (ALONG_K ? first * lead : first)), lead(lead), lines(all - first), last(last),
          vectors(lead % WIDTH<T> == 0 && (ALONG_K ? last : all) % WIDTH<T> == 0 &&
                  reinterpret_cast<size_t>(p) % 16 == 0) {}

    __device__ __forceinline__ void fetch(const int k, const Spot*) {
        if (vectors) fetch_by<WIDTH<T>>(k);
        else fetch_by<1>(k);
    }
    __device__ __forceinline__ void lay(Panel<T, LINES>& panel) const {
        if (vectors) lay_by<WIDTH<T>>(panel);
        else lay_by<1>(panel);
    }
};

// ---- the product ---------------------------------------------------------------------------------

// The block of the result that this thread block computes. Blocks that follow each other share
// columns: they run at the same time, and so `right`, of which there is more, comes from memory once and
// from the L2 cache for all other rows; `left` is in the cache anyway.
struct Home {
    int row, column;
};
template <typename T, int ROWS> __device__ __forceinline__ Home home(const int rows) {
    using Block = Blocking<T, ROWS>;
    const int tiles = (rows + Block::M - 1) / Block::M;
    return {int(blockIdx.x) % tiles * Block::M, int(blockIdx.x) / tiles * Block::N};
}

// Where a thread stands among the ROWS x COLUMNS of its block. Warps span 4 x 8 threads, so that
// the lanes of a warp read as few different numbers as can be:
//   warp 0, lanes 0 to 7: row 0, columns 0 to 7; lanes 8 to 15: row 1, columns 0 to 7; ...
//   warp 1: rows 0 to 3, columns 8 to 15; warp 2: rows 4 to 7, columns 0 to 7; ...
__device__ __forceinline__ int thread_row() { return threadIdx.x / 64 * 4 + threadIdx.x % 32 / 8; }
__device__ __forceinline__ int thread_column() { return threadIdx.x / 32 % 2 * 8 + threadIdx.x % 8; }

// A thread's outputs along one side, in two vectors half a block apart: neighbouring threads then
// read neighbouring vectors, which no two lanes find in the same bank.
//   float, COLUMNS = 16: thread 3 owns columns 12 to 15 and 76 to 79.
template <typename T> __device__ __forceinline__ int owned(const int thread, const int i, const int lines) {
    return i / WIDTH<T> * (lines / 2) + thread * WIDTH<T> + i % WIDTH<T>;
}

template <typename T, int ROWS, class Left, class Right, class Spots, class Store>
__device__ __forceinline__ void register_product(Left left, Right right, const Spots spots,
                                                 const Store store, const int first, const int last) {
    using Block = Blocking<T, ROWS>;
    __shared__ __align__(16) Panel<T, Block::M> lefts[2];
    __shared__ __align__(16) Panel<T, Block::N> rights[2];
    __shared__ Spot table[2][DEPTH];
    const int row = thread_row(), column = thread_column(), t = threadIdx.x;
    T sum[Block::EACH][Block::EACH] = {};

    if constexpr (Spots::NEEDED) {
        if (t < 2 * DEPTH) table[t / DEPTH][t % DEPTH] = spots.spot(first + t, last);
        // The first two steps' spots are there before panels are fetched by them.
        __syncthreads();
    }
    left.fetch(first, table[0]), right.fetch(first, table[0]);
    left.lay(lefts[0]), right.lay(rights[0]);
    // The first panels are whole before anyone multiplies.
    __syncthreads();

    int now = 0;
    for (int k = first; k < last; k += DEPTH, now ^= 1) {
        const bool more = k + DEPTH < last;
        if (more) left.fetch(k + DEPTH, table[now ^ 1]), right.fetch(k + DEPTH, table[now ^ 1]);
// Unrolled further, the compiler reads so far ahead that registers spill.
#pragma unroll 2
        for (int d = 0; d < DEPTH; ++d) {
            T a[Block::EACH], b[Block::EACH];
#pragma unroll
            for (int half = 0; half < Block::EACH; half += WIDTH<T>) {
                read_vector(&lefts[now][d][owned<T>(row, half, Block::M)], a + half);
                read_vector(&rights[now][d][owned<T>(column, half, Block::N)], b + half);
            }
#pragma unroll
            for (int i = 0; i < Block::EACH; ++i)
#pragma unroll
                for (int j = 0; j < Block::EACH; ++j) sum[i][j] += a[i] * b[j];
        }
        if (more) left.lay(lefts[now ^ 1]), right.lay(rights[now ^ 1]);
        if constexpr (Spots::NEEDED)
            if (t < DEPTH) table[now][t] = spots.spot(k + 2 * DEPTH + t, last);
        // The other half is whole before anyone multiplies it, and this half, and the spots by
        // which it was fetched, are done with before anyone overwrites them.
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < Block::EACH; ++j) {
        const auto place = store.column(owned<T>(column, j, Block::N));
#pragma unroll
        for (int i = 0; i < Block::EACH; ++i)
            store.put(owned<T>(row, i, Block::M), place, sum[i][j]);
    }
}
