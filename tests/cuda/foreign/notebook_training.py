"""Numbered kernels of notebooks: losses, attention, gradients of biases, the optimizer."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, to_bfloat16, unset
from tests.cuda.foreign.notebook import bfloats, softmax
from tests.cuda.foreign.tables import Launcher, table

CASES: list[Case] = []
case = table("notebook", CASES)
RACE, BOUNDS, UNSET, WARP, ALIGNED = "race", "out-of-bounds", "uninitialised", "warp", "misaligned"
F32, F64, I32 = np.float32, np.float64, np.int32


# ---- crossentropy.cu -----------------------------------------------------------------------------


@case(
    "crossentropy.cu",
    "crossentropy_forward_kernel1",
    old="if (r < rows) losses[r]",
    new="losses[r]",
    kind=BOUNDS,
)
def crossentropy_forward(rng):
    p, right = softmax(normal(rng, 6, 11)).astype(F32), rng.integers(0, 11, 6).astype(I32)
    return Launch(1, 32, (unset(6), p, right, 6, 11), {0: -np.log(p[np.arange(6), right])})


@case(
    "crossentropy.cu",
    "crossentropy_softmax_backward_kernel1",
    old="if (i >= rows * V) return;\n    const int r",
    new="if (i > rows * V) return;\n    const int r",
    kind=BOUNDS,
)
def crossentropy_backward(rng):
    p, right = softmax(normal(rng, 6, 11)).astype(F32), rng.integers(0, 11, 6).astype(I32)
    before, above = normal(rng, 6, 11), normal(rng, 6)
    expected = before + (p - np.eye(11)[right]) * above[:, None]
    return Launch(3, 32, (before, above, p, right, 6, 11), {0: expected})


@case(
    "crossentropy.cu",
    "fused_classifier_kernel",
    old="__syncthreads();  // its logit",
    new="// its logit",
    kind=RACE,
)
def fused_classifier(rng):
    V, P = 70, 72
    logits, right = normal(rng, 3, P), rng.integers(0, V, 3).astype(I32)
    above = normal(rng, 3)
    p = softmax(logits[:, :V])
    after = logits.astype(F64)
    after[:, :V] = (p - np.eye(V)[right]) * above[:, None]
    p_there = np.zeros((3, P))
    p_there[:, :V] = p
    args = logits, unset(3), np.zeros((3, P), F32), above, right, V, P
    losses = -np.log(p[np.arange(3), right])
    expected = {0: after, 1: losses, 2: p_there}
    return Launch(3, 64, args, expected, template={"KEEP": True})


# ---- attention_forward.cu ------------------------------------------------------------------------

ATTENTION = "attention_forward.cu"
B, T, NH, HS = 2, 5, 2, 4
C = NH * HS


def heads(x):
    """Return queries, keys and values, each (B, NH, T, HS), of x of (B, T, 3, NH, HS)."""
    return x.reshape(B, -1, 3, NH, HS).transpose(2, 0, 3, 1, 4)


def causal(scores):
    future = np.triu(np.ones(scores.shape[-2:], bool), 1)
    return np.where(future, -np.inf, scores)


@case(
    ATTENTION,
    "attention_query_key_kernel1",
    old="head * HS + C;",
    new="head * HS + 2 * C + 1;",
    kind=BOUNDS,
)
def attention_query_key(rng):
    x = normal(rng, B, T, 3 * C)
    q, k, _ = heads(x)
    expected = causal(q @ k.swapaxes(2, 3) / 2)
    return Launch(4, 32, (unset(B, NH, T, T), x, B, T, C, NH), {0: expected})


@case(
    ATTENTION,
    "attention_softmax_kernel1",
    old="    att += r * T;",
    new="    att += T;",
    kind=RACE,
)
def attention_softmax(rng):
    scores = normal(rng, B, NH, T, T)
    args = unset(B, NH, T, T), scores, B, T, NH
    return Launch(1, 32, args, {0: softmax(causal(scores))})


@case(ATTENTION, "attention_value_kernel1", old="if (i < B * T * C) {", new="{", kind=BOUNDS)
def attention_value(rng):
    x, att = normal(rng, B, T, 3 * C), softmax(causal(normal(rng, B, NH, T, T))).astype(F32)
    expected = (att @ heads(x)[2]).transpose(0, 2, 1, 3)
    return Launch(3, 32, (unset(B, T, C), att, x, B, T, C, NH), {0: expected})


@case(
    ATTENTION,
    "attention_forward_kernel2",
    old="__syncthreads(); // K and V",
    new="// K and V",
    kind=RACE,
)
def attention_forward(rng):
    N, d = 16, 4
    q, k, v = (normal(rng, B, NH, N, d) for _ in range(3))
    expected = softmax(causal(q @ k.swapaxes(2, 3) / 2)) @ v
    sums, maxima = np.zeros((B, NH, N), F32), np.full((B, NH, N), -np.inf, F32)
    args = q, k, v, N, d, 4, 2, 4, 8, 0.5, sums, maxima, np.zeros((B, NH, N, d), F32)
    shared = 4 * (8 * d + 2 * 4 * d + 8 * 4)
    return Launch((B, NH), 8, args, {12: expected}, 1e-4, shared=shared)


@case(
    ATTENTION,
    "split_heads_kernel",
    old="x + from + 2 * NH * d",
    new="x + from + 3 * NH * d",
    kind=BOUNDS,
)
def split_heads(rng):
    x = normal(rng, B, T, 3 * C)
    args = *(unset(B, NH, T, HS) for _ in range(3)), x, B, T, NH, HS
    return Launch(3, 32, args, dict(enumerate(heads(x))), 0)


@case(
    ATTENTION,
    "join_heads_kernel",
    old="* NH + head) * d + in_head] = __ldcs(&x",
    new="* NH + head + 1) * d + in_head] = __ldcs(&x",
    kind=BOUNDS,
)
def join_heads(rng):
    x = normal(rng, B, NH, T, HS)
    args = x, unset(B, T, NH, HS), B, T, NH, HS
    return Launch(3, 32, args, {1: x.transpose(0, 2, 1, 3)}, 0)


@case(
    ATTENTION,
    "scale_and_mask_kernel",
    old="if (i < B * NH * T * T) x[i]",
    new="if (i <= B * NH * T * T) x[i]",
    kind=BOUNDS,
)
def scale_and_mask(rng):
    x = normal(rng, B, NH, T, T)
    return Launch(4, 32, (x, 0.5, B, NH, T), {0: causal(x / 2)}, 0)


# ---- bias_and_adamw.cu ---------------------------------------------------------------------------

FILE = "bias_and_adamw.cu"


def bias(grid, block, shared=0) -> Launcher:
    def launch(rng):
        before, dout = normal(rng, 37), normal(rng, 50, 37)
        args = before, dout, 50, 37
        return Launch(grid, block, args, {0: before + dout.sum(0)}, 1e-4, shared=shared)

    return launch


case(
    FILE,
    "matmul_backward_bias_kernel1",
    old="tree[threadIdx.x + half];\n        __syncthreads();",
    new="tree[threadIdx.x + half];",
    kind=RACE,
)(bias(37, 32, shared=128))
case(FILE, "matmul_backward_bias_kernel2", old="if (o >= OC) return;", new="", kind=BOUNDS)(
    bias(19, 64)
)


@case(
    FILE, "matmul_backward_bias_kernel3", old="if (w == 0) sums[lane] = 0.0f;", new="", kind=UNSET
)
def matmul_backward_bias_kernel3(rng):
    bits, dout = bfloats(rng, 50, 37)
    return Launch((2, 2), 64, (np.zeros(37, F32), bits, 50, 37), {0: dout.sum(0)}, 1e-4)


def moments(rng, size):
    return 0.1 * normal(rng, size), 0.1 * np.abs(normal(rng, size))


@case(FILE, "adamw_kernel1", old="if (i >= n) return;\n    m[i]", new="m[i]", kind=BOUNDS)
def adamw_kernel1(rng):
    p, g = normal(rng, 50), normal(rng, 50)
    m, v = moments(rng, 50)
    m_after, v_after = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
    step = m_after / 0.19 / (np.sqrt(v_after / 0.0199) + 1e-8) + 0.1 * p
    args = p, g, m, v, 50, 1e-2, 0.9, 0.99, 0.19, 0.0199, 1e-8, 0.1
    return Launch(2, 32, args, {0: p - 1e-2 * step, 2: m_after, 3: v_after})


@case(
    FILE,
    "adamw_kernel2",
    old="if (i >= n) { return; }\n    const float g",
    new="const float g",
    kind=BOUNDS,
)
def adamw_kernel2(rng):
    master, (bits, g) = normal(rng, 50), bfloats(rng, 50)
    m, v = moments(rng, 50)
    m_after, v_after = 0.9 * m + 0.1 * g / 2, 0.99 * v + 0.01 * g * g / 4
    step = m_after / (1 - 0.9**3) / (np.sqrt(v_after / (1 - 0.99**3)) + 1e-8)
    after = master - 1e-2 * step
    expected = {0: after, 1: after, 3: m_after, 4: v_after}
    types = {"P": "__nv_bfloat16", "G": "__nv_bfloat16"}
    args = to_bfloat16(master), master, bits, m, v, 50, 1e-2, 0.9, 0.99, 3, 0.5, 17
    return Launch(2, 32, args, expected, 1e-2, template=types)


@case(
    FILE,
    "global_norm_kernel",
    old="if (block.thread_rank() == 0) atomicAdd(out, sum)",
    new="if (block.thread_rank() == 0) *out += sum",
    kind=RACE,
)
def global_norm(rng):
    x = normal(rng, 300)
    return Launch(2, 64, (np.zeros(1, F32), x, 300), {0: [(x**2).sum()]}, 1e-4)


@case(FILE, "matmul_forward_kernel4", old="float vals[8][8]", new="float vals[8][7]", kind=BOUNDS)
def matmul_forward(rng):
    x, weight, b = normal(rng, 128, 64), normal(rng, 128, 64), normal(rng, 128)
    args = unset(128, 128), x, weight, b, 64, 128
    return Launch((1, 1), (16, 16), args, {0: x @ weight.T + b}, 1e-4)
