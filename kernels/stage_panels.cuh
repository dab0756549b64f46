// stage_panels.cuh -- the panels of a stage in shared memory: how they lie there, how they are copied,
// and how a warp reads fragments from them. Included by multistage_product.cuh. Needs sm_80.
//
// Numbers are floats or bfloat16 numbers. Of either a line of a panel, its row or column, has 64 bytes
// along k, 16 words of 32 bits, and a chunk 16 bytes, which is what cp.async copies at a time.
//
// No panel is transposed on its way. A matrix that is contiguous along k and one that is contiguous
// across it are kept as they are, with their chunks swizzled so that neither the copies nor the loads
// meet in a bank.
//
// A tensor core takes words: a float is one, two bfloat16 numbers at neighbouring k are. A block of 32
// lines is loaded for a step of 8 words along k as eight words per lane. With g = lane / 4 and
// t = lane % 4 those are words t and t + 4 of the four lines line(g, q), q = 0 ... 3:
//
//   along k            line(g, q) = 4 chunk_of(g) + q, chunk_of(g) being a permutation of 0 ... 7.
//                      ldmatrix gives lane (g, t) word t of line g of a matrix; two of them, of four
//                      matrices each, are the block.
//   across, float      the same lines: a chunk of a k has four of them. A vector load from row t,
//                      another from row t + 4. (A has lines of its own, see PanelLayout.)
//   across, bfloat16   line(g, q) = 8 q + g: a chunk of a k has eight lines, and ldmatrix.trans gives
//                      lane (g, t) line g of rows 2 t and 2 t + 1, side by side in a word.
//
// So line g of a fragment is line(g, q) of the block: which q it has is the fragment's number. A lane
// then has vectors of neighbouring columns of the result as well: of four, or of two.
#include "async_copy.cuh"
#include "panel_product.cuh"

constexpr int CHUNK_BYTES = 16, BLOCK_LINES = 32;
// The terms of a stage, and of a step, 8 words.
template <typename T> constexpr int STAGE_K = 64 / sizeof(T);
template <typename T> constexpr int STEP_K = STAGE_K<T> / 2;
constexpr int STAGE_STEPS = 2;
template <typename T> constexpr int CHUNK = VECTOR_WIDTH<T>;

// Lanes g = 2 m and 2 m + 1 have chunks m and m + 4: eight lanes of a vector load, two g with four t,
// then meet in no bank, since chunks of row t are XORed with t.
__device__ __forceinline__ int chunk_of(const int g) { return g / 2 + g % 2 * 4; }

// A panel of LINES lines. A row is what is contiguous in memory: a line along k, or all lines of a k.
// OF_A: whether two lines at two k, in four registers side by side, make an operand, as for A, and not
// one line, in two registers, as for B.
template <typename T, int LINES, bool ALONG_K, bool OF_A> struct PanelLayout {
    static constexpr int CHUNKS = (ALONG_K ? STAGE_K<T> : LINES) / CHUNK<T>;  // of a row
    static constexpr int ROW_BYTES = CHUNKS * CHUNK_BYTES;
    // Whether a word has numbers of two rows.
    static constexpr bool PAIRS_ROWS = !ALONG_K && sizeof(T) == 2;
    // How many neighbouring columns of the result a lane has, of lines of B.
    static constexpr int WIDTH = PAIRS_ROWS ? 2 : 4;
    // The swizzle is the same again after so many rows; half as many on it differs in HALF_BITS.
    static constexpr int REPEATS_AFTER = ALONG_K ? 32 : !PAIRS_ROWS ? 4 : CHUNKS < 8 ? 16 : 8;
    static constexpr int HALF_BITS = (ALONG_K || PAIRS_ROWS || OF_A ? 4 : 2) * CHUNK_BYTES;

    // Line q of four of a block that lanes (g, t) have: those of fragment i of A, its rows g and g + 8,
    // are q = 2 i, 2 i + 1. Across k, where a load has lines of A side by side, two floats at a time go
    // to their places.
    static __device__ __forceinline__ int line(const int g, const int q) {
        if constexpr (PAIRS_ROWS) return q * 8 + g;
        else if constexpr (OF_A && !ALONG_K) return q / 2 * 16 + g * 2 + q % 2;
        else return chunk_of(g) * 4 + q;
    }
    // Where chunk c of a row lies, in bytes.
    //   along k:  two rows share 128 bytes, all banks, in which the eight lines 4 apart that a matrix
    //             of ldmatrix has are at eight different chunks.
    //   across:   floats, rows t = 0 ... 3 that a load reads; bfloat16, the eight rows of a matrix.
    static __device__ __forceinline__ int offset(const int row, const int c) {
        const int chunk = row * CHUNKS + c;
        if constexpr (ALONG_K) return (chunk ^ row / 4 % 8) * CHUNK_BYTES;
        else if constexpr (PAIRS_ROWS) return (chunk ^ chunk / max(CHUNKS, 8) % 8) * CHUNK_BYTES;
        else return (chunk ^ row % 4 * (OF_A ? 2 : 1)) * CHUNK_BYTES;
    }
};

// x, which the compiler cannot compute anew wherever it is needed, as it would for want of registers.
__device__ __forceinline__ int kept(const int x) {
    return __shfl_sync(FULL_MASK, x, threadIdx.x % WARP_SIZE);
}

// ---- copying panels ------------------------------------------------------------------------------
// A matrix says what a thread keeps of a line, a Line, and where in its array the chunk is that begins
// at that line and k: offset(line, k, the Coord of k), or -1 beyond its ends. In a matrix without
// whole chunks, of floats, element(line, k, e) is where number e of a chunk is.

// A dense matrix that begins at p[start], as in DenseLoader.
// is_aligned: whether every row in memory is whole chunks, aligned to 16 bytes.
template <typename T, bool CONTIGUOUS_ALONG_K> struct DenseChunks {
    using Number = T;
    static constexpr bool ALONG_K = CONTIGUOUS_ALONG_K, NEEDS_COORD = false;
    const T* p;
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

// Where the Coord of a stage's k lies: copies along k read those where chunks begin, every fourth or
// eighth, which would meet in banks without a gap after every eight.
template <typename T> constexpr int STAGE_COORDS = STAGE_K<T> + STAGE_K<T> / 8;
__device__ __forceinline__ int coord_index(const int k) { return k + k / 8; }

// A thread's share of the copies of a panel: one chunk of each of COUNT rows.
template <int LINES, int THREADS, class Matrix, bool OF_A> class PanelCopier {
    using T = typename Matrix::Number;
    static constexpr bool ALONG_K = Matrix::ALONG_K;
    using Layout = PanelLayout<T, LINES, ALONG_K, OF_A>;
    static constexpr int ROWS_PER_PASS = THREADS / Layout::CHUNKS;
    static constexpr int COUNT = (ALONG_K ? LINES : STAGE_K<T>) / ROWS_PER_PASS;
    Matrix matrix;
    typename Matrix::Line line[ALONG_K ? COUNT : 1];
    int own;  // where this thread writes its first chunk, in bytes

    static __device__ __forceinline__ int row(const int r) {
        return threadIdx.x / Layout::CHUNKS + r * ROWS_PER_PASS;
    }
    static __device__ __forceinline__ int column() { return threadIdx.x % Layout::CHUNKS; }

  public:
    static constexpr int BYTES = LINES * STAGE_K<T> * sizeof(T);

    __device__ PanelCopier(const Matrix& matrix, const int first) : matrix(matrix) {
        if constexpr (ALONG_K) {
#pragma unroll
            for (int r = 0; r < COUNT; ++r) line[r] = matrix.line(first + row(r));
        } else {
            line[0] = matrix.line(first + column() * CHUNK<T>);
        }
        own = kept(Layout::offset(row(0), column()));
    }
    // Of chunk r: the rows of a pass are a multiple of what the swizzle repeats after, or of half.
    __device__ __forceinline__ int to(const int r) const {
        constexpr int AFTER = Layout::REPEATS_AFTER;
        static_assert(ROWS_PER_PASS % (AFTER / 2) == 0, "another swizzle");
        const int swizzled = r * ROWS_PER_PASS % AFTER == 0 ? own : own ^ Layout::HALF_BITS;
        return swizzled + r * ROWS_PER_PASS * Layout::ROW_BYTES;
    }
    // From k on, to the panel at `panel`. coords: those of its stage.
    __device__ __forceinline__ void copy(const unsigned panel, const int k, const Coord* coords) const {
        Coord coord{};
        if constexpr (ALONG_K && Matrix::NEEDS_COORD)
            coord = Coord::read(coords + coord_index(column() * CHUNK<T>));
#pragma unroll
        for (int r = 0; r < COUNT; ++r) {
            if constexpr (!ALONG_K && Matrix::NEEDS_COORD)
                coord = Coord::read(coords + coord_index(row(r)));
            const typename Matrix::Line& own = line[ALONG_K ? r : 0];
            const int own_k = k + (ALONG_K ? column() * CHUNK<T> : row(r));
            const unsigned to = panel + this->to(r);
            if (matrix.has_whole_chunks()) {
                const int offset = matrix.offset(own, own_k, coord);
                copy_async<CHUNK_BYTES>(to, matrix.p + max(offset, 0), offset >= 0);
            } else {
                // Only floats are copied one by one: cp.async takes no less than 4 bytes.
#pragma unroll
                for (int e = 0; e < CHUNK<T>; ++e) {
                    const int offset = matrix.element(own, own_k, e);
                    copy_async<4>(to + e * 4, matrix.p + max(offset, 0), offset >= 0);
                }
            }
        }
    }
};

// ---- reading panels ------------------------------------------------------------------------------

// A warp's lines of a panel, from line `first` on, a block at a time.
template <typename T, int LINES, bool ALONG_K, bool OF_A> class PanelReader {
    using Layout = PanelLayout<T, LINES, ALONG_K, OF_A>;
    // Matrix m of ldmatrix has line q = line_of(m) of a pair, and half half_of(m) of a step: the words
    // of an operand in neighbouring registers, as the instruction wants them.
    static __device__ __forceinline__ int line_of(const int m) { return OF_A ? m % 2 : m / 2; }
    static __device__ __forceinline__ int half_of(const int m) { return OF_A ? m / 2 : m % 2; }
    int own;  // where this lane begins to read, in bytes

  public:
    __device__ explicit PanelReader(const int first) {
        // For ldmatrix, the row of a matrix that the lane has the address of.
        const int lane = threadIdx.x % WARP_SIZE, row = lane % 8, m = lane / 8;
        if constexpr (ALONG_K) {
            own = Layout::offset(first + Layout::line(row, line_of(m)), half_of(m));
        } else if constexpr (Layout::PAIRS_ROWS) {
            own = Layout::offset(half_of(m) * 8 + row, first / 8 + line_of(m));
        } else {
            const int line = first + Layout::line(lane / 4, 0);
            own = Layout::offset(lane % 4, line / 4) + line % 4 * int(sizeof(T));
        }
        own = kept(own);
    }
    // words[q][half]: of the block, step `step` of a stage; half 0 is word t, half 1 is word t + 4.
    __device__ __forceinline__ void read(unsigned (&words)[4][2], const char* panel, const int block,
                                         const int step) const {
        if constexpr (ALONG_K || Layout::PAIRS_ROWS) {
#pragma unroll
            for (int pair = 0; pair < 2; ++pair) {
                unsigned matrices[4];
                if constexpr (ALONG_K) {
                    // 32 lines on is the same swizzle; 8 words on is the second next chunk, one bit.
                    const unsigned at = (shared_address(panel) + own) ^ (step * 2 * CHUNK_BYTES);
                    load_matrices<false>(matrices,
                                         at + (block * BLOCK_LINES + pair * 2) * Layout::ROW_BYTES);
                } else {
                    // 16 rows on is the same swizzle; 16 and 32 lines on are one bit of the chunk each.
                    const unsigned at = shared_address(panel) + step * STEP_K<T> * Layout::ROW_BYTES + own;
                    load_matrices<true>(matrices, at ^ (block * 4 + pair * 2) * CHUNK_BYTES);
                }
#pragma unroll
                for (int m = 0; m < 4; ++m) words[2 * pair + line_of(m)][half_of(m)] = matrices[m];
            }
        } else {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = (step * 2 + half) * 4;
                const char* from = panel + row * Layout::ROW_BYTES + block * BLOCK_LINES * int(sizeof(T));
                if constexpr (OF_A) {
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        // 16 lines on is one bit of the chunk.
                        const int at = own ^ i * 4 * CHUNK_BYTES;
                        const uint2 pair = *reinterpret_cast<const uint2*>(from + at);
                        words[2 * i][half] = pair.x, words[2 * i + 1][half] = pair.y;
                    }
                } else {
                    const uint4 v = *reinterpret_cast<const uint4*>(from + own);
                    words[0][half] = v.x, words[1][half] = v.y;
                    words[2][half] = v.z, words[3][half] = v.w;
                }
            }
        }
    }
};
