// panel_product.cuh -- the main loop of a matrix product, whether it multiplies in registers
// (register_product.cuh) or on tensor cores (tensor_core_product.cuh), and how a tile is stored.
// multistage_product.cuh has another main loop.
//
//   C[m, n] = sum over k of A[m, k] B[k, n]
//
// The idea: a multiplication needs two numbers; loading both from global memory for each one is bound
// by memory. So
//   - a block of threads computes a tile of C, in steps of TILE_K along k. In each step it loads a
//     panel of A and a panel of B into shared memory: with 128 x 128 outputs each number loaded is
//     used 128 times;
//   - while it multiplies one panel, the next is being loaded from global memory to registers, and is
//     then stored to the other half of shared memory: memory latency is hidden, and one barrier per
//     step is enough (double buffering).
//
//              |<-N->|
//              +-----+  ^
//     k -->    |#####| TILE_K    B, step by step downwards
//              +-----+  v
//   +--+       +-----+
//   |##|       |  C  |  M
//   +--+       +-----+
//  TILE_K  A, step by step to the right
//
// Where tiles are too few to fill a GPU, k is split into parts as well (split-K), one block per tile
// and part, and C is the sum of the parts: either the block that finishes a tile last adds them up
// (split_sum.cuh), or all are written and sum_partials.cu does.
#include "split_sum.cuh"
#include "vectors.cuh"

constexpr int TILE_K = 8;
constexpr int THREAD_COLUMNS = 16;

template <int W, typename T> __device__ __forceinline__ void clear(T* to) {
#pragma unroll
    for (int i = 0; i < W; ++i) to[i] = 0;
}

// The tile of a block with ROWS x THREAD_COLUMNS threads: each thread has THREAD_TILE x THREAD_TILE
// outputs, two vectors along each side.
template <typename T, int ROWS> struct TileShape {
    static constexpr int THREAD_TILE = 2 * VECTOR_WIDTH<T>;
    static constexpr int OUTPUTS_PER_THREAD = THREAD_TILE * THREAD_TILE;
    static constexpr int M = ROWS * THREAD_TILE, N = THREAD_COLUMNS * THREAD_TILE;
    static constexpr int THREADS = ROWS * THREAD_COLUMNS;
};

// Shared memory for a panel: TILE_K rows of LINES numbers. A line is a row of A or a column of B. The
// padding of one vector avoids bank conflicts between lanes that store down a column: a float at
// (k, line) lies in bank 4 k + line (mod 32), different for k < 8, line < 4.
template <typename T, int LINES> using Panel = T[TILE_K][LINES + VECTOR_WIDTH<T>];

// What is precomputed for each k, for matrices whose elements are gathered (conv2d_panels.cuh says
// what the numbers mean). Dense ones do not need it.
struct __align__(16) Coord {
    int offset, h, w, dense;

    // All four in one instruction; read where they are needed, they would be three, each on its own.
    static __device__ __forceinline__ Coord read(const Coord* from) {
        const int4 v = *reinterpret_cast<const int4*>(from);
        return {v.x, v.y, v.z, v.w};
    }
};
struct NoCoords {
    static constexpr bool NEEDED = false;
};

// ---- loading panels ------------------------------------------------------------------------------
// A loader reads a thread's elements of a panel from global memory into registers (load) and later
// writes them to shared memory (store). Lanes are mapped so that loads coalesce: the 32 lanes of a
// warp read neighbours. Out of bounds, beyond the last line or the last k, is read as zero, which adds
// nothing. Arrays are indexed from their beginning by an int, which is one instruction; a pointer
// advanced to the group or the part would take three.

// How THREADS threads are mapped to rows of ROW numbers, W at a time (CUTLASS: a thread map): access r
// of a thread is W numbers of row row(r), from column(r) on.
//   THREADS = 256, ROW = 128, W = 1: thread 130 reads (1, 2), (3, 2), (5, 2), ...
//   THREADS = 64,  ROW = 128, W = 1: thread 3 reads (0, 3), (0, 67), (1, 3), (1, 67), ...
template <int THREADS, int ROW, int W> struct ThreadMap {
    static constexpr unsigned THREADS_PER_ROW = ROW / W;
    static constexpr int VECTORS_PER_ROW = THREADS_PER_ROW > THREADS ? THREADS_PER_ROW / THREADS : 1;
    static constexpr int ROWS_PER_PASS = THREADS_PER_ROW > THREADS ? 1 : THREADS / THREADS_PER_ROW;

    static __device__ __forceinline__ int row(const int r) {
        return threadIdx.x / THREADS_PER_ROW + r / VECTORS_PER_ROW * ROWS_PER_PASS;
    }
    static __device__ __forceinline__ int column(const int r) {
        return (threadIdx.x % THREADS_PER_ROW + r % VECTORS_PER_ROW * THREADS) * W;
    }
};

// A dense matrix that begins at p[start]. ALONG_K: element (line, k) is p[start + line * ld + k],
// contiguous along k, and lanes run along k. Otherwise it is p[start + k * ld + line], and lanes run
// along lines.
template <typename T, int LINES, int THREADS, bool ALONG_K> class DenseLoader {
    static constexpr int COUNT = LINES * TILE_K / THREADS;
    const T* p;
    int start, ld, lines, last;
    bool vector_aligned;
    T fragment[COUNT];

    template <int W> __device__ __forceinline__ void load_vectors(const int k) {
        using Map = ThreadMap<THREADS, ALONG_K ? TILE_K : LINES, W>;
#pragma unroll
        for (int r = 0; r < COUNT / W; ++r) {
            const int row = Map::row(r), column = Map::column(r);
            const bool in_bounds = ALONG_K ? row < lines && k + column < last
                                       : column < lines && k + row < last;
            const int offset = start + (ALONG_K ? row * ld + k : (k + row) * ld) + column;
            if constexpr (W > 1) {
                if (in_bounds) read_vector(p + offset, fragment + r * W);
                else clear<W>(fragment + r * W);
            } else {
                fragment[r] = in_bounds ? p[offset] : T(0);
            }
        }
    }

    template <int W> __device__ __forceinline__ void store_vectors(Panel<T, LINES>& panel) const {
        using Map = ThreadMap<THREADS, ALONG_K ? TILE_K : LINES, W>;
#pragma unroll
        for (int r = 0; r < COUNT / W; ++r) {
            const int row = Map::row(r), column = Map::column(r);
            if constexpr (ALONG_K) {
#pragma unroll
                for (int i = 0; i < W; ++i) panel[column + i][row] = fragment[r * W + i];
            } else if constexpr (W > 1) {
                write_vector(fragment + r * W, &panel[row][column]);
            } else {
                panel[row][column] = fragment[r];
            }
        }
    }

  public:
    // The part of the matrix from line `first` on; it has `all` lines and ends at k = `last`.
    // vector_aligned: whether every row in memory is whole 16-byte vectors, aligned to 16 bytes.
    __device__ DenseLoader(const T* p, const int start, const int ld, const int first, const int all,
                           const int last, const bool vector_aligned)
        : p(p), start(start + (ALONG_K ? first * ld : first)), ld(ld), lines(all - first),
          last(last), vector_aligned(vector_aligned) {}

    __device__ __forceinline__ void load(const int k, const Coord*) {
        if (vector_aligned) load_vectors<VECTOR_WIDTH<T>>(k);
        else load_vectors<1>(k);
    }
    __device__ __forceinline__ void store(Panel<T, LINES>& panel) const {
        if (vector_aligned) store_vectors<VECTOR_WIDTH<T>>(panel);
        else store_vectors<1>(panel);
    }
};

// ---- the tile of a block -------------------------------------------------------------------------

// The first row and column of the tile that this block computes. Consecutive blocks share columns:
// they run at the same time, and so B, which is larger, comes from memory once and from the L2 cache
// for all other rows; A is in the cache anyway.
struct TileOrigin {
    int row, column;
};
template <typename T, int ROWS> __device__ __forceinline__ TileOrigin tile_origin(const int rows) {
    using Tile = TileShape<T, ROWS>;
    const int tiles = (rows + Tile::M - 1) / Tile::M;
    return {int(blockIdx.x) % tiles * Tile::M, int(blockIdx.x) / tiles * Tile::N};
}

// ---- split-K -------------------------------------------------------------------------------------
// The grid is (tiles, parts, copies); blocks beyond `tiles` may do other work.

// Where blocks store their partial sums for the last block of their tile, and one counter per tile.
// Without it, out is either the result itself or (parts, ...), one result for each part.
template <typename T> struct Workspace {
    T* partials;
    unsigned* arrived;
    int tiles;

    __device__ __forceinline__ int tile() const { return blockIdx.z * tiles + blockIdx.x; }
    // Where this block's result of `size` numbers begins.
    template <typename Out> __device__ __forceinline__ Out* result(Out* out, const size_t size) const {
        return partials ? out : out + blockIdx.y * size;
    }
};

// Stores the block's partial sums in the workspace. In the last block of the tile it returns true,
// with the sums of all parts in `mma`. Output n of each thread lies beside output n of the next, so
// that stores and loads coalesce, wherever the results are to go.
template <typename T, class Mma>
__device__ __forceinline__ bool fix_up(Mma& mma, const Workspace<T>& workspace) {
    using Tile = typename Mma::Tile;
    constexpr int OUTPUTS = Tile::OUTPUTS_PER_THREAD, THREADS = Tile::THREADS;
    const int tile = workspace.tile(), parts = gridDim.y;
    T* const all = workspace.partials + size_t(tile) * parts * OUTPUTS * THREADS + threadIdx.x;
    T* const own = all + size_t(blockIdx.y) * OUTPUTS * THREADS;
#pragma unroll
    for (int n = 0; n < OUTPUTS; ++n) own[n * THREADS] = mma.output(n);
    if (!last_to_arrive(workspace.arrived + tile, parts)) return false;
#pragma unroll
    for (int n = 0; n < OUTPUTS; ++n) mma.output(n) = 0;
    for (int s = 0; s < parts; ++s)
#pragma unroll
        for (int n = 0; n < OUTPUTS; ++n)
            mma.output(n) += __ldcg(all + (size_t(s) * OUTPUTS + n) * THREADS);
    return true;
}

// ---- storing a tile ------------------------------------------------------------------------------
// A thread's outputs are vectors of a row, or pairs. Where every row of the result is whole vectors,
// lanes store those, and fill the sectors that they touch. Elsewhere numbers are stored one by one, and
// if each lane stored its own, a warp would touch 16 sectors of 32 bytes and more for what 4 hold. So a
// warp stores a *strip* at a time, a few rows, by way of shared memory, where numbers change lanes.

// A dense matrix with leading dimension ld as an epilogue, with a bias per column, if b is not null.
// Sums are T, and become Out, the type of the matrix, as they are stored.
template <typename T, typename Out = T> struct MatrixEpilogue {
    static constexpr bool IS_MATRIX = true;
    Out* p;
    const T* b;
    int ld, first_row, rows, first_column, columns;

    __device__ __forceinline__ int column(const int j) const { return first_column + j; }
    __device__ __forceinline__ int lane_column(const int lane) const { return lane; }
    __device__ __forceinline__ T bias(const int column) const {
        return column < columns ? b[column] : T(0);
    }
    __device__ __forceinline__ void store(const int i, const int column, const T value) const {
        const int row = first_row + i;
        if (row < rows && column < columns) p[row * ld + column] = Out(value);
    }
    // W numbers of a row, as many as a vector of T has or half, of which it holds all or none.
    template <int W>
    __device__ __forceinline__ void store_vector(const int i, const int column, const T* values) const {
        const int row = first_row + i;
        if (row < rows && column < columns) write_numbers<W>(values, p + row * ld + column);
    }
    __device__ __forceinline__ bool has_whole_vectors() const {
        return (size_t(p) / sizeof(Out) | ld | columns) % VECTOR_WIDTH<T> == 0;
    }
};

// A strip in shared memory: ROWS rows of PARTS pieces of 128 bytes. Within its piece a column is XORed
// with a number that differs by row (swizzling), so that the lanes that write one column of two or
// four rows at a time meet in no bank.
//   float: row 0 has columns 0 to 31, row 1 16 to 31, 0 to 15, row 2 8 to 15, 0 to 7, 24 to 31, ...
template <typename T, int ROW_COUNT, int PART_COUNT> struct Strip {
    static constexpr int ROWS = ROW_COUNT, PARTS = PART_COUNT, COLUMNS = 128 / sizeof(T);
    T* p;

    // The strip of this thread's warp.
    static __device__ __forceinline__ Strip of_warp(T* smem) {
        return {smem + threadIdx.x / WARP_SIZE * (ROWS * PARTS * COLUMNS)};
    }
    __device__ __forceinline__ T* at(const int row, const int part, const int column) const {
        const int swizzle = row % 2 * (COLUMNS / 2) + row / 2 % 2 * (COLUMNS / 4);
        return p + (row * PARTS + part) * COLUMNS + (column ^ swizzle);
    }
};

// Passes the block's outputs to an epilogue, which says which column of a part a lane has: those of
// neighbouring lanes lie side by side in memory. All warps have finished with what is in smem.
template <typename T, class Mma, class Epilogue>
__device__ __forceinline__ void store_strips(const Mma& mma, T* smem, const Epilogue& epilogue) {
    using Strip = typename Mma::OutputStrip;
    const Strip strip = Strip::of_warp(smem);
    // One row of floats at a time, or two of doubles.
    constexpr int AT_A_TIME = WARP_SIZE / Strip::COLUMNS;
    const int lane = threadIdx.x % WARP_SIZE, row = lane / Strip::COLUMNS;
    const int column = epilogue.lane_column(lane % Strip::COLUMNS);
    int column_offset[Strip::PARTS];
#pragma unroll
    for (int part = 0; part < Strip::PARTS; ++part)
        column_offset[part] = epilogue.column(Mma::strip_column(part) + column);
#pragma unroll
    for (int s = 0; s < Mma::STRIPS; ++s) {
        mma.write_strip(s, strip);
        // The strip is complete before any lane reads it.
        __syncwarp();
#pragma unroll
        for (int r = 0; r < Strip::ROWS; r += AT_A_TIME)
#pragma unroll
            for (int part = 0; part < Strip::PARTS; ++part)
                epilogue.store(Mma::strip_row(s, r + row), column_offset[part],
                               *strip.at(r + row, part, column));
        // All lanes have read the strip before any lane overwrites it with the next.
        __syncwarp();
    }
}

// What becomes of a block's sums: with those of the other parts and the bias, they are stored. smem is
// for strips.
template <typename T, class Mma, class Epilogue>
__device__ __forceinline__ void store_tile(Mma& mma, T* smem, const Epilogue& epilogue,
                                           const Workspace<T>& workspace) {
    // A pass of its own: interleaved with the stores it would spill registers.
    if constexpr (Epilogue::IS_MATRIX) {
        // Of several parts the first adds the bias.
        if (epilogue.b && blockIdx.y == 0) mma.add_bias(epilogue);
    }
    if (workspace.partials && !fix_up(mma, workspace)) return;
    if constexpr (Epilogue::IS_MATRIX) {
        if (epilogue.has_whole_vectors()) {
            mma.store_vectors(epilogue);
            return;
        }
    }
    store_strips(mma, smem, epilogue);
}

// ---- the main loop -------------------------------------------------------------------------------

// Mma: has a Tile, its TileShape, and the accumulators, output(n) being number n of a thread's, and multiply(panel of A, panel of
// B, rows that are in the matrix); where Epilogue::IS_MATRIX, also add_bias(epilogue), which adds
// epilogue.bias(column) to a column, and store_vectors(epilogue); and for store_strips STRIPS, and of
// strip s write_strip(s, strip), strip_row(s, r), its row r in the tile, and strip_column(part), where
// a part begins in the tile.
template <typename T, int ROWS, class Mma, class LoaderA, class LoaderB, class Coords, class Epilogue>
__device__ __forceinline__ void panel_product(LoaderA loader_a, LoaderB loader_b, const Coords k_coords,
                                              const Epilogue epilogue, const int first, const int last,
                                              const Workspace<T> workspace) {
    using Tile = TileShape<T, ROWS>;
    __shared__ __align__(16) Panel<T, Tile::M> a_tile[2];
    __shared__ __align__(16) Panel<T, Tile::N> b_tile[2];
    // A ring buffer: the Coord of k is table[(k - first) % RING]. One warp computes 32 at a time.
    constexpr int RING = 2 * WARP_SIZE;
    __shared__ Coord table[RING];
    const int t = threadIdx.x;
    Mma mma;

    if constexpr (Coords::NEEDED) {
        if (t < RING) table[t] = k_coords.coord(first + t, last);
        // Coords are written before panels are loaded by them.
        __syncthreads();
    }
    loader_a.load(first, table), loader_b.load(first, table);
    loader_a.store(a_tile[0]), loader_b.store(b_tile[0]);
    // The first panels are complete before any thread multiplies.
    __syncthreads();

    int current = 0;
    for (int k = first; k < last; k += TILE_K, current ^= 1) {
        const int done = k - first;
        const bool has_next = k + TILE_K < last;
        if constexpr (Coords::NEEDED) {
            // Every fourth step. At done = 32 Coords 64 to 95 overwrite 0 to 31, by which all threads
            // have loaded before; the first of them is needed at done = 56.
            if (done > 0 && done % WARP_SIZE == 0 && t < WARP_SIZE)
                table[(done + WARP_SIZE) % RING + t] = k_coords.coord(k + WARP_SIZE + t, last);
        }
        const Coord* next = table + (done + TILE_K) % RING;
        if (has_next) loader_a.load(k + TILE_K, next), loader_b.load(k + TILE_K, next);
        mma.multiply(a_tile[current], b_tile[current], epilogue.rows - epilogue.first_row);
        if (has_next) loader_a.store(a_tile[current ^ 1]), loader_b.store(b_tile[current ^ 1]);
        // The other half is complete before any thread multiplies it, and all threads have read this
        // half before any thread overwrites it. New Coords are written before any thread loads by them.
        __syncthreads();
    }
    // All threads have multiplied the last panels, so their memory is free.
    store_tile(mma, &b_tile[0][0][0], epilogue, workspace);
}
