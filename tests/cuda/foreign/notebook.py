"""Numbered kernels of notebooks: layernorm, gelu, residual connections, embeddings, softmax."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, from_bfloat16, normal, to_bfloat16, unset
from tests.cuda.foreign.tables import Launcher, table

CASES: list[Case] = []
case = table("notebook", CASES)
RACE, BOUNDS, UNSET, WARP, ALIGNED = "race", "out-of-bounds", "uninitialised", "warp", "misaligned"
DIVERGENT = "divergent barrier"
F32, I32 = np.float32, np.int32


def bfloats(rng, *shape):
    """Return bits of bfloat16 and the numbers that they are."""
    bits = to_bfloat16(normal(rng, *shape))
    return bits, from_bfloat16(bits)


# ---- layernorm_forward.cu ------------------------------------------------------------------------

FORWARD = "layernorm_forward.cu"


def normalise(x):
    """Return the mean and the inverse deviation of each row, and the normalised rows."""
    x = x.astype(np.float64)
    mean = x.mean(1)
    rstd = 1 / np.sqrt(x.var(1) + 1e-5)
    return mean, rstd, (x - mean[:, None]) * rstd[:, None]


def norm_forward(grid, block, rows, width, *, with_rows=True, with_sums=True, shared=0) -> Launcher:
    def launch(rng):
        x, gamma, beta = normal(rng, rows, width), normal(rng, width), normal(rng, width)
        mean, rstd, normed = normalise(x)
        sums = (unset(rows), unset(rows)) if with_sums else ()
        args = unset(rows, width), *sums, x, gamma, beta, *((rows,) if with_rows else ()), width
        expected = {0: normed * gamma + beta, **({1: mean, 2: rstd} if with_sums else {})}
        return Launch(grid, block, args, expected, 1e-4, shared=shared)

    return launch


case(
    FORWARD,
    "layernorm_forward_kernel1",
    old="if (r >= rows) return;\n    x +=",
    new="x +=",
    kind=BOUNDS,
)(norm_forward(1, 32, 6, 21))


@case(
    FORWARD,
    "mean_kernel",
    old="        __syncthreads();\n        if (threadIdx.x < half) tree",
    new="        if (threadIdx.x < half) tree",
    kind=RACE,
)
def mean_kernel(rng):
    x = normal(rng, 3, 70)
    return Launch(3, 64, (unset(3), x, 70), {0: x.mean(1)}, shared=256)


@case(
    FORWARD,
    "rstd_kernel",
    old="squares[threadIdx.x + half];\n        __syncthreads();",
    new="squares[threadIdx.x + half], __syncthreads();",
    kind=DIVERGENT,
)
def rstd_kernel(rng):
    x = normal(rng, 3, 70)
    mean, rstd, _ = normalise(x)
    return Launch(3, 64, (unset(3), x, mean.astype(F32), 70), {0: rstd}, shared=256)


@case(FORWARD, "normalization_kernel", old="if (r < rows) {", new="if (r <= rows) {", kind=BOUNDS)
def normalization_kernel(rng):
    x, gamma, beta = normal(rng, 3, 21), normal(rng, 21), normal(rng, 21)
    mean, rstd, normed = normalise(x)
    args = unset(3, 21), x, mean.astype(F32), rstd.astype(F32), gamma, beta, 3, 21
    return Launch(2, 64, args, {0: normed * gamma + beta}, 1e-4)


case(
    FORWARD,
    "layernorm_forward_kernel3",
    old="c = warp.thread_rank(); c < width; c += warp.size()) part += from[c];",
    new="c = warp.thread_rank(); c <= width; c += warp.size()) part += from[c];",
    kind=BOUNDS,
)(norm_forward(2, 64, 3, 40))
case(
    FORWARD,
    "layernorm_forward_kernel4",
    old="if (r >= rows) return;\n    float first",
    new="float first",
    kind=BOUNDS,
)(norm_forward(2, 64, 6, 40, with_sums=False))
case(
    FORWARD,
    "layernorm_forward_kernel5",
    old="float sums[32], squares",
    new="float sums[2], squares",
    kind=BOUNDS,
)(norm_forward(3, 96, 3, 150, with_rows=False, with_sums=False))
case(
    FORWARD,
    "layernorm_forward_kernel6",
    old="    __syncthreads();\n    const int r = threadIdx.y + blockIdx.x * blockDim.y;\n"
    "    if (r >= rows) return; // not before the barrier",
    new="    const int r = threadIdx.y + blockIdx.x * blockDim.y;\n"
    "    if (r >= rows) return;\n    __syncthreads();",
    kind=DIVERGENT,
)(norm_forward(2, (32, 2), 3, 40, with_sums=False, shared=4 * 40 * 4))


# ---- layernorm_backward.cu -----------------------------------------------------------------------

BACKWARD = "layernorm_backward.cu"


def norm_backward(x, gamma, dy):
    """Return the gradients of x, gamma and beta."""
    _, rstd, normed = normalise(x)
    g = dy * gamma
    inner = (g * normed).mean(1)[:, None]
    dx = rstd[:, None] * (g - g.mean(1)[:, None] - normed * inner)
    return dx, (dy * normed).sum(0), dy.sum(0)


@case(
    BACKWARD,
    "layernorm_backward_kernel1",
    old="atomicAdd(dbeta + c, dy[at])",
    new="dbeta[c] += dy[at]",
    kind=RACE,
)
def layernorm_backward_kernel1(rng):
    x, dy, before = normal(rng, 6, 21), normal(rng, 6, 21), normal(rng, 6, 21)
    gamma, dgamma, dbeta = normal(rng, 21), normal(rng, 21), normal(rng, 21)
    mean, rstd, _ = normalise(x)
    results = zip((before, dgamma, dbeta), norm_backward(x, gamma, dy), strict=True)
    expected = {i: had + gained for i, (had, gained) in enumerate(results)}
    args = before, dgamma, dbeta, dy, x, gamma, mean.astype(F32), rstd.astype(F32), 6, 21
    return Launch(2, 4, args, expected, 1e-4)


@case(
    BACKWARD,
    "layernorm_backward_kernel2",
    old="beta_sums[c] = gamma_sums[c] = 0.0f;",
    new="beta_sums[c] = 0.0f;",
    kind=UNSET,
)
def layernorm_backward_kernel2(rng):
    (xb, x), (dyb, dy), (gb, gamma) = bfloats(rng, 5, 40), bfloats(rng, 5, 40), bfloats(rng, 40)
    mean, rstd, _ = normalise(x)
    dx, dgamma, dbeta = norm_backward(x, gamma, dy)
    sums = np.zeros(40, F32), np.zeros(40, F32)
    args = to_bfloat16(0 * x), *sums, dyb, xb, gb, mean.astype(F32), rstd.astype(F32), 5, 40
    return Launch(3, 64, args, {0: dx, 1: dgamma, 2: dbeta}, 2e-2, shared=320)


@case(
    BACKWARD,
    "layernorm_backward_kernel3",
    old="parts[8][32 + 1]",
    new="parts[7][32 + 1]",
    kind=BOUNDS,
)
def layernorm_backward_kernel3(rng):
    x, dy = normal(rng, 11, 40), normal(rng, 11, 40)
    mean, rstd, _ = normalise(x)
    _, dgamma, dbeta = norm_backward(x, np.ones(40), dy)
    args = unset(40), unset(40), dy, x, mean.astype(F32), rstd.astype(F32), 11, 40
    return Launch(2, (32, 8), args, {0: dgamma, 1: dbeta}, 1e-4)


# ---- gelu.cu, residual_and_encoder.cu ------------------------------------------------------------


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_slope(x, step=1e-4):
    x = x.astype(np.float64)
    return (gelu(x + step) - gelu(x - step)) / (2 * step)


def gelu_forward(grid) -> Launcher:
    def launch(rng):
        bits, x = bfloats(rng, 104)
        return Launch(grid, 32, (unset(104, dtype=np.uint16), bits, 104), {0: gelu(x)}, 1e-2)

    return launch


def gelu_backward(grid) -> Launcher:
    def launch(rng):
        (xb, x), (dyb, dy) = bfloats(rng, 104), bfloats(rng, 104)
        args = unset(104, dtype=np.uint16), xb, dyb, 104
        return Launch(grid, 32, args, {0: gelu_slope(x) * dy}, 1e-2)

    return launch


case(
    "gelu.cu",
    "gelu_forward_kernel1",
    old="if (i < count) {\n        y[i]",
    new="if (i <= count) {\n        y[i]",
    kind=BOUNDS,
)(gelu_forward(4))
case(
    "gelu.cu",
    "gelu_forward_kernel2",
    old="if (i < count) {\n        pack_x",
    new="if (i <= count) {\n        pack_x",
    kind=BOUNDS,
)(gelu_forward(1))
case(
    "gelu.cu", "gelu_backward_kernel1", old="if (i >= count) return;\n    dx", new="dx", kind=BOUNDS
)(gelu_backward(4))
case(
    "gelu.cu",
    "gelu_backward_kernel2",
    old="if (i >= count) return;\n    const pack_x",
    new="if (i > count) return;\n    const pack_x",
    kind=BOUNDS,
)(gelu_backward(1))


def residual(grid) -> Launcher:
    def launch(rng):
        left, right = normal(rng, 100), normal(rng, 100)
        return Launch(grid, 32, (unset(100), left, right, 100), {0: left + right})

    return launch


FILE = "residual_and_encoder.cu"
case(FILE, "residual_forward_kernel1", old="if (i < n) sum[i]", new="sum[i]", kind=BOUNDS)(
    residual(4)
)
case(
    FILE,
    "residual_forward_kernel2",
    old="store_pack(sum + i, c)",
    new="store_pack(sum + i / 2, c)",
    kind=ALIGNED,
)(residual(1))


def encoder(grid) -> Launcher:
    def launch(rng):
        B, T, C = 2, 5, 12
        tokens = rng.integers(0, 7, (B, T)).astype(I32)
        table, places = normal(rng, 7, C), normal(rng, T, C)
        args = unset(B, T, C), tokens, table, places, B, T, C
        return Launch(grid, 32, args, {0: table[tokens] + places})

    return launch


def encoder_backward(grid, rows) -> Launcher:
    def launch(rng):
        B, T, C = 2, 5, 12
        tokens, dy = rng.integers(0, 3, (B, T)).astype(I32), normal(rng, B, T, C)
        dtable = np.array([dy[tokens == token].sum(0) for token in range(3)])
        args = np.zeros((3, C), F32), np.zeros((T, C), F32), dy, tokens, *rows(B, T), T, C
        return Launch(grid, 32, args, {0: dtable, 1: dy.sum(0)})

    return launch


case(
    FILE,
    "encoder_forward_kernel1",
    old="at % length * width;\n    for",
    new="at * width;\n    for",
    kind=BOUNDS,
)(encoder(1))
case(
    FILE,
    "encoder_forward_kernel2",
    old="if (at < batch * length) {",
    new="if (at < 16) {",
    kind=BOUNDS,
)(encoder(4))
case(
    FILE,
    "encoder_forward_kernel3",
    old="place_table[at % length * width + c]);\n    pack_x",
    new="place_table[at % length * width + c / 2]);\n    pack_x",
    kind=ALIGNED,
)(encoder(1))
case(
    FILE,
    "encoder_backward_kernel1",
    old="atomicAdd(&dtokens[tokens[at] * width + c], dy[i])",
    new="dtokens[tokens[at] * width + c] += dy[i]",
    kind=RACE,
)(encoder_backward(4, lambda B, T: (B,)))
case(
    FILE,
    "encoder_backward_kernel2",
    old="width + c] += dy[at * width + c];\n            dplaces",
    new="(width - 1) + c] += dy[at * width + c];\n            dplaces",
    kind=RACE,
)(encoder_backward(1, lambda B, T: (B * T,)))


# ---- softmax_forward.cu --------------------------------------------------------------------------

SOFTMAX = "softmax_forward.cu"


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_forward(grid, block, rows, width, *, with_rows=True, shared=0) -> Launcher:
    def launch(rng):
        x = 3 * normal(rng, rows, width)
        args = unset(rows, width), x, *((rows,) if with_rows else ()), width
        return Launch(grid, block, args, {0: softmax(x)}, shared=shared)

    return launch


case(
    SOFTMAX,
    "softmax_forward_kernel1",
    old="if (r >= rows) return;\n    float top = -INFINITY;\n    for (int c = 0;",
    new="float top = -INFINITY;\n    for (int c = 0;",
    kind=BOUNDS,
)(softmax_forward(1, 32, 5, 20))
case(
    SOFTMAX,
    "softmax_forward_kernel2",
    old="__syncthreads();  // tree[0]",
    new="// tree[0]",
    kind=RACE,
)(softmax_forward(3, 64, 3, 90, with_rows=False, shared=256))
case(
    SOFTMAX,
    "softmax_forward_kernel3",
    old="c = lane; c < width; c += WARP_SIZE) top",
    new="c = lane; c <= width; c += WARP_SIZE) top",
    kind=BOUNDS,
)(softmax_forward(2, 64, 3, 50))
case(
    SOFTMAX,
    "softmax_forward_kernel4",
    old="totals = &of_warps[warps]",
    new="totals = &of_warps[1]",
    kind=RACE,
)(softmax_forward(3, 96, 3, 150, with_rows=False, shared=24))
case(
    SOFTMAX,
    "softmax_forward_online_kernel5",
    old="c < width; c += warp.size()) {\n        mine",
    new="c < width + 1; c += warp.size()) {\n        mine",
    kind=BOUNDS,
)(softmax_forward(2, 64, 3, 50))


@case(
    SOFTMAX,
    "softmax_causal_kernel6",
    old="quads = own / 4;",
    new="quads = own / 4 + 2;",
    kind=BOUNDS,
)
def softmax_causal_kernel6(rng):
    heads, T = 2, 8
    x = 2 * normal(rng, heads, T, T)
    future = np.triu(np.ones((T, T), bool), 1)
    expected = softmax(np.where(future, -np.inf, 0.5 * x))
    out = np.zeros((heads, T, T), F32)
    return Launch(8, 64, (out, 0.5, x, heads, T), {0: expected})
