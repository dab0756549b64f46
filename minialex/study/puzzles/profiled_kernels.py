"""Puzzles in CUDA that a profile counts: barriers that may go, conflicts and scattered accesses."""

from __future__ import annotations

from minialex.check import Case
from minialex.check.cases import layers
from minialex.check.cases.inputs import normal
from minialex.study.puzzles.kernel_puzzle import KernelPuzzle
from minialex.study.puzzles.limits import (
    Limit,
    LimitedCase,
    bank_conflicts,
    barriers,
    sectors,
    shared_bytes,
)
from minialex.study.puzzles.puzzle import BARRIERS, SPEED, Puzzle

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


def _tile_limits(most_sectors: float) -> tuple[Limit, ...]:
    kernel = "linear_forward_tiled"
    return (
        bank_conflicts(kernel),
        shared_bytes(kernel, 4 * (16 * 16 + 16 * 20)),
        sectors(kernel, most_sectors),
    )


_SUM_LIMITS = (barriers("cross_entropy_total", 8 * 2 * 2),)
_LRN_LIMITS = (
    bank_conflicts("local_response_norm_forward"),
    shared_bytes("local_response_norm_forward", 4 * 32 * 50),
)

PUZZLES: list[Puzzle] = [
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
        profiled_on=(
            LimitedCase(
                layers.linear("rows of 48", (16, 48), 16),
                (barriers("linear_forward_tiled", 8 * 2 * 3),),
            ),
            LimitedCase(
                layers.linear("two blocks, rows of 32", (16, 32), 32),
                (barriers("linear_forward_tiled", 2 * 8 * 2 * 2),),
            ),
        ),
        task="""
        Each turn of the loop waits at three barriers. Two are enough. Take one away so that it is
        still right. (On the first case that is profiled a block of 8 warps goes around three
        times: at most 48 waits.)
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
        profiled_on=(
            LimitedCase(
                layers.cross_entropy("40 rows", normal((40, 3)), [0, 1, 2, 1] * 10), _SUM_LIMITS
            ),
            LimitedCase(layers.cross_entropy("9 rows", normal((9, 5)), [0, 1, 2] * 3), _SUM_LIMITS),
        ),
        task="""
        block_sum waits at three barriers, where two are enough. Take one away, so that it is still
        right where it is called twice in one kernel, as in cross_entropy_total. (In the cases that
        are profiled that kernel has one block of 8 warps: at most 32 waits.)
        """,
        hint="Say for each barrier what would go wrong without it. Two of them do the same.",
        why="Before partials is written anew all must have read it: a barrier at the end does "
        "that as well as one at the beginning. The one between writing and reading may not "
        "go.",
    ),
    KernelPuzzle(
        name="pad-a-tile",
        title="Pad a tile",
        kind=SPEED,
        topic="bank conflicts",
        file="tile_product.cuh",
        op="linear",
        implementation="tiled",
        edits=((_PADDED, "    constexpr int PADDED = TILE;\n"),),
        profiled_on=(
            LimitedCase(layers.linear("32 rows of 32", (32, 32), 32), _tile_limits(704)),
            LimitedCase(layers.linear("16 rows of 48", (16, 48), 32), _tile_limits(480)),
        ),
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
        edits=(("begin_vectors(x, y));", f"begin_vectors(x, y), {_SCATTERED});"),),
        profiled_on=tuple(
            LimitedCase(Case(f"{n:,} numbers", normal((n,))), (sectors("relu_forward", 2 * n / 8),))
            for n in (16384, 3840)
        ),
        task="""
        Every element is computed, once, and right. But the 32 threads of a warp ask for 32 vectors
        of 16 bytes that lie far apart, and memory comes in sectors of 32 bytes: half of what is
        moved is thrown away. Have relu_forward ask for no more sectors than its arrays have.
        """,
        hint="threadIdx.x is what differs within a warp.",
        why="blockIdx.x blockDim.x + threadIdx.x, which flat_index() is: consecutive threads have "
        "consecutive vectors, and the 32 loads of a warp are 16 sectors.",
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
        profiled_on=tuple(
            LimitedCase(
                layers.cross_entropy(f"{n:,} rows", normal((n, 3)), [0, 1, 2, 1] * (n // 4)),
                (sectors("cross_entropy_total", 2 * n / 8 + 2),),
            )
            for n in (2048, 704)
        ),
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
        profiled_on=(
            LimitedCase(
                layers.linear("16 rows of 64", (16, 64), 8),
                (sectors("linear_data_gradient_naive", 1408),),
            ),
            LimitedCase(
                layers.linear("8 rows of 96", (8, 96), 16),
                (sectors("linear_data_gradient_naive", 2016),),
            ),
        ),
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
        profiled_on=(
            LimitedCase(layers.lrn("64 channels", (1, 64, 4, 8), 5, 0.7, 0.75, 2.0), _LRN_LIMITS),
            LimitedCase(layers.lrn("40 channels", (2, 40, 2, 16), 3, 0.7, 0.75, 2.0), _LRN_LIMITS),
        ),
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
