// multistage_product.cuh -- products on tensor cores of panels that are copied asynchronously, several
// stages ahead (CUTLASS: multistage). Included by conv2d_multistage.cuh, linear_multistage.cuh and
// bfloat16_product.cuh. Needs sm_80.
//
// The idea, on top of tensor_core_product.cuh: there every number goes from global memory through a
// register to shared memory, and from there to registers one by one; instructions, not the tensor
// cores, are what a step waits for. Here
//   - cp.async copies 16 bytes at a time past the registers. Shared memory is a ring of STAGES panels
//     of either matrix: while one is multiplied, the next STAGES - 1 are on their way, and a stage
//     takes one barrier;
//   - ldmatrix, or a vector load, gives a lane four words of a fragment at a time (stage_panels.cuh).
//
// Arithmetic for an H100 (not measured): for a stage of 16 k a warp with 64 x 64 outputs issues 192
// HMMA, 256 FADD (promotion), 192 instructions that split numbers, 16 loads and about 150 for 8 copies:
// some 850, in the 1238 clocks that its HMMA take at mma.sync's rate. Products bind, and not the issue
// of instructions. With one product for each they take 413, and shared memory binds: 128 lines of
// 128 bytes written and 256 read, beside 128 that pass L1. Of bfloat16 numbers a stage has 32 k, and takes
// as many instructions and clocks as 16 k of one TF32 product each.
#include "stage_panels.cuh"
#include "tensor_core_product.cuh"

// ---- arithmetics ---------------------------------------------------------------------------------
// Number: what a panel holds. STEPS: how many steps stay in the tensor core before their sums are
// promoted. Operand<COUNT>: a lane's part of an operand, its words i set one by one.

// How accurate floats are, or plain TF32, as in tensor_core_product.cuh.
template <int PRODUCTS> struct SplitTf32 {
    using Number = float;
    static constexpr int STEPS = PRODUCTS == 1 ? 2 : 1;

    template <int COUNT> struct Operand : ::Operand<float, PRODUCTS, COUNT> {
        __device__ __forceinline__ void set(const int i, const unsigned word) {
            ::Operand<float, PRODUCTS, COUNT>::set(i, __uint_as_float(word));
        }
    };
    static __device__ __forceinline__ void multiply(float (&sum)[4], const Operand<4>& a,
                                                    const Operand<2>& b) {
        mma_products(sum, a, b);
    }
};

// Words that a tensor core takes as they are. (bfloat16_product.cuh has another arithmetic of them.)
template <int COUNT> struct Words {
    unsigned words[COUNT];

    __device__ __forceinline__ void set(const int i, const unsigned word) { words[i] = word; }
};

// Floats that are TF32 numbers.
struct RoundedTf32 {
    using Number = float;
    static constexpr int STEPS = 2;
    template <int COUNT> using Operand = Words<COUNT>;

    static __device__ __forceinline__ void multiply(float (&sum)[4], const Words<4>& a,
                                                    const Words<2>& b) {
        mma_tf32(sum, a.words, b.words);
    }
};

// ---- multiplying panels --------------------------------------------------------------------------

// How many stages the ring has on an architecture (__CUDA_ARCH__): as many as two blocks on a
// multiprocessor have shared memory for, beside the Coords of a stage, four at most.
// ops/_cuda/tiling.py says the same.
template <typename T> constexpr int stages_of(const int architecture) {
    const bool has_little = architecture == 860 || architecture == 890 || architecture >= 1200;
    return !has_little ? 4 : sizeof(T) == 2 ? 2 : 3;
}

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

template <int ROWS, class Arithmetic, bool A_ALONG_K, bool B_ALONG_K> class MultistageMma {
  public:
    using Tile = MultistageTile<ROWS>;
    using Number = typename Arithmetic::Number;

  private:
    //   ROWS = 16: 2 x 2 warps of 64 x 64 outputs; 8: 1 x 2 of them; 4: 1 x 2 of 32 x 64.
    static constexpr int WARPS = Tile::THREADS / WARP_SIZE, WARP_COLUMNS = 2;
    static constexpr int ROW_BLOCKS = Tile::M / (WARPS / WARP_COLUMNS) / BLOCK_LINES;
    static constexpr int COLUMN_BLOCKS = Tile::N / WARP_COLUMNS / BLOCK_LINES;
    static constexpr int STEPS = Arithmetic::STEPS;
    using RowLayout = PanelLayout<Number, Tile::M, A_ALONG_K, true>;
    using ColumnLayout = PanelLayout<Number, Tile::N, B_ALONG_K, false>;
    float sum[2 * ROW_BLOCKS][4 * COLUMN_BLOCKS][4] = {};
    PanelReader<Number, Tile::M, A_ALONG_K, true> a_reader{warp_row()};
    PanelReader<Number, Tile::N, B_ALONG_K, false> b_reader{warp_column()};

    static __device__ __forceinline__ int warp_row() {
        return threadIdx.x / WARP_SIZE / WARP_COLUMNS * ROW_BLOCKS * BLOCK_LINES;
    }
    static __device__ __forceinline__ int warp_column() {
        return threadIdx.x / WARP_SIZE % WARP_COLUMNS * COLUMN_BLOCKS * BLOCK_LINES;
    }
    // The row of a lane's outputs: block, and line q of four in it.
    static __device__ __forceinline__ int output_row(const int block, const int q) {
        return warp_row() + block * BLOCK_LINES + RowLayout::line(threadIdx.x % WARP_SIZE / 4, q);
    }
    // The column of a lane's outputs n and n + 2 of fragment j of a block.
    static __device__ __forceinline__ int output_column(const int block, const int j, const int n) {
        return warp_column() + block * BLOCK_LINES + ColumnLayout::line(threadIdx.x % 4 * 2 + n, j);
    }
    // Neighbouring columns are a vector: number n of four fragments, or both numbers of one. VECTORS
    // of them are a lane's outputs of a row of a block.
    static constexpr int WIDTH = ColumnLayout::WIDTH, VECTORS = 8 / WIDTH;
    static __device__ __forceinline__ int vector_column(const int block, const int v) {
        return WIDTH == 4 ? output_column(block, 0, v) : output_column(block, v, 0);
    }
    __device__ __forceinline__ void read_outputs(float (&to)[WIDTH], const int row_block, const int q,
                                                 const int column_block, const int v) const {
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            const int j = WIDTH == 4 ? i : v, n = WIDTH == 4 ? v : i;
            to[i] = sum[2 * row_block + q / 2][4 * column_block + j][q % 2 * 2 + n];
        }
    }

  public:
    // rows: how many rows of the tile are in the matrix.
    __device__ __forceinline__ void multiply(const char* a_panel, const char* b_panel, const int rows) {
        using A = typename Arithmetic::template Operand<4>;
        using B = typename Arithmetic::template Operand<2>;
#pragma unroll
        for (int first = 0; first < STAGE_STEPS; first += STEPS) {
            B b[STEPS][4 * COLUMN_BLOCKS];
#pragma unroll
            for (int step = 0; step < STEPS; ++step)
#pragma unroll
                for (int block = 0; block < COLUMN_BLOCKS; ++block) {
                    unsigned words[4][2];
                    b_reader.read(words, b_panel, block, first + step);
#pragma unroll
                    for (int n = 0; n < 8; ++n)
                        b[step][4 * block + n / 2].set(n % 2, words[n / 2][n % 2]);
                }
#pragma unroll
            for (int block = 0; block < ROW_BLOCKS; ++block) {
                // Rows out of bounds are skipped, by whole warps.
                if (warp_row() + block * BLOCK_LINES >= rows) continue;
                unsigned words[STEPS][4][2];
#pragma unroll
                for (int step = 0; step < STEPS; ++step)
                    a_reader.read(words[step], a_panel, block, first + step);
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    A a[STEPS];
#pragma unroll
                    for (int n = 0; n < 4 * STEPS; ++n)
                        a[n / 4].set(n % 4, words[n / 4][2 * i + n % 2][n / 2 % 2]);
#pragma unroll
                    for (int j = 0; j < 4 * COLUMN_BLOCKS; ++j) {
                        float inside[4] = {};
#pragma unroll
                        for (int step = 0; step < STEPS; ++step)
                            Arithmetic::multiply(inside, a[step], b[step][j]);
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
                const float bias = epilogue.bias(epilogue.column(output_column(j / 4, j % 4, n)));
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
            for (int column = 0; column < VECTORS * COLUMN_BLOCKS; ++column) {
                const int block = column / VECTORS, v = column % VECTORS;
                float vector[WIDTH];
                read_outputs(vector, row / 4, row % 4, block, v);
                epilogue.template store_vector<WIDTH>(
                    output_row(row / 4, row % 4), epilogue.column(vector_column(block, v)), vector);
            }
    }

    // Strip s is line q of every four of a block of rows.
    static constexpr int STRIPS = 4 * ROW_BLOCKS;
    using OutputStrip = Strip<float, 8, COLUMN_BLOCKS>;
    __device__ __forceinline__ void write_strip(const int s, const OutputStrip& strip) const {
        const int row = threadIdx.x % WARP_SIZE / 4;
#pragma unroll
        for (int column = 0; column < VECTORS * COLUMN_BLOCKS; ++column) {
            const int block = column / VECTORS, v = column % VECTORS;
            float vector[WIDTH];
            read_outputs(vector, s / 4, s % 4, block, v);
            write_numbers<WIDTH>(vector,
                                 strip.at(row, block, vector_column(block, v) - strip_column(block)));
        }
    }
    static __device__ __forceinline__ int strip_row(const int s, const int r) {
        return warp_row() + s / 4 * BLOCK_LINES + RowLayout::line(r, s % 4);
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
    using Number = typename Mma::Number;
    constexpr int K = STAGE_K<Number>, COORDS = STAGE_COORDS<Number>;
    constexpr int STAGE_BYTES = CopierA::BYTES + CopierB::BYTES;
    extern __shared__ __align__(128) char ring[];
    // The Coords of a stage, in a ring of their own.
    __shared__ Coord coords[STAGES * COORDS];
    const int t = threadIdx.x, stages = (last - first + K - 1) / K;
    Mma mma;

    if constexpr (Coords::NEEDED) {
        for (int i = t; i < STAGES * K; i += MultistageTile<ROWS>::THREADS)
            coords[i / K * COORDS + coord_index(i % K)] = k_coords.coord(first + i, last);
        // Coords are written before panels are copied by them.
        __syncthreads();
    }
    const auto copy = [&](const int stage, const int slot) {
        const unsigned panel = shared_address(ring) + slot * STAGE_BYTES;
        copier_a.copy(panel, first + stage * K, coords + slot * COORDS);
        copier_b.copy(panel + CopierA::BYTES, first + stage * K, coords + slot * COORDS);
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
            if (t < K)
                coords[slot * COORDS + coord_index(t)] =
                    k_coords.coord(first + (ahead + 1) * K + t, last);
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
