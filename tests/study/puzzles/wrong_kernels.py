"""Wrong solutions of the puzzles in CUDA: by puzzle, why each is wrong, and what it edits."""

from tests.study.puzzles.solutions import AttemptedSolution

_AFTER_PRODUCTS = "sum += a_tile[ty][d] * b_tile[d][tx];\n"
_STORE = "    if (i < I) gw[o * I + i] = sum;\n}\n\n// ----"
_LOAD = "return r < R ? gy[r * O + row + line] : T(0); },"
_SCATTERED = "threadIdx.x * gridDim.x + blockIdx.x"
_INDEX = f"slice(n, begin_vectors(x, y), {_SCATTERED});"
_PIECES = (
    "    const int first = threadIdx.x * piece, end = min(N, first + piece);\n"
    "    for (int n = first; n < end; ++n) losses += loss[n], weights += weight[n];\n"
)
_ROWS_AND_COLUMNS = (
    "    const int i = blockIdx.x * blockDim.x + t / blockDim.y;\n"
    "    const int r = blockIdx.y * blockDim.y + t % blockDim.y;\n"
)

_EDITS: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "second-barrier": {
        "waits for the own warp alone": (
            (_AFTER_PRODUCTS, f"{_AFTER_PRODUCTS}        __syncwarp();\n"),
        ),
        "once, after the loop": (("    return sum;", "    __syncthreads();\n    return sum;"),),
        "a fence orders writes, and waits for no thread": (
            (_AFTER_PRODUCTS, f"{_AFTER_PRODUCTS}        __threadfence_block();\n"),
        ),
    },
    "tile-edge": {
        "the store alone is guarded": ((_STORE, _STORE.replace("i < I", "o < O && i < I")),),
        "the load alone is guarded": ((_LOAD, _LOAD.replace("r < R", "row + line < O && r < R")),),
        "threads beyond the edge leave before the barriers": (
            (
                "    const T sum = tile_product<T, false, false>(",
                "    if (row + threadIdx.y >= O) return;\n"
                "    const T sum = tile_product<T, false, false>(",
            ),
            (_LOAD, _LOAD.replace("r < R", "row + line < O && r < R")),
        ),
    },
    "row-guard": {
        "one row too many": (("C(length)", "C(index <= rows ? length : 0)"),),
        "the number of the thread is not that of its row": (
            ("C(length)", "C(threadIdx.x < rows ? length : 0)"),
        ),
        "rows that are cut off at their end": (
            ("C(length)", "C(max(0, min(length, rows - index)))"),
        ),
    },
    "two-strides": {
        "the other axis has the wrong one": (
            ("h = i * sh - ph + k * dh, w = j * sh", "h = i * sw - ph + k * dh, w = j * sw"),
        ),
        "the padding of the other axis": (("w = j * sh - pw", "w = j * sw - ph"),),
        "the dilation of the other axis": (
            ("w = j * sh - pw + l * dw", "w = j * sw - pw + l * dh"),
        ),
    },
    "stride-holes": {
        "along the height alone": (("j >= 0;", "j >= 0 && i % sh == 0;"),),
        "the pixel, not what is left of it": (
            ("j >= 0;", "j >= 0 && h % sh == 0 && w % sw == 0;"),
        ),
        "strides exchanged": (("j >= 0;", "j >= 0 && i % sw == 0 && j % sh == 0;"),),
    },
    "max-pool-nan": {
        "a NaN is never larger": (("value >= best", "value > best"),),
        "of equals the last": (("value >= best", "value >= best || value != value"),),
        "anything goes in after a NaN": (("value >= best", "!(value <= best)"),),
    },
    "last-window": {
        "windows that do not exist": (("min(count, padded / stride)}", "padded / stride + 1}"),),
        "rounded up, which is not one more": (
            ("min(count, padded / stride)}", "min(count, (padded + stride - 1) / stride)}"),
        ),
        "without the padding": (
            ("min(count, padded / stride)}", "min(count, pixel / stride + 1)}"),
        ),
    },
    "lrn-window": {
        "rows that are not in shared memory": (
            ("last = min(high, c + half);", "last = c + half + 1;"),
        ),
        "one too many": (("last = min(high, c + half);", "last = min(high, c + half + 2);"),),
        "right where one pass is enough": (
            ("last = min(high, c + half);", "last = min(end, c + half + 1);"),
        ),
    },
    "online-softmax": {
        "grows where it must shrink": (
            ("sum = sum + A(1);", "sum = sum * exp(x - largest) + A(1);"),
        ),
        "scaled after the largest was replaced: by 1": (
            (
                "sum = sum + A(1);\n            largest = x;",
                "largest = x;\n            sum = sum * exp(largest - x) + A(1);",
            ),
        ),
        "exponentials that overflow": (
            ("sum = sum + A(1);", "sum = sum * exp(largest) / exp(x) + A(1);"),
        ),
    },
    "block-sum": {
        "waits for the own warp alone": (
            ("    if (lane == 0) partials", "    __syncwarp();\n    if (lane == 0) partials"),
        ),
        "a barrier that one lane of a warp comes to": (
            (
                "    if (lane == 0) partials[warp] = value;",
                "    if (lane == 0) {\n        __syncthreads();\n        partials[warp] = value;\n"
                "    }",
            ),
        ),
        "two barriers at one place": (
            (
                "before any thread adds them up.\n    __syncthreads();",
                "before any thread adds them up.\n    __syncthreads();\n    __syncthreads();",
            ),
        ),
    },
    "three-barriers": {
        "tiles are read before they are complete": (
            ("        __syncthreads();\n#pragma", "#pragma"),
        ),
        "both that keep the tiles from being overwritten": (
            ("k += TILE) {\n        __syncthreads();\n", "k += TILE) {\n"),
            (f"{_AFTER_PRODUCTS}        __syncthreads();\n", _AFTER_PRODUCTS),
        ),
        "one less, in the last turn alone": (
            (
                f"{_AFTER_PRODUCTS}        __syncthreads();\n",
                f"{_AFTER_PRODUCTS}        if (k + TILE < K) __syncthreads();\n",
            ),
        ),
    },
    "sum-barriers": {
        "sums are read before they are written": (
            ("partials[warp] = value;\n    __syncthreads();\n", "partials[warp] = value;\n"),
        ),
        "both that keep sums from being overwritten": (
            ("value = warp_sum(value);\n    __syncthreads();\n", "value = warp_sum(value);\n"),
            ("total += partials[w];\n    __syncthreads();\n", "total += partials[w];\n"),
        ),
        "one waits for its own warp alone": (
            ("value = warp_sum(value);\n    __syncthreads();\n", "value = warp_sum(value);\n"),
            (
                "total += partials[w];\n    __syncthreads();\n",
                "total += partials[w];\n    __syncwarp();\n",
            ),
        ),
    },
    "pad-a-tile": {
        "one more: one conflict is left": (("PADDED = TILE;", "PADDED = TILE + 1;"),),
        "four more": (("PADDED = TILE;", "PADDED = TILE + 4;"),),
        "a whole row of banks is no padding": (("PADDED = TILE;", "PADDED = 2 * TILE;"),),
    },
    "coalesce": {
        "right at the size that is profiled first": (
            (
                _INDEX,
                _INDEX.replace(_SCATTERED, f"n == 16384 ? flat_index() : {_SCATTERED}"),
            ),
        ),
        "blocks overlap": (
            (
                _INDEX,
                _INDEX.replace(_SCATTERED, "blockIdx.x * gridDim.x + threadIdx.x"),
            ),
        ),
        "side by side within a block, and still eight apart": (
            (
                _INDEX,
                _INDEX.replace(
                    _SCATTERED,
                    "blockIdx.x * blockDim.x + threadIdx.x % 32 * 8 + threadIdx.x / 32",
                ),
            ),
        ),
        "read at one place, written at another": (
            (
                _INDEX,
                f"slice(n, begin_vectors(x, y)), other(n, begin_vectors(x, y), {_SCATTERED});",
            ),
            ("slice.store(pack, y);", "other.store(pack, y);"),
        ),
    },
    "interleave": {
        "rows are counted by several warps": (
            (
                _PIECES,
                "    for (int n = threadIdx.x; n < N; n += WARP_SIZE)\n"
                "        losses += loss[n], weights += weight[n];\n",
            ),
        ),
        "pairs, two apart": (
            (
                _PIECES,
                "    for (int n = 2 * threadIdx.x; n < N; n += 2 * blockDim.x) {\n"
                "        losses += loss[n], weights += weight[n];\n"
                "        if (n + 1 < N) losses += loss[n + 1], weights += weight[n + 1];\n    }\n",
            ),
        ),
        "one thread for all": (
            (
                _PIECES,
                "    for (int n = threadIdx.x == 0 ? 0 : N; n < N; ++n)\n"
                "        losses += loss[n], weights += weight[n];\n",
            ),
        ),
    },
    "warp-along-rows": {
        "a column for each of eight threads, of 32": (
            (
                _ROWS_AND_COLUMNS,
                "    const int i = blockIdx.x * blockDim.x + threadIdx.y;\n"
                "    const int r = blockIdx.y * blockDim.y + threadIdx.x % blockDim.y;\n",
            ),
        ),
        "the weights transposed": (
            (
                _ROWS_AND_COLUMNS,
                "    const int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
                "    const int r = blockIdx.y * blockDim.y + threadIdx.y;\n",
            ),
            ("sum += gy[r * O + o] * w[o * I + i];", "sum += gy[r * O + o] * w[i * O + o];"),
        ),
        "four columns side by side are eight apart": (
            (
                _ROWS_AND_COLUMNS,
                "    const int i = blockIdx.x * blockDim.x + t % 4 * 8 + t / 32;\n"
                "    const int r = blockIdx.y * blockDim.y + t / 4 % 8;\n",
            ),
        ),
    },
    "lrn-banks": {
        "two more: every other bank": (
            ("smem[WARP_SIZE][SMEM_ROWS]", "smem[WARP_SIZE][SMEM_ROWS + 2]"),
        ),
        "a row of whole banks": (
            ("smem[WARP_SIZE][SMEM_ROWS]", "smem[WARP_SIZE][SMEM_ROWS + 16]"),
        ),
        "turned around where it is written and read, not where it is declared": (
            ("smem[threadIdx.x][j - low] = own", "smem[j - low][threadIdx.x] = own"),
            ("sums[i] += smem[threadIdx.x][j - low];", "sums[i] += smem[j - low][threadIdx.x];"),
        ),
    },
}

WRONG = [
    AttemptedSolution(puzzle, why, edits=edits)
    for puzzle, these in _EDITS.items()
    for why, edits in these.items()
]
