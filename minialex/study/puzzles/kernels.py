"""Puzzles in CUDA: mistakes planted in the package's kernels."""

from __future__ import annotations

from minialex.check import Case
from minialex.check.cases import layers
from minialex.check.cases.inputs import normal
from minialex.study.puzzles.kernel_puzzle import KernelPuzzle
from minialex.study.puzzles.limits import bank_conflicts, barriers, sectors, shared_bytes
from minialex.study.puzzles.puzzle import BARRIERS, REPAIR, SPEED, Puzzle

_BARRIER = "__syncthreads();\n"
_TILES_COMPLETE = """\
        // Both tiles are complete before any thread reads what others loaded.
"""
_TILES_READ = """\
        // All threads have read both tiles before any thread overwrites them with the next.
"""
_SUMS_READ = """\
    // A second call in one kernel must not overwrite partial sums that a slow warp still reads.
"""
_SUMS_WRITTEN = """\
    // Every warp's partial sum is written before any thread adds them up.
"""
_PADDED = (
    "    // Two rows of floats, or one of doubles, are all 32 banks: a warp that stores along rows "
    "needs no\n    // padding. Down a column it needs 8 bytes: then 16 rows begin in 16 different "
    "pairs of banks.\n    constexpr int PADDED = TILE + 8 / sizeof(T);\n"
)
_INTERLEAVED = """\
    for (int n = threadIdx.x; n < N; n += blockDim.x) losses += loss[n], weights += weight[n];
"""
_IN_PIECES = """\
    const int piece = (N + blockDim.x - 1) / blockDim.x;
    const int first = threadIdx.x * piece, end = min(N, first + piece);
    for (int n = first; n < end; ++n) losses += loss[n], weights += weight[n];
"""
_ALONG_ROWS = """\
    const int i = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
"""
_DOWN_COLUMNS = """\
    const int t = threadIdx.y * blockDim.x + threadIdx.x;
    const int i = blockIdx.x * blockDim.x + t / blockDim.y;
    const int r = blockIdx.y * blockDim.y + t % blockDim.y;
"""
_SCATTERED = "threadIdx.x * gridDim.x + blockIdx.x"
_TO_THE_EDGE = "if (o < O && i < I) gw[o * I + i] = sum;\n}\n\n// ----"

PUZZLES: list[Puzzle] = [
    KernelPuzzle(
        name="second-barrier",
        title="It works without the second barrier. Does it?",
        kind=REPAIR,
        topic="barriers",
        file="tile_product.cuh",
        op="linear",
        implementation="tiled",
        edits=((f"{_TILES_READ}        {_BARRIER}", ""),),
        task="""
        A tiled product of matrices: a block loads two tiles into shared memory, all threads use
        them, and the block goes on to the next two. On most GPUs, and with few threads, this gives
        the right numbers. It is wrong all the same. Repair it.
        """,
        hint="What may a fast warp do while a slow one is still in the loop over d?",
        why="Without a barrier at the end of the loop a warp that is done loads the next tiles "
        "while others still read these: a race.",
    ),
    KernelPuzzle(
        name="tile-edge",
        title="Tiles that do not fit",
        kind=REPAIR,
        topic="guards",
        file="linear.cu",
        op="linear",
        implementation="tiled",
        edits=(
            ("return row + line < O && r < R ? gy", "return r < R ? gy"),
            (_TO_THE_EDGE, _TO_THE_EDGE.replace("o < O && ", "")),
        ),
        task="""
        linear_weight_gradient_tiled gives gw (O, I) = gy^T x, tile by tile. Where O is no multiple
        of the tile, blocks reach beyond the last row of gw. On sizes like 16 and 32 all is well.
        Repair it: nothing may be read or written beyond the arrays, and every thread must come to
        every barrier.
        """,
        hint="Two things go beyond the edge: what is loaded, and what is stored.",
        why="A load beyond the edge must give 0, which adds nothing, and a store beyond it must "
        "not happen; the threads concerned stay, as tile_product has barriers for all of "
        "them.",
    ),
    KernelPuzzle(
        name="row-guard",
        title="A thread without a row",
        kind=REPAIR,
        topic="guards",
        file="softmax.cuh",
        op="log_softmax",
        implementation="kernel",
        edits=(("C(index < rows ? length : 0)", "C(length)"),),
        task="""
        A block of 256 threads takes 256, 8 or 1 rows, and the last block may have more threads
        than there are rows. Row is what a thread knows of its row. Repair it, so that nothing is
        read or written beyond the last row; but threads of a row meet in shuffles and barriers, so
        none may leave before.
        """,
        hint="A row of no elements is read by no loop.",
        why="With a length of 0 the loops of such a thread do nothing, while it still takes part "
        "in shuffles and barriers.",
    ),
    KernelPuzzle(
        name="two-strides",
        title="A stride for each axis",
        kind=REPAIR,
        topic="indices",
        file="conv2d.cuh",
        op="conv2d",
        implementation="naive",
        edits=(("w = j * sw - pw + l * dw;", "w = j * sh - pw + l * dw;"),),
        task="""
        The index arithmetic that all kernels of the convolution share. Its strides, paddings and
        dilations each have a number for the height and one for the width. On squares all is right.
        """,
        hint="Heights have i, k, and sizes that end in h.",
        why="j counts columns, and moves by the stride along the width.",
    ),
    KernelPuzzle(
        name="stride-holes",
        title="The holes that a stride leaves",
        kind=REPAIR,
        topic="convolution",
        file="conv2d.cuh",
        op="conv2d",
        implementation="naive",
        edits=(
            (
                "const bool exists = i >= 0 && j >= 0 && i % sh == 0 && j % sw == 0;",
                "const bool exists = i >= 0 && j >= 0;",
            ),
        ),
        task="""
        output_offset finds the output whose tap (k, l) is at the pixel (h, w), for the gradient of
        a convolution's input. With a stride of 1 there is one for all that is not at the border.
        With a larger one some have none: at stride 2, tap 0 meets every second pixel.
        """,
        hint="i and j are still multiplied by the stride there. Of which of them is there an "
        "output?",
        why="An output exists only where i and j are whole multiples of the strides; the division "
        "would round others to an output that never saw the pixel.",
    ),
    KernelPuzzle(
        name="max-pool-nan",
        title="Equals, NaN, and the largest so far",
        kind=REPAIR,
        topic="pooling",
        file="max_pool2d.cu",
        op="max_pool2d",
        implementation="kernel",
        edits=(
            (
                "if (value > best || value != value) best = value, best_index = kh * s.KW + kw;",
                "if (value >= best) best = value, best_index = kh * s.KW + kw;",
            ),
        ),
        task="""
        The head of the file says what is promised: of equals the first counts, padding is never
        the maximum, a NaN is larger than everything, and of several the last counts. Two of that
        are broken.
        """,
        hint="Which comparisons are true of a NaN?",
        why="> leaves equals to the first; value != value is true for NaN alone, and lets it in.",
    ),
    KernelPuzzle(
        name="last-window",
        title="The last window over a pixel",
        kind=REPAIR,
        topic="pooling",
        file="windows.cuh",
        op="avg_pool2d",
        implementation="kernel",
        edits=(("min(count, padded / stride + 1)", "min(count, padded / stride)"),),
        task="""
        windows_over gives the windows that contain a pixel: those with i s <= pixel + p < i s + K.
        One is missing, and so are gradients.
        """,
        hint="A Range goes up to its end, which is not included. Which is the last i with i s <= "
        "pixel + p?",
        why="The last window is padded / stride, rounded down; the end is one more, and never "
        "more than count, as there are no more windows.",
    ),
    KernelPuzzle(
        name="lrn-window",
        title="A window that is not symmetric",
        kind=REPAIR,
        topic="normalisation",
        file="local_response_norm.cu",
        op="local_response_norm",
        implementation="kernel",
        edits=(("last = min(high, c + half + 1);", "last = min(high, c + half);"),),
        task="""
        window_sums adds up, for each channel c, the channels from c - half to c + half, both
        included. It does not.
        """,
        hint="Compare the two ends of the inner loop.",
        why="last is not included, so it must be one beyond c + half; rows from high on are not "
        "in shared memory in this pass.",
    ),
    KernelPuzzle(
        name="online-softmax",
        title="When a larger logit comes",
        kind=REPAIR,
        topic="softmax",
        file="softmax.cuh",
        op="softmax",
        implementation="kernel",
        edits=(("sum = sum * exp(largest - x) + A(1);", "sum = sum + A(1);"),),
        task="""
        Online softmax goes over a row once: it keeps the largest logit so far, and the sum of
        exp(x - largest). When a larger logit comes, the sum was taken against another one. Repair
        update, so that nothing overflows, with logits of +-1000 either.
        """,
        hint="exp(x - old) = exp(x - new) exp(new - old).",
        why="The sum so far is too large by exp(x - largest), so it is multiplied by exp(largest "
        "- x), which is 1 at most; x itself adds exp(0).",
    ),
    KernelPuzzle(
        name="block-sum",
        title="A sum that is taken twice",
        kind=REPAIR,
        topic="barriers",
        file="common.cuh",
        op="cross_entropy",
        implementation="kernel",
        edits=((f"{_SUMS_READ}    {_BARRIER}", ""),),
        task="""
        block_sum adds up a number of each thread of a block: each warp by shuffles, then the sums
        of the warps through shared memory. Called once, it is right. cross_entropy_total calls it
        twice.
        """,
        hint="Both calls use the same partials. Who may still read them when the second begins?",
        why="A warp that is done with the first call writes its second sum over one that a slower "
        "warp still has to read: all must be through before any writes.",
    ),
    # ---- what may go -----------------------------------------------------------------------------
    KernelPuzzle(
        name="three-barriers",
        title="One barrier too many",
        kind=BARRIERS,
        topic="barriers",
        file="tile_product.cuh",
        op="linear",
        implementation="tiled",
        edits=(
            ("k += TILE) {\n", f"k += TILE) {{\n        {_BARRIER}"),
            (_TILES_COMPLETE, ""),
            (_TILES_READ, ""),
        ),
        limits=(barriers("linear_forward_tiled", 8 * 2 * 3),),
        profiled_on=layers.linear("rows of 48", (16, 48), 16),
        task="""
        Each turn of the loop waits at three barriers. Two are enough. Take one away so that it is
        still right. (On the case that is profiled a block of 8 warps goes around three times: at
        most 48 waits.)
        """,
        hint="Say for each barrier what would go wrong without it. For two of them it is the same.",
        why="The barrier at the top and the one at the bottom both keep the next loads from "
        "overwriting what others still read: one of them may go. The one in the middle may "
        "not.",
    ),
    KernelPuzzle(
        name="sum-barriers",
        title="Three barriers for one sum",
        kind=BARRIERS,
        topic="barriers",
        file="common.cuh",
        op="cross_entropy",
        implementation="kernel",
        edits=(
            (_SUMS_READ, ""),
            (_SUMS_WRITTEN, ""),
            ("total += partials[w];\n", f"total += partials[w];\n    {_BARRIER}"),
        ),
        limits=(barriers("cross_entropy_total", 8 * 2 * 2),),
        profiled_on=layers.cross_entropy("40 rows", normal((40, 3)), [0, 1, 2, 1] * 10),
        task="""
        block_sum waits at three barriers, where two are enough. Take one away, so that it is still
        right where it is called twice in one kernel, as in cross_entropy_total. (In the case that
        is profiled that kernel has one block of 8 warps: at most 32 waits.)
        """,
        hint="Say for each barrier what would go wrong without it. Two of them do the same.",
        why="Before partials is written anew all must have read it: a barrier at the end does "
        "that as well as one at the beginning. The one between writing and reading may not "
        "go.",
    ),
    # ---- faster ----------------------------------------------------------------------------------
    KernelPuzzle(
        name="pad-a-tile",
        title="Pad a tile",
        kind=SPEED,
        topic="bank conflicts",
        file="tile_product.cuh",
        op="linear",
        implementation="tiled",
        edits=((_PADDED, "    constexpr int PADDED = TILE;\n"),),
        limits=(
            bank_conflicts("linear_forward_tiled"),
            shared_bytes("linear_forward_tiled", 4 * (16 * 16 + 16 * 20)),
            sectors("linear_forward_tiled", 704),
        ),
        profiled_on=layers.linear("32 rows of 32", (32, 32), 32),
        task="""
        All is right, but slow: where b_tile is written down a column, the threads of a warp meet
        in a few of the 32 banks of shared memory, each 4 bytes wide, and are served one after
        another. Make the profile of linear_forward_tiled show no conflicts, for floats, without
        loading more from global memory, and with at most 256 bytes more of shared memory.
        """,
        hint="A warp is two rows of 16 threads, so it writes down two columns. In which bank does "
        "each row of the tile begin, if a row is a little longer?",
        why="With 8 bytes more per row, 16 rows begin in 16 different pairs of banks, and the two "
        "columns that a warp writes are the two of a pair.",
    ),
    KernelPuzzle(
        name="coalesce",
        title="Neighbours read neighbours",
        kind=SPEED,
        topic="coalescing",
        file="relu.cu",
        op="relu",
        implementation="kernel",
        edits=(("flat_index();\n    if (i < n) y[i]", f"{_SCATTERED};\n    if (i < n) y[i]"),),
        limits=(sectors("relu_forward", 2 * 4096 / 8),),
        profiled_on=Case("4,096 numbers", normal((4096,))),
        task="""
        Every element is computed, once, and right. But the 32 threads of a warp ask for 32 numbers
        that lie far apart, and memory comes in sectors of 32 bytes: most of what is moved is
        thrown away. Have relu_forward ask for no more sectors than its arrays have.
        """,
        hint="threadIdx.x is what differs within a warp.",
        why="i = blockIdx.x blockDim.x + threadIdx.x: consecutive threads have consecutive "
        "elements, and the 32 loads of a warp are 4 sectors of floats.",
    ),
    KernelPuzzle(
        name="interleave",
        title="A piece for each thread, or every 256th",
        kind=SPEED,
        topic="coalescing",
        file="cross_entropy.cu",
        op="cross_entropy",
        implementation="kernel",
        edits=((_INTERLEAVED, _IN_PIECES),),
        limits=(sectors("cross_entropy_total", 2 * 2048 / 8 + 2),),
        profiled_on=layers.cross_entropy("2,048 rows", normal((2048, 3)), [0, 1, 2, 1] * 512),
        task="""
        cross_entropy_total adds up the losses and weights of all rows, in one block of 256
        threads. On a CPU each core would take a piece of its own, side by side in memory, as here.
        On a GPU that is slow: at each step of the loop, a warp reads 32 places far apart. Have it
        ask for no more sectors than the arrays have.
        """,
        hint="At one step of the loop, all threads of a warp should read side by side.",
        why="With thread t taking t, t + 256, t + 512, ... a warp reads 32 consecutive numbers at "
        "each step.",
    ),
    KernelPuzzle(
        name="warp-along-rows",
        title="Which way does a warp lie?",
        kind=SPEED,
        topic="coalescing",
        file="linear.cu",
        op="linear",
        implementation="naive",
        edits=((_ALONG_ROWS, _DOWN_COLUMNS),),
        limits=(sectors("linear_data_gradient_naive", 1408),),
        profiled_on=layers.linear("16 rows of 64", (16, 64), 8),
        task="""
        linear_data_gradient_naive gives gx[r, i] = sum over o of gy[r, o] w[o, i], one thread per
        number. Blocks are 32 x 8 threads, and threadIdx.x differs within a warp. Each thread has a
        number of its own, and all are right; but the lanes of a warp read and write rows that lie
        far apart. Have it ask for no more sectors of memory than a warp needs that has 32 columns
        of one row.
        """,
        hint="Which of r and i should differ from lane to lane, so that w and gx are read and "
        "written side by side?",
        why="With i from threadIdx.x the lanes have neighbouring columns: w[o, i] and gx[r, i] "
        "are consecutive in memory, and gy[r, o] is one number for the whole warp.",
    ),
    KernelPuzzle(
        name="lrn-banks",
        title="Shared memory, the other way round",
        kind=SPEED,
        topic="bank conflicts",
        file="local_response_norm.cu",
        op="local_response_norm",
        implementation="kernel",
        edits=(
            ("T smem[SMEM_ROWS][WARP_SIZE];", "T smem[WARP_SIZE][SMEM_ROWS];"),
            ("smem[j - low][threadIdx.x] = own", "smem[threadIdx.x][j - low] = own"),
            ("sums[i] += smem[j - low][threadIdx.x];", "sums[i] += smem[threadIdx.x][j - low];"),
        ),
        limits=(
            bank_conflicts("local_response_norm_forward"),
            shared_bytes("local_response_norm_forward", 4 * 32 * 50),
        ),
        profiled_on=layers.lrn("64 channels", (1, 64, 4, 8), 5, 0.7, 0.75, 2.0),
        task="""
        The lanes of a warp are 32 neighbouring pixels, and each has a row of smem to itself, with
        its channels one after another. That is how one would lay it out for a CPU. All is right,
        but reading one channel of 32 pixels takes many passes through the banks of shared memory.
        Make the profile of local_response_norm_forward show none too many, with hardly more shared
        memory.
        """,
        hint="At one step, threadIdx.x differs between the lanes and j does not. Which index "
        "should be the last?",
        why="With the pixel as the last index, the 32 lanes read 32 consecutive numbers: one in "
        "each bank. A row that is one longer, SMEM_ROWS + 1, does it for floats as well.",
    ),
]
