"""Kernels in the style of text that Python carries: no headers, C names."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.samples_physics import call_prices, options
from tests.cuda.foreign.tables import table

CASES: list[Case] = []
case = table("raw", CASES)
RACE, BOUNDS, UNSET = "race", "out-of-bounds", "uninitialised"


@case("finance.cu", "call_price", old="tid >= n", new="tid > n", kind=BOUNDS)
def call_price(rng):
    spot, strike, years = options(rng, 50)
    expected = call_prices(*(x.astype(float) for x in (spot, strike, years)), 0.02, 0.3)
    args = spot, strike, years, unset(50), (0.02, 0.3, 0), 50
    return Launch(2, 32, args, {3: expected}, 1e-3)


@case(
    "finance.cu",
    "random_walk",
    old="atomicMax(highest, top)",
    new="*highest = max(*highest, top)",
    kind=RACE,
)
def random_walk(rng):
    seeds = rng.integers(1, 2**32, 70).astype(np.uint32)
    state, steps = seeds.copy(), np.zeros((20, 70), np.int32)
    for step in steps:
        for shift in (13, -17, 5):
            state ^= state << np.uint32(shift) if shift > 0 else state >> np.uint32(-shift)
        step[:] = np.where(state >> np.uint32(31), 1, -1)
    walks = steps.cumsum(0)
    highest = np.array([max(walks.max(), 0)])
    args = seeds, unset(70, dtype=np.int32), np.zeros(1, np.int32), (0.0, 0.0, 20), 70
    return Launch(2, 32, args, {1: walks[-1], 2: highest}, 0)


@case("arrays.cu", "saxpy", old="if (i < n) y[i]", new="y[i]", kind=BOUNDS)
def saxpy(rng):
    x, y = normal(rng, 2, 60)
    return Launch(2, 32, (2.5, x, y, 60), {2: 2.5 * x + y})


@case(
    "arrays.cu",
    "row_argmax",
    old="(int *)(best + blockDim.x)",
    new="(int *)(scratch + 2)",
    kind="misaligned",
)
def row_argmax(rng):
    x = rng.integers(0, 20, (3, 75)).astype(np.float64)
    args = x, unset(3, dtype=np.int64), 3, 75
    return Launch(3, 32, args, {1: x.argmax(1)}, 0, shared=32 * 12)


@case("arrays.cu", "add_to_centers", old="members[threadIdx.x] = 0u;", new="", kind=UNSET)
def add_to_centers(rng):
    points, label = normal(rng, 90, 2), rng.integers(0, 5, 90).astype(np.int32)
    sums = np.stack([points[label == k].sum(0) for k in range(5)])
    args = points, label, np.zeros((5, 2), np.float32), np.zeros(5, np.uint64), 90, 5
    return Launch(3, 32, args, {2: sums, 3: np.bincount(label, minlength=5)}, 1e-4)


@case("product.cu", "sgemm", old="__syncthreads();  // before the next panels", new="", kind=RACE)
def sgemm(rng):
    m, n, k = 20, 40, 19
    a, b = normal(rng, k, m), normal(rng, n, k)
    return Launch((2, 2), (8, 8), (m, n, k, a, b, unset(n, m)), {5: b @ a}, 1e-4)


@case("templates.cu", "clip_all", old="if (i < n) x[i]", new="if (i <= n) x[i]", kind=BOUNDS)
def clip_all(rng):
    x = normal(rng, 50, dtype=np.float64)
    return Launch(2, 32, (x, -0.5, 0.25, 50), {0: np.clip(x, -0.5, 0.25)}, 0)


@case("templates.cu", "median_row", old="T window[N];", new="T window[N - 1];", kind=BOUNDS)
def median_row(rng):
    x = normal(rng, 2, 45)
    wide = np.pad(x, ((0, 0), (2, 2)), "edge")
    expected = np.median(np.stack([wide[:, k : k + 45] for k in range(5)]), 0)
    return Launch(2, 16, (x, unset(2, 45), 45), {1: expected}, 0, template={"N": 5})


COMPLEX = np.dtype([("re", "f8"), ("im", "f8")])


@case(
    "templates.cu",
    "scale_complex",
    old="z[i] = multiply(z[i], by)",
    new="z[i] = multiply(z[i ^ 1], by)",
    kind=RACE,
)
def scale_complex(rng):
    z = normal(rng, 40, 2, dtype=np.float64)
    expected = (z.view(complex) * (0.5 - 2j)).view(COMPLEX)
    return Launch(2, 32, (z.view(COMPLEX)[:, 0], (0.5, -2.0), 40), {0: expected[:, 0]})
