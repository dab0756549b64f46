// panel_product.cuh -- the product of two matrices, panel by panel: the part that is the same
// whether the multiplying is done in registers (register_product.cuh) or on tensor cores
// (tensor_core_product.cuh).
//
//   out[m, n] = sum over k of left[m, k] right[k, n]
//
// The idea: a multiplication needs two numbers; whoever fetches both from memory for each one is
// held up by memory. So
//   - a block of threads owns a tile of `out` and walks along k, DEPTH numbers a step. Of each step
//     it needs a panel of `left` and a panel of `right`, which it lays in shared memory: with
//     128 x 128 outputs each number fetched is used 128 times;
//   - while it multiplies one panel, the next is on its way from memory to registers, and it is
//     laid into the other half of shared memory: nobody waits for memory, and one barrier a step
//     is enough (double buffering).
//
//              |<-N->|
//              +-----+  ^
//     k -->    |#####| DEPTH    right, step by step downwards
//              +-----+  v
//   +--+       +-----+
//   |##|       | out |  M
//   +--+       +-----+
//  DEPTH  left, step by step to the right
//
// Where tiles are too few to fill a GPU, k is cut into parts as well (split-K), one block for each
// tile and part, and `out` is the sum of the parts: either the block that finishes a tile last adds
// them up (split_sum.cuh), or all are written and sum_parts.cu does.
#include "split_sum.cuh"
#include "vectors.cuh"

constexpr int DEPTH = 8;
constexpr int COLUMNS = 16;

template <int W, typename T> __device__ __forceinline__ void clear(T* to) {
#pragma unroll
    for (int i = 0; i < W; ++i) to[i] = 0;
}

// The sizes of a block with ROWS x COLUMNS threads: each thread has two vectors' length of outputs
// along each side.
template <typename T, int ROWS> struct Blocking {
    static constexpr int EACH = 2 * WIDTH<T>, OUTPUTS = EACH * EACH;
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
// nothing. Arrays are indexed from their beginning by an int, for which the machine has one
// instruction; a pointer moved to the group or the part at hand would take three.

// How THREADS threads go over `rows` rows of ROW numbers, W at a time: number r of a thread lies in
// row down(r), W numbers from across(r) on.
//   THREADS = 256, ROW = 128, W = 1: thread 130 reads (1, 2), (3, 2), (5, 2), ...
//   THREADS = 64,  ROW = 128, W = 1: thread 3 reads (0, 3), (0, 67), (1, 3), (1, 67), ...
template <int THREADS, int ROW, int W> struct Walk {
    static constexpr unsigned LANES = ROW / W;
    static constexpr int TURNS = LANES > THREADS ? LANES / THREADS : 1;
    static constexpr int AT_ONCE = LANES > THREADS ? 1 : THREADS / LANES;

    static __device__ __forceinline__ int down(const int r) {
        return threadIdx.x / LANES + r / TURNS * AT_ONCE;
    }
    static __device__ __forceinline__ int across(const int r) {
        return (threadIdx.x % LANES + r % TURNS * THREADS) * W;
    }
};

// A plain matrix that begins at p[start]. ALONG_K: element (line, k) is p[start + line * lead + k],
// neighbours in memory follow each other along k, and so do lanes. Otherwise it is
// p[start + k * lead + line], and lanes run along lines.
template <typename T, int LINES, int THREADS, bool ALONG_K> class Plain {
    static constexpr int COUNT = LINES * DEPTH / THREADS;
    const T* p;
    int start, lead, lines, last;
    bool vectors;
    T held[COUNT];

    template <int W> __device__ __forceinline__ void fetch_by(const int k) {
        using Lanes = Walk<THREADS, ALONG_K ? DEPTH : LINES, W>;
#pragma unroll
        for (int r = 0; r < COUNT / W; ++r) {
            const int down = Lanes::down(r), across = Lanes::across(r);
            const bool there = ALONG_K ? down < lines && k + across < last
                                       : across < lines && k + down < last;
            const int at = start + (ALONG_K ? down * lead + k : (k + down) * lead) + across;
            if constexpr (W > 1) {
                if (there) read_vector(p + at, held + r * W);
                else clear<W>(held + r * W);
            } else {
                held[r] = there ? p[at] : T(0);
            }
        }
    }

    template <int W> __device__ __forceinline__ void lay_by(Panel<T, LINES>& panel) const {
        using Lanes = Walk<THREADS, ALONG_K ? DEPTH : LINES, W>;
#pragma unroll
        for (int r = 0; r < COUNT / W; ++r) {
            const int down = Lanes::down(r), across = Lanes::across(r);
            if constexpr (ALONG_K) {
#pragma unroll
                for (int i = 0; i < W; ++i) panel[across + i][down] = held[r * W + i];
            } else if constexpr (W > 1) {
                write_vector(held + r * W, &panel[down][across]);
            } else {
                panel[down][across] = held[r];
            }
        }
    }

  public:
    // The part of the matrix from line `first` on; it has `all` lines and ends at k = `last`.
    // vectors: whether every row of memory begins at a multiple of 16 bytes and ends with a whole
    // vector, as the host knows (tiling.is_vector_aligned).
    __device__ Plain(const T* p, const int start, const int lead, const int first, const int all,
                     const int last, const bool vectors)
        : p(p), start(start + (ALONG_K ? first * lead : first)), lead(lead), lines(all - first),
          last(last), vectors(vectors) {}

    __device__ __forceinline__ void fetch(const int k, const Spot*) {
        if (vectors) fetch_by<WIDTH<T>>(k);
        else fetch_by<1>(k);
    }
    __device__ __forceinline__ void lay(Panel<T, LINES>& panel) const {
        if (vectors) lay_by<WIDTH<T>>(panel);
        else lay_by<1>(panel);
    }
};

// ---- the walk along k ----------------------------------------------------------------------------

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

// ---- the parts of a sum --------------------------------------------------------------------------
// The grid is (tiles, parts, copies); a grid may have blocks beyond `tiles` that do other work.

// Where blocks leave their parts for the last of their tile, and one counter per tile. Without it,
// out is either the result itself or (parts, ...), one result for each part.
template <typename T> struct Workspace {
    T* parts;
    unsigned* arrived;
    int tiles;

    __device__ __forceinline__ int tile() const { return blockIdx.z * tiles + blockIdx.x; }
    // Where this block's result goes, of `size` numbers in all.
    __device__ __forceinline__ T* result(T* out, const size_t size) const {
        return parts ? out : out + blockIdx.y * size;
    }
};

// A thread's outputs in the order in which put_into hands them over, STRIDE apart.
template <typename T, int STRIDE> struct InOrder {
    T* p;
    int& n;

    __device__ __forceinline__ int column(int) const { return 0; }
    __device__ __forceinline__ void put(int, int, const T value) const { p[n++ * STRIDE] = value; }
};

// The other way: what lies in that order goes where `store` says.
template <typename T, class Store> struct FromOrder {
    const T* p;
    int& n;
    const Store& store;

    __device__ __forceinline__ auto column(const int j) const { return store.column(j); }
    template <class Place>
    __device__ __forceinline__ void put(const int i, const Place place, T) const {
        store.put(i, place, p[n++]);
    }
};

// Leaves the block's part in the workspace. In the last block of the tile it returns true, with the
// sums of all parts in `total`. Number n of every thread lies beside number n of the next: a warp
// writes and reads whole lines, wherever its results are to go.
template <typename T, int ROWS, class Product>
__device__ __forceinline__ bool fix_up(const Product& product, const Workspace<T>& workspace,
                                       T* total) {
    using Block = Blocking<T, ROWS>;
    constexpr int OUTPUTS = Block::OUTPUTS, THREADS = Block::THREADS;
    const int tile = workspace.tile(), parts = gridDim.y;
    T* const all = workspace.parts + size_t(tile) * parts * OUTPUTS * THREADS + threadIdx.x;
    int n = 0;
    product.put_into(InOrder<T, THREADS>{all + size_t(blockIdx.y) * OUTPUTS * THREADS, n});
    if (!last_to_arrive(workspace.arrived + tile, parts)) return false;
#pragma unroll
    for (int i = 0; i < OUTPUTS; ++i) total[i] = 0;
    for (int s = 0; s < parts; ++s)
#pragma unroll
        for (int i = 0; i < OUTPUTS; ++i)
            total[i] += __ldcg(all + (size_t(s) * OUTPUTS + i) * THREADS);
    return true;
}

// ---- the product ---------------------------------------------------------------------------------

// Product: has the block's sums, multiply(left panel, right panel, rows that are in the matrix), and
// put_into(store), which goes over a thread's outputs in the same order every time; where
// Store::COLUMN_BIAS, also add_bias(store), which adds store.bias(column) to the sums of a column.
template <typename T, int ROWS, class Product, class Left, class Right, class Spots, class Store>
__device__ __forceinline__ void panel_product(Left left, Right right, const Spots spots,
                                              const Store store, const int first, const int last,
                                              const Workspace<T> workspace) {
    using Block = Blocking<T, ROWS>;
    __shared__ __align__(16) Panel<T, Block::M> lefts[2];
    __shared__ __align__(16) Panel<T, Block::N> rights[2];
    // A ring: the spot of k lies at (k - first) % RING. One warp works out 32 at a time.
    constexpr int RING = 2 * WARP;
    __shared__ Spot table[RING];
    const int t = threadIdx.x;
    Product product;

    if constexpr (Spots::NEEDED) {
        if (t < RING) table[t] = spots.spot(first + t, last);
        // Spots are there before panels are fetched by them.
        __syncthreads();
    }
    left.fetch(first, table), right.fetch(first, table);
    left.lay(lefts[0]), right.lay(rights[0]);
    // The first panels are whole before anyone multiplies.
    __syncthreads();

    int now = 0;
    for (int k = first; k < last; k += DEPTH, now ^= 1) {
        const int done = k - first;
        const bool more = k + DEPTH < last;
        if constexpr (Spots::NEEDED) {
            // Every fourth step. At done = 32 spots 64 to 95 take the places of 0 to 31, by which
            // everyone has fetched long ago; the first of them is needed at done = 56.
            if (done > 0 && done % WARP == 0 && t < WARP)
                table[(done + WARP) % RING + t] = spots.spot(k + WARP + t, last);
        }
        const Spot* next = table + (done + DEPTH) % RING;
        if (more) left.fetch(k + DEPTH, next), right.fetch(k + DEPTH, next);
        product.multiply(lefts[now], rights[now], store.rows - store.first_row);
        if (more) left.lay(lefts[now ^ 1]), right.lay(rights[now ^ 1]);
        // The other half is whole before anyone multiplies it, and this half is done with before
        // anyone overwrites it. New spots are there before anyone fetches by them.
        __syncthreads();
    }
    // A pass of its own: worked in between the stores, it takes more registers than there are.
    if constexpr (Store::COLUMN_BIAS) {
        // Of several parts the first brings the bias.
        if (store.b && blockIdx.y == 0) product.add_bias(store);
    }
    T total[Block::OUTPUTS];
    int n = 0;
    if (!workspace.parts) product.put_into(InOrder<T, 1>{total, n});
    else if (!fix_up<T, ROWS>(product, workspace, total)) return;
    n = 0;
    product.put_into(FromOrder<T, Store>{total, n, store});
}
