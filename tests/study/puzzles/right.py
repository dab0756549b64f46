"""Solutions of the puzzles that are right though they are not the answer: none may fail."""

from tests.study.puzzles.solutions import AttemptedSolution

_AFTER_PRODUCTS = "sum += a_tile[ty][d] * b_tile[d][tx];\n"
_BARRIER = "        __syncthreads();\n"

RIGHT = [
    AttemptedSolution(
        "softmax", "multiplied out", "return y * gy - y * (y * gy).sum(dim, keepdims=True)"
    ),
    AttemptedSolution("conv2d-bias", "as einsum", "return np.einsum('noij->o', gy)"),
    AttemptedSolution(
        "conv2d-bias", "axis by axis", "return gy.sum(axis=3).sum(axis=2).sum(axis=0)"
    ),
    AttemptedSolution(
        "conv2d-weights",
        "a view by strides",
        """
        steps = tuple(s * t for s, t in zip(padded.strides, (1, 1, sh, sw)))
        part = padded[:, channels, k * dh :, l * dw :]
        seen = np.lib.stride_tricks.as_strided(part, (len(x), CG, OH, OW), steps)
        """,
    ),
    AttemptedSolution(
        "max-ties",
        "divided before it is chosen",
        """
        share = gy / (x == y).sum(axis=dims, keepdims=True)
        return np.where(x == y, share, 0).astype(x.dtype)
        """,
    ),
    AttemptedSolution(
        "adaptive-cells",
        "by floor and ceil",
        """
        import math
        edges = [i * size / count for i in range(count + 1)]
        return [(math.floor(a), math.ceil(b)) for a, b in zip(edges, edges[1:])]
        """,
    ),
    AttemptedSolution(
        "rmsprop",
        "in place throughout",
        """
        d = np.sqrt(variance)
        d += eps
        step = g / d
        if b is not None:
            b *= momentum
            b += step
            step = b
        p -= lr * step
        """,
    ),
    AttemptedSolution(
        "adam",
        "the correction in the rate, and eps with it",
        """
        root = np.sqrt(1 - b2**t)
        p -= lr * root / (1 - b1**t) * m / (np.sqrt(v) + eps * root)
        """,
    ),
    AttemptedSolution(
        "second-barrier",
        "at the beginning of each turn",
        edits=(("k += TILE) {\n", f"k += TILE) {{\n{_BARRIER}"),),
    ),
    AttemptedSolution(
        "second-barrier",
        "not after the last turn",
        edits=(
            (
                _AFTER_PRODUCTS,
                f"{_AFTER_PRODUCTS}        if (k + TILE < K) __syncthreads();\n",
            ),
        ),
    ),
    AttemptedSolution(
        "three-barriers",
        "the last goes, not the first",
        edits=((f"{_AFTER_PRODUCTS}{_BARRIER}", _AFTER_PRODUCTS),),
    ),
    AttemptedSolution(
        "sum-barriers",
        "the first goes, not the last",
        edits=(("value = warp_sum(value);\n    __syncthreads();\n", "value = warp_sum(value);\n"),),
    ),
    AttemptedSolution(
        "pad-a-tile", "two more, as for floats", edits=(("PADDED = TILE;", "PADDED = TILE + 2;"),)
    ),
    AttemptedSolution(
        "lrn-banks",
        "a row that is one longer",
        edits=(("[WARP_SIZE][SMEM_ROWS]", "[WARP_SIZE][SMEM_ROWS + 1]"),),
    ),
    AttemptedSolution(
        "coalesce",
        "from the last thread of a block to the first",
        edits=(
            (
                "threadIdx.x * gridDim.x + blockIdx.x);",
                "(blockIdx.x + 1) * blockDim.x - 1 - threadIdx.x);",
            ),
        ),
    ),
]
