// register_product.cuh -- products of panels, accumulated in registers. Included by linear.cu,
// conv2d_im2col.cu and conv2d_implicit_gemm.cu.
//
// The idea, on top of panel_product.cuh: a thread computes 8 x 8 outputs (double: 4 x 4). For
// each k it reads 8 + 8 numbers from shared memory into registers and forms their outer product: 64
// multiplications for 16 reads.
//
// The arithmetic behind the sizes, for an H100 (132 multiprocessors, 128 multiply-adds and 128
// bytes of shared memory a clock each; by the datasheet, not measured):
//   8 x 8 outputs    16 numbers in four 16-byte reads for 64 multiply-adds. A warp spans 4 x 8
//                    threads, so a read fetches 64 or 128 different bytes, in two requests: 8 clocks
//                    of shared memory for the 64 clocks that a quarter of the multiprocessor
//                    multiplies; four such warps at a time take 32 of 64. 4 x 4 would take 16 of 16.
//   128 x 128, 8     a step is 1024 clocks of multiply-adds for 8 KiB from the L2 cache, 8 bytes a
//                    clock and multiprocessor of about 24 that it delivers; memory latency (600 to
//                    800 clocks) is hidden by one step, more so with two blocks on a
//                    multiprocessor.
//   128 registers    at most, so that two blocks of 256 threads share the 65,536 registers.
// Fewer rows (ROWS = 8: 64 x 128, ROWS = 4: 32 x 128) waste less where A has few rows, at 12 and
// 20 bytes per clock. ops/_cuda/tiling.py weighs these against each other.
#include "panel_product.cuh"

// Blocks resident on a multiprocessor, for __launch_bounds__: 2 of 256 threads, or 3 of 128, or 6 of
// 64, whose threads load more numbers each and so need more registers.
constexpr int resident_blocks(const int rows) { return rows == 16 ? 2 : 24 / rows; }

template <typename T, int ROWS> class SimtMma {
  public:
    using Tile = TileShape<T, ROWS>;

  private:
    T sum[Tile::THREAD_TILE][Tile::THREAD_TILE] = {};

    // A thread's position among the ROWS x THREAD_COLUMNS of its block. Warps span 4 x 8 threads, so
    // that the lanes of a warp read as few different numbers as possible. A 16-byte read per lane
    // takes four requests of shared memory, but two where all lanes n and n ^ 1, or all lanes n and
    // n ^ 2, read the same address (NVIDIA says so of compute capability 7; not measured on later
    // ones). So neighbouring lanes share a column, and lanes two apart a row:
    //   warp 0, lanes 0, 2, ... 14: row 0, columns 0 to 7; lanes 1, 3, ... 15: row 1, columns 0 to 7;
    //           lanes 16, 18, ... 30: row 2; lanes 17, 19, ... 31: row 3
    //   warp 1: rows 0 to 3, columns 8 to 15; warp 2: rows 4 to 7, columns 0 to 7; ...
    static __device__ __forceinline__ int thread_row() {
        return threadIdx.x / 64 * 4 + threadIdx.x % 32 / 16 * 2 + threadIdx.x % 2;
    }
    static __device__ __forceinline__ int thread_column() {
        return threadIdx.x / 32 % 2 * 8 + threadIdx.x / 2 % 8;
    }
    // The lines of a thread's outputs along one side: two vectors half a tile apart, so that
    // neighbouring threads read neighbouring vectors, without bank conflicts.
    //   float, 128 lines: thread 3 has 12 to 15 and 76 to 79.
    static __device__ __forceinline__ int output_line(const int thread, const int i, const int lines) {
        return i / VECTOR_WIDTH<T> * (lines / 2) + thread * VECTOR_WIDTH<T> + i % VECTOR_WIDTH<T>;
    }

  public:
    __device__ __forceinline__ void multiply(const Panel<T, Tile::M>& a_tile,
                                             const Panel<T, Tile::N>& b_tile, int) {
        const int row = thread_row(), column = thread_column();
// Unrolled further, the compiler hoists so many reads that registers spill.
#pragma unroll 2
        for (int d = 0; d < TILE_K; ++d) {
            T a[Tile::THREAD_TILE], b[Tile::THREAD_TILE];
#pragma unroll
            for (int half = 0; half < Tile::THREAD_TILE; half += VECTOR_WIDTH<T>) {
                read_vector(&a_tile[d][output_line(row, half, Tile::M)], a + half);
                read_vector(&b_tile[d][output_line(column, half, Tile::N)], b + half);
            }
#pragma unroll
            for (int i = 0; i < Tile::THREAD_TILE; ++i)
#pragma unroll
                for (int j = 0; j < Tile::THREAD_TILE; ++j) sum[i][j] += a[i] * b[j];
        }
    }
    template <class Epilogue> __device__ __forceinline__ void add_bias(const Epilogue& epilogue) {
#pragma unroll
        for (int j = 0; j < Tile::THREAD_TILE; ++j) {
            const T bias = epilogue.bias(epilogue.column(output_line(thread_column(), j, Tile::N)));
#pragma unroll
            for (int i = 0; i < Tile::THREAD_TILE; ++i) sum[i][j] += bias;
        }
    }
    __device__ __forceinline__ T& output(const int n) {
        return sum[n / Tile::THREAD_TILE][n % Tile::THREAD_TILE];
    }
    template <class Epilogue>
    __device__ __forceinline__ void store_vectors(const Epilogue& epilogue) const {
#pragma unroll
        for (int i = 0; i < Tile::THREAD_TILE; ++i)
#pragma unroll
            for (int half = 0; half < Tile::THREAD_TILE; half += VECTOR_WIDTH<T>)
                epilogue.template store_vector<VECTOR_WIDTH<T>>(
                    output_line(thread_row(), i, Tile::M),
                    epilogue.column(output_line(thread_column(), half, Tile::N)), sum[i] + half);
    }

    // Strip i is row i of a warp's 4 x 8 threads: 4 rows, of each half of the tile's columns a part.
    static constexpr int STRIPS = Tile::THREAD_TILE;
    using OutputStrip = Strip<T, 4, 2>;
    __device__ __forceinline__ void write_strip(const int i, const OutputStrip& strip) const {
        const int row = thread_row() % 4, column = thread_column() % 8 * VECTOR_WIDTH<T>;
#pragma unroll
        for (int part = 0; part < 2; ++part)
            write_vector(sum[i] + part * VECTOR_WIDTH<T>, strip.at(row, part, column));
    }
    static __device__ __forceinline__ int strip_row(const int i, const int r) {
        return output_line(thread_row() / 4 * 4 + r, i, Tile::M);
    }
    static __device__ __forceinline__ int strip_column(const int part) {
        return output_line(thread_column() / 8 * 8, part * VECTOR_WIDTH<T>, Tile::N);
    }
};
