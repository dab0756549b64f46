"""Inner products as real tensor cores computed them, and as the emulator computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minialex import cuda
from tests.cuda.tools import kernel

FILE = Path(__file__).parent / "records" / "tensor_cores.npz"
ARCHITECTURES = {
    "A100": "sm_80",
    "A2": "sm_86",
    "Ada": "sm_89",
    "H100": "sm_90",
    "H200": "sm_90",
    "B200": "sm_100",
}
TYPES = {"tf32": "float", "bf16": "__nv_bfloat16", "fp16": "__half"}


def emulated(kind, a, b, c, architecture):
    """Return c + a.b for the rows of `a` and `b`, arrays of floats, as tensor cores compute it."""
    operands = [packed(kind, x) for x in (a, b)]
    d = np.zeros(len(operands[0]), np.float32)
    d[: len(c)] = c
    with cuda.emulated(architecture=architecture):
        kernel("inner_products.cu", "inner_products")(len(d) // 8, 32, *operands, d, T=TYPES[kind])
    return d[: len(c)]


def packed(kind, x):
    """Return rows of floats as operands of 32 bytes per row, zero-padded; eight rows per tile."""
    rows = np.zeros((-(-len(x) // 8) * 8, 8 if kind == "tf32" else 16), np.float32)
    rows[: len(x), : x.shape[1]] = x
    if kind == "fp16":
        return rows.astype(np.float16)
    return rows if kind == "tf32" else (rows.view(np.uint32) >> 16).astype(np.uint16)


def nearest(a, b, c):
    """Return c + a.b, the sum exact but for doubles, rounded once to the nearest float."""
    return (c + (a.astype(np.float64) * b).sum(1)).astype(np.float32)
