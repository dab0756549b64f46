// multistage_product.cuh -- products on tensor cores of panels that are copied asynchronously, several
// stages ahead (CUTLASS: multistage). Included by conv2d_multistage.cuh and linear_multistage.cu.
// Needs sm_80.
//
// The idea, on top of tensor_core_product.cuh: there every number goes from global memory through a
// register to shared memory, and from there to registers one by one; instructions, not the tensor
// cores, are what a step waits for. Here
//   - cp.async copies 16 bytes at a time past the registers. Shared memory is a ring of STAGES panels
//     of either matrix: while one is multiplied, the next STAGES - 1 are on their way, and a stage
//     takes one barrier;
//   - ldmatrix, or a vector load, gives a lane four numbers of a fragment at a time;
//   - no panel is transposed on its way. A matrix that is contiguous along k and one that is contiguous
//     across it are kept as they are, with their chunks of 16 bytes swizzled so that neither the copies
//     nor the loads meet in a bank.
//
// A block of 32 lines of a panel, its rows or columns, is loaded for a step of 8 k as eight numbers per
// lane. With g = lane / 4, t = lane % 4 and chunk_of(g) a permutation of 0 ... 7, those are
//
//   lines 4 chunk_of(g) + q, q = 0 ... 3,   at k = t and k = t + 4.
//
//   along k        a line's chunk has four k: ldmatrix gives lane (g, t) word t of line g of a matrix;
//                  two of them, of four matrices each, are the block.
//   across k       a chunk of a k has four lines: a vector load from row t, another from row t + 4.
//
// So line g of a fragment is line 4 chunk_of(g) + q of the block: which q it has is the fragment's
// number. A lane then has whole vectors of neighbouring columns of the result as well. (A across k has
// lines of its own, see block_line.)
//
// Arithmetic for an H100 (not measured): for a stage of 16 k a warp with 64 x 64 outputs issues 192
// HMMA, 256 FADD (promotion), 192 instructions that split numbers, 16 loads and about 150 for 8 copies:
// some 850, in the 1238 clocks that its HMMA take at mma.sync's rate. Products bind, and not the issue
// of instructions. With one product for each they take 413, and shared memory binds: 128 lines of
// 128 bytes written and 256 read, beside 128 that pass L1.
#include "async_copy.cuh"
#include "tensor_core_product.cuh"

constexpr int STAGE_K = 16;
constexpr int CHUNK = VECTOR_WIDTH<float>;
constexpr int CHUNK_BYTES = 16;
constexpr int BLOCK_LINES = 32;

// How many stages the ring has on an architecture (__CUDA_ARCH__): as many as two blocks on a
// multiprocessor have shared memory for, four at most. ops/_cuda/tiling.py says the same.
constexpr int stages_of(const int architecture) {
    return architecture == 860 || architecture == 890 || architecture == 1200 ? 3 : 4;
}

template <int LINES> constexpr int PANEL_BYTES = LINES * STAGE_K * int(sizeof(float));

// Lanes g = 2 m and 2 m + 1 have chunks m and m + 4: eight lanes of a vector load, two g with four t,
// then meet in no bank, since chunks of row t are XORed with t.
__device__ __forceinline__ int chunk_of(const int g) { return g / 2 + g % 2 * 4; }

// Line q of four of a block that lane g has: those of fragment i, rows g and g + 8, are q = 2 i, 2 i + 1.
// An operand of A is two lines at two k, in four registers side by side: across k, where a load has
// lines side by side, two at a time go to their places.
template <bool ALONG_K, bool OF_A> __device__ __forceinline__ int block_line(const int g, const int q) {
    if constexpr (OF_A && !ALONG_K) return q / 2 * 16 + g * 2 + q % 2;
    else return chunk_of(g) * CHUNK + q;
}

// Where a chunk lies in a panel of LINES lines, in bytes.
//   along k:  chunk c of a line; two lines share 128 bytes, all banks, in which the eight lines 4 apart
//             that a matrix of ldmatrix has are at eight different chunks.
//   across:   chunk c of row k.
template <int LINES, bool ALONG_K, bool OF_A>
__device__ __forceinline__ int chunk_offset(const int row, const int c) {
    if constexpr (ALONG_K)
        return row / 2 * 128 + ((row % 2 * 4 + c) ^ (row / 4 % 8)) * CHUNK_BYTES;
    else
        return (row * (LINES / CHUNK) + (c ^ (row % 4 * (OF_A ? 2 : 1)))) * CHUNK_BYTES;
}

// x, which the compiler cannot compute anew wherever it is needed, as it would for want of registers.
__device__ __forceinline__ int kept(const int x) {
    return __shfl_sync(FULL_MASK, x, threadIdx.x % WARP_SIZE);
}

// ---- copying panels ------------------------------------------------------------------------------
// A matrix says what a thread keeps of a line, a Line, and where in its array the chunk is that begins
// at that line and k: offset(line, k, the Coord of k), or -1 beyond its ends. In a matrix without
// whole chunks, element(line, k, e) is where number e of a chunk is.

// A dense matrix that begins at p[start], as in DenseLoader.
// is_aligned: whether every row in memory is whole chunks, aligned to 16 bytes.
template <bool CONTIGUOUS_ALONG_K> struct DenseChunks {
    static constexpr bool ALONG_K = CONTIGUOUS_ALONG_K, NEEDS_COORD = false;
    const float* p;
    int start, ld, lines, last;
    bool is_aligned;

    using Line = int;
    __device__ __forceinline__ bool has_whole_chunks() const { return is_aligned; }
    __device__ __forceinline__ Line line(const int i) const { return i; }
    __device__ __forceinline__ int offset(const Line line, const int k, const Coord&) const {
        if (line >= lines || k >= last) return -1;
        return start + (ALONG_K ? line * ld + k : k * ld + line);
    }
    __device__ __forceinline__ int element(const Line line, const int k, const int e) const {
        return ALONG_K ? offset(line, k + e, {}) : offset(line + e, k, {});
    }
};

// Where the Coord of a stage's k lies: copies along k read those of k = 0, 4, 8 and 12, which would
// meet in two banks.
constexpr int STAGE_COORDS = STAGE_K + STAGE_K / 8;
__device__ __forceinline__ int coord_index(const int k) { return k + k / 8; }

// A thread's share of the copies of a panel: one chunk of each of COUNT rows in memory.
template <int LINES, int THREADS, class Matrix, bool OF_A> class PanelCopier {
    static constexpr bool ALONG_K = Matrix::ALONG_K;
    static constexpr int CHUNKS_PER_ROW = (ALONG_K ? STAGE_K : LINES) / CHUNK;
    static constexpr int ROWS_PER_PASS = THREADS / CHUNKS_PER_ROW;
    static constexpr int COUNT = LINES * STAGE_K / CHUNK / THREADS;
    Matrix matrix;
    typename Matrix::Line line[ALONG_K ? COUNT : 1];
    int own;  // where this thread writes its first chunk, in bytes

    static __device__ __forceinline__ int row(const int r) {
        return threadIdx.x / CHUNKS_PER_ROW + r * ROWS_PER_PASS;
    }
    static __device__ __forceinline__ int column() { return threadIdx.x % CHUNKS_PER_ROW; }

  public:
    static constexpr int BYTES = PANEL_BYTES<LINES>;

    __device__ PanelCopier(const Matrix& matrix, const int first) : matrix(matrix) {
        if constexpr (ALONG_K) {
#pragma unroll
            for (int r = 0; r < COUNT; ++r) line[r] = matrix.line(first + row(r));
        } else {
            line[0] = matrix.line(first + column() * CHUNK);
        }
        own = kept(chunk_offset<LINES, ALONG_K, OF_A>(row(0), column()));
    }
    // Of chunk r: the rows of a pass are a multiple of 2, and of what the swizzle repeats after, or half.
    __device__ __forceinline__ int to(const int r) const {
        constexpr int AFTER = ALONG_K ? 32 : 4, ROW_BYTES = ALONG_K ? 64 : LINES * int(sizeof(float));
        constexpr int BITS = AFTER / 2 / (ALONG_K ? 4 : 1) * CHUNK_BYTES;
        static_assert(ROWS_PER_PASS % (OF_A && !ALONG_K ? AFTER : AFTER / 2) == 0, "another swizzle");
        const int swizzled = r * ROWS_PER_PASS % AFTER == 0 ? own : own ^ BITS;
        return swizzled + r * ROWS_PER_PASS * ROW_BYTES;
    }
    // From k on, to the panel at `panel`. coords: those of its stage.
    __device__ __forceinline__ void copy(const unsigned panel, const int k, const Coord* coords) const {
        Coord coord{};
        if constexpr (ALONG_K && Matrix::NEEDS_COORD)
            coord = Coord::read(coords + coord_index(column() * CHUNK));
#pragma unroll
        for (int r = 0; r < COUNT; ++r) {
            if constexpr (!ALONG_K && Matrix::NEEDS_COORD)
                coord = Coord::read(coords + coord_index(row(r)));
            const typename Matrix::Line& own = line[ALONG_K ? r : 0];
            const int own_k = k + (ALONG_K ? column() * CHUNK : row(r));
            const unsigned to = panel + this->to(r);
            if (matrix.has_whole_chunks()) {
                const int offset = matrix.offset(own, own_k, coord);
                copy_async<CHUNK_BYTES>(to, matrix.p + max(offset, 0), offset >= 0);
            } else {
#pragma unroll
                for (int e = 0; e < CHUNK; ++e) {
                    const int offset = matrix.element(own, own_k, e);
                    copy_async<sizeof(float)>(to + e * sizeof(float), matrix.p + max(offset, 0),
                                              offset >= 0);
                }
            }
        }
    }
};

// ---- multiplying panels --------------------------------------------------------------------------

// A warp's lines of a panel, from line `first` on, a block at a time. OF_A: whether four numbers of two
// lines make an operand, as for A, and not two of one line, as for B: those come in neighbouring
// registers, as the instruction wants them.
template <int LINES, bool ALONG_K, bool OF_A> class PanelReader {
    // The line and the half of k that matrix m of a pair of lines is of.
    static __device__ __forceinline__ int line_of(const int m) { return OF_A ? m % 2 : m / 2; }
    static __device__ __forceinline__ int half_of(const int m) { return OF_A ? m / 2 : m % 2; }
    int own;  // where this lane begins to read, in bytes

  public:
    __device__ explicit PanelReader(const int first) {
        const int lane = threadIdx.x % WARP_SIZE;
        if constexpr (ALONG_K) {
            // The row of a matrix that the lane has the address of.
            const int line = block_line<true, OF_A>(lane % 8, line_of(lane / 8));
            own = chunk_offset<LINES, true, OF_A>(first + line, half_of(lane / 8));
        } else {
            const int line = first + block_line<false, OF_A>(lane / 4, 0);
            own = chunk_offset<LINES, false, OF_A>(lane % 4, line / CHUNK) +
                  line % CHUNK * int(sizeof(float));
        }
        own = kept(own);
    }
    // numbers[q][half]: of the block, step `step` of a stage; half 0 is k = t, half 1 is k = t + 4.
    __device__ __forceinline__ void read(unsigned (&numbers)[4][2], const char* panel, const int block,
                                         const int step) const {
        if constexpr (ALONG_K) {
            // 32 lines on is the same swizzle; 8 k on is the second next chunk, that is, one bit.
            const unsigned at = (shared_address(panel) + own) ^ (step * 2 * CHUNK_BYTES);
#pragma unroll
            for (int pair = 0; pair < 2; ++pair) {
                unsigned words[4];
                load_matrices(words, at + block * (BLOCK_LINES / 2 * 128) + pair * 128);
#pragma unroll
                for (int m = 0; m < 4; ++m) numbers[2 * pair + line_of(m)][half_of(m)] = words[m];
            }
        } else {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = (step * 2 + half) * 4;
                const char* from = panel + (row * LINES + block * BLOCK_LINES) * int(sizeof(float));
                if constexpr (OF_A) {
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        // 16 lines on is one bit of the chunk.
                        const int at = own ^ i * 4 * CHUNK_BYTES;
                        const uint2 pair = *reinterpret_cast<const uint2*>(from + at);
                        numbers[2 * i][half] = pair.x, numbers[2 * i + 1][half] = pair.y;
                    }
                } else {
                    const uint4 v = *reinterpret_cast<const uint4*>(from + own);
                    numbers[0][half] = v.x, numbers[1][half] = v.y;
                    numbers[2][half] = v.z, numbers[3][half] = v.w;
                }
            }
        }
    }
};

// A tile has the size of TileShape's and half as many threads, or 64: a warp has 64 x 64 outputs, so that
// a number is loaded, and split, for as many products as registers allow. Registers and shared memory
// suffice for BLOCKS at a time on a multiprocessor (sm_90). ops/_cuda/tiling.py says the same.
template <int ROWS> struct MultistageTile : TileShape<float, ROWS> {
    using Shape = TileShape<float, ROWS>;
    static constexpr int THREADS = ROWS == 16 ? 128 : 64;
    static constexpr int OUTPUTS_PER_THREAD = Shape::M * Shape::N / THREADS;
    static constexpr int BLOCKS = ROWS == 16 ? 2 : 4;
};

template <int ROWS, class Matrix>
using RowCopier = PanelCopier<MultistageTile<ROWS>::M, MultistageTile<ROWS>::THREADS, Matrix, true>;
template <int ROWS, class Matrix>
using ColumnCopier = PanelCopier<MultistageTile<ROWS>::N, MultistageTile<ROWS>::THREADS, Matrix, false>;

// ROUNDED: whether the numbers in memory are TF32 numbers already.
template <int ROWS, int PRODUCTS, bool ROUNDED, bool A_ALONG_K, bool B_ALONG_K> class MultistageMma {
  public:
    using Tile = MultistageTile<ROWS>;

  private:
    //   ROWS = 16: 2 x 2 warps of 64 x 64 outputs; 8: 1 x 2 of them; 4: 1 x 2 of 32 x 64.
    static constexpr int WARPS = Tile::THREADS / WARP_SIZE, WARP_COLUMNS = 2;
    static constexpr int ROW_BLOCKS = Tile::M / (WARPS / WARP_COLUMNS) / BLOCK_LINES;
    static constexpr int COLUMN_BLOCKS = Tile::N / WARP_COLUMNS / BLOCK_LINES;
    // How many steps of 8 k stay in the tensor core before they are promoted.
    static constexpr int STEPS = PRODUCTS == 1 ? 2 : 1;
    float sum[2 * ROW_BLOCKS][4 * COLUMN_BLOCKS][4] = {};
    PanelReader<Tile::M, A_ALONG_K, true> a_reader{warp_row()};
    PanelReader<Tile::N, B_ALONG_K, false> b_reader{warp_column()};

    static __device__ __forceinline__ int warp_row() {
        return threadIdx.x / WARP_SIZE / WARP_COLUMNS * ROW_BLOCKS * BLOCK_LINES;
    }
    static __device__ __forceinline__ int warp_column() {
        return threadIdx.x / WARP_SIZE % WARP_COLUMNS * COLUMN_BLOCKS * BLOCK_LINES;
    }
    // The row of a lane's outputs: block, and line q of four in it.
    static __device__ __forceinline__ int output_row(const int block, const int q) {
        return warp_row() + block * BLOCK_LINES +
               block_line<A_ALONG_K, true>(threadIdx.x % WARP_SIZE / 4, q);
    }
    // The first of four columns: column 2 t + n of a fragment is line 4 chunk_of(2 t + n) of the block.
    static __device__ __forceinline__ int output_column(const int block, const int n) {
        return warp_column() + block * BLOCK_LINES + (threadIdx.x % 4 + n * 4) * CHUNK;
    }
    // The four numbers of a row from output_column on.
    __device__ __forceinline__ void read_outputs(float (&to)[CHUNK], const int row_block, const int q,
                                                 const int column_block, const int n) const {
#pragma unroll
        for (int j = 0; j < 4; ++j)
            to[j] = sum[2 * row_block + q / 2][4 * column_block + j][q % 2 * 2 + n];
    }
    template <int COUNT>
    static __device__ __forceinline__ void set(Operand<float, PRODUCTS, COUNT>& to, const int i,
                                               const unsigned number) {
        if constexpr (ROUNDED) to.big[i] = number;
        else to.set(i, __uint_as_float(number));
    }

  public:
    // rows: how many rows of the tile are in the matrix.
    __device__ __forceinline__ void multiply(const char* a_panel, const char* b_panel, const int rows) {
#pragma unroll
        for (int first = 0; first < STAGE_K / 8; first += STEPS) {
            Operand<float, PRODUCTS, 2> b[STEPS][4 * COLUMN_BLOCKS];
#pragma unroll
            for (int step = 0; step < STEPS; ++step)
#pragma unroll
                for (int block = 0; block < COLUMN_BLOCKS; ++block) {
                    unsigned numbers[4][2];
                    b_reader.read(numbers, b_panel, block, first + step);
#pragma unroll
                    for (int n = 0; n < 8; ++n)
                        set(b[step][4 * block + n / 2], n % 2, numbers[n / 2][n % 2]);
                }
#pragma unroll
            for (int block = 0; block < ROW_BLOCKS; ++block) {
                // Rows out of bounds are skipped, by whole warps.
                if (warp_row() + block * BLOCK_LINES >= rows) continue;
                unsigned numbers[STEPS][4][2];
#pragma unroll
                for (int step = 0; step < STEPS; ++step)
                    a_reader.read(numbers[step], a_panel, block, first + step);
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    Operand<float, PRODUCTS, 4> a[STEPS];
#pragma unroll
                    for (int n = 0; n < 4 * STEPS; ++n)
                        set(a[n / 4], n % 4, numbers[n / 4][2 * i + n % 2][n / 2 % 2]);
#pragma unroll
                    for (int j = 0; j < 4 * COLUMN_BLOCKS; ++j) {
                        float inside[4] = {};
#pragma unroll
                        for (int step = 0; step < STEPS; ++step) mma_products(inside, a[step], b[step][j]);
#pragma unroll
                        for (int n = 0; n < 4; ++n) sum[2 * block + i][j][n] += inside[n];
                    }
                }
            }
        }
    }
    template <class Epilogue> __device__ __forceinline__ void add_bias(const Epilogue& epilogue) {
#pragma unroll
        for (int j = 0; j < 4 * COLUMN_BLOCKS; ++j)
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const float bias = epilogue.bias(epilogue.column(output_column(j / 4, n) + j % 4));
#pragma unroll
                for (int i = 0; i < 2 * ROW_BLOCKS; ++i) sum[i][j][n] += bias, sum[i][j][2 + n] += bias;
            }
    }
    __device__ __forceinline__ float& output(const int n) {
        return sum[n / (16 * COLUMN_BLOCKS)][n / 4 % (4 * COLUMN_BLOCKS)][n % 4];
    }
    template <class Epilogue>
    __device__ __forceinline__ void store_vectors(const Epilogue& epilogue) const {
#pragma unroll
        for (int row = 0; row < 4 * ROW_BLOCKS; ++row)
#pragma unroll
            for (int column = 0; column < 2 * COLUMN_BLOCKS; ++column) {
                float vector[CHUNK];
                read_outputs(vector, row / 4, row % 4, column / 2, column % 2);
                epilogue.template store_vector<CHUNK>(
                    output_row(row / 4, row % 4),
                    epilogue.column(output_column(column / 2, column % 2)), vector);
            }
    }

    // Strip s is line q of every four of a block of rows.
    static constexpr int STRIPS = 4 * ROW_BLOCKS;
    using OutputStrip = Strip<float, 8, COLUMN_BLOCKS>;
    __device__ __forceinline__ void write_strip(const int s, const OutputStrip& strip) const {
        const int row = threadIdx.x % WARP_SIZE / 4;
#pragma unroll
        for (int column = 0; column < 2 * COLUMN_BLOCKS; ++column) {
            float vector[CHUNK];
            read_outputs(vector, s / 4, s % 4, column / 2, column % 2);
            write_vector(vector, strip.at(row, column / 2, (threadIdx.x % 4 + column % 2 * 4) * CHUNK));
        }
    }
    static __device__ __forceinline__ int strip_row(const int s, const int r) {
        return warp_row() + s / 4 * BLOCK_LINES + block_line<A_ALONG_K, true>(r, s % 4);
    }
    static __device__ __forceinline__ int strip_column(const int part) {
        return warp_column() + part * BLOCK_LINES;
    }
};

// ---- the main loop -------------------------------------------------------------------------------

// Dynamic shared memory: STAGES times a panel of A and one of B.
template <int ROWS, int STAGES, class Mma, class CopierA, class CopierB, class Coords, class Epilogue>
__device__ __forceinline__ void multistage_product(const CopierA& copier_a, const CopierB& copier_b,
                                                   const Coords k_coords, const Epilogue epilogue,
                                                   const int first, const int last,
                                                   const Workspace<float> workspace) {
    constexpr int STAGE_BYTES = CopierA::BYTES + CopierB::BYTES;
    extern __shared__ __align__(128) char ring[];
    // The Coords of a stage, in a ring of their own.
    __shared__ Coord coords[STAGES * STAGE_COORDS];
    const int t = threadIdx.x, stages = (last - first + STAGE_K - 1) / STAGE_K;
    Mma mma;

    if constexpr (Coords::NEEDED) {
        for (int i = t; i < STAGES * STAGE_K; i += MultistageTile<ROWS>::THREADS)
            coords[i / STAGE_K * STAGE_COORDS + coord_index(i % STAGE_K)] =
                k_coords.coord(first + i, last);
        // Coords are written before panels are copied by them.
        __syncthreads();
    }
    const auto copy = [&](const int stage, const int slot) {
        const unsigned panel = shared_address(ring) + slot * STAGE_BYTES;
        copier_a.copy(panel, first + stage * STAGE_K, coords + slot * STAGE_COORDS);
        copier_b.copy(panel + CopierA::BYTES, first + stage * STAGE_K, coords + slot * STAGE_COORDS);
    };
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (stage < stages) copy(stage, stage);
        commit_copies();
    }
    int slot = 0, free_slot = STAGES - 1;
    for (int stage = 0; stage < stages; ++stage) {
        // This thread's copies of the stage have arrived: of its groups, only later ones are pending.
        wait_for_copies<STAGES - 2>();
        // All threads' copies of the stage have; and all threads have multiplied the stage before,
        // whose slot is the next to be written, and copied by the Coords that are overwritten now.
        __syncthreads();
        const int ahead = stage + STAGES - 1;
        if (ahead < stages) copy(ahead, free_slot);
        // One group a stage, even if it is empty, so that the number of pending ones means the same.
        commit_copies();
        if constexpr (Coords::NEEDED) {
            // This stage's Coords are in no further use: those of the next stage to copy take their place.
            if (t < STAGE_K)
                coords[slot * STAGE_COORDS + coord_index(t)] =
                    k_coords.coord(first + (ahead + 1) * STAGE_K + t, last);
        }
        const char* panel = ring + slot * STAGE_BYTES;
        mma.multiply(panel, panel + CopierA::BYTES, epilogue.rows - epilogue.first_row);
        free_slot = slot;
        slot = slot + 1 == STAGES ? 0 : slot + 1;
    }
    // All threads have multiplied the last stage, so its memory is free; every copy has arrived.
    __syncthreads();
    store_tile(mma, reinterpret_cast<float*>(ring), epilogue, workspace);
}
