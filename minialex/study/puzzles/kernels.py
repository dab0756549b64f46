"""Puzzles in CUDA: mistakes planted in the package's kernels, to be repaired."""

from __future__ import annotations

from minialex.study.puzzles.kernel_puzzle import KernelPuzzle
from minialex.study.puzzles.puzzle import REPAIR, Puzzle

_BARRIER = "__syncthreads();\n"
_TILES_READ = """\
        // All threads have read both tiles before any thread overwrites them with the next.
"""
_SUMS_READ = """\
    // A second call in one kernel must not overwrite partial sums that a slow warp still reads.
"""
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
]
