"""Kernels in the style of a vendor's samples: warps, atomics, and one feature each."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import table

CASES: list[Case] = []
case = table("samples", CASES)
RACE, BOUNDS, UNSET, WARP = "race", "out-of-bounds", "uninitialised", "warp"
I32 = np.int32


@case(
    "warpPrimitives.cu",
    "shuffleScan",
    old="__syncthreads();  // sums of warps are bases",
    new="",
    kind=RACE,
)
def shuffle_scan(rng):
    x = rng.integers(-50, 50, (2, 96)).astype(I32)
    sums = np.cumsum(x, 1, dtype=I32)
    args = x, 32, unset(2, dtype=I32)
    return Launch(2, 96, args, {0: sums, 2: sums[:, -1]}, 0, shared=12)


@case(
    "warpPrimitives.cu", "addTotals", old="at < length) data", new="at <= length) data", kind=BOUNDS
)
def add_totals(rng):
    x = rng.integers(-50, 50, 90).astype(I32)
    totals = np.array([5, -3, 8], I32)
    return Launch(3, 32, (x, totals, 90), {0: x + totals.repeat(32)[:90]}, 0)


@case(
    "warpPrimitives.cu",
    "anyOfWarp",
    old="__any_sync(FULL, input[tx])",
    new="__any_sync(FULL >> 1, input[tx])",
    kind=WARP,
)
def any_of_warp(rng):
    x = np.zeros(64, np.uint32)
    x[37] = 4
    return Launch(1, 64, (x, unset(64, dtype=np.uint32), 64), {1: np.arange(64) // 32}, 0)


@case("warpPrimitives.cu", "allOfWarp", old="if (tx < count)", new="", kind=BOUNDS)
def all_of_warp(rng):
    x = np.ones(50, np.uint32)
    x[40] = 0
    expected = np.arange(50) < 32
    return Launch(1, 64, (x, unset(50, dtype=np.uint32), 50), {1: expected}, 0)


@case("warpPrimitives.cu", "votesAround", old="info + 3 * tx", new="info + tx", kind=RACE)
def votes_around(rng):
    tx = np.arange(96)
    late = tx >= 48
    expected = np.stack([tx >= 32, late, tx >= 64], 1)
    return Launch(1, 96, (np.zeros(96 * 3, bool), 32), {0: expected.ravel()}, 0)


@case(
    "warpPrimitives.cu",
    "laneNumbers",
    old="if (at < length) {\n    lanes",
    new="{\n    lanes",
    kind=BOUNDS,
)
def lane_numbers(rng):
    return Launch(1, 64, (unset(50, dtype=I32), 50), {0: np.arange(50) % 32}, 0)


@case(
    "warpPrimitives.cu",
    "butterflySums",
    old="sum += __shfl_xor_sync(FULL, sum, partner)",
    new="sum += __shfl_xor_sync(FULL >> partner, sum, partner)",
    kind=WARP,
)
def butterfly_sums(rng):
    x = normal(rng, 8, 8, dtype=np.float64)
    return Launch(1, 64, (x, 8), {0: np.broadcast_to(x.sum(1, keepdims=True), (8, 8))})


@case(
    "atomicCounters.cu", "everyAtomic", old="atomicAdd(&out[0], 10)", new="out[0] += 10", kind=RACE
)
def every_atomic(rng):
    out = np.zeros(11, I32)
    out[[0, 1]] = 0, 500
    out[3], out[6] = 20, 0xFF
    both = 0xFF
    for n in range(64):
        both &= 2 * n + 7
    expected = [640, -140, 63, 0, 64 % 18, 74, both, -1, 0, 3, 7]
    return Launch(2, 32, (out,), {0: np.array(expected, I32)}, 0)


@case(
    "atomicCounters.cu",
    "keepPositive",
    old="if (lane == leader) base = atomicAdd(counter, __popc(came));",
    new="if (lane == leader) { base = *counter; *counter = base + __popc(came); }",
    kind=RACE,
)
def keep_positive(rng):
    x = np.where(rng.random(100) < 0.5, 3, -1).astype(I32)
    kept = int((x > 0).sum())
    expected = np.zeros(100, I32)
    expected[:kept] = 3
    args = np.zeros(100, I32), np.zeros(1, I32), x, 100
    return Launch(2, 32, args, {0: expected, 1: np.array([kept])}, 0)


@case(
    "atomicCounters.cu",
    "countBuckets",
    old="__match_any_sync(alive, bucket)",
    new="__match_any_sync(alive & ~1u, bucket)",
    kind=WARP,
)
def count_buckets(rng):
    x = rng.integers(0, 5, 80).astype(I32)
    args = x, np.zeros(5, I32), 80
    return Launch(3, 32, args, {1: np.bincount(x, minlength=5)}, 0)


@case(
    "atomicCounters.cu",
    "sumInOnePass",
    old="__threadfence();  // the sum is seen before the ticket",
    new="",
    kind=RACE,
)
def sum_in_one_pass(rng):
    x = normal(rng, 300)
    part = np.stack([x[:128].sum(), x[128:256].sum(), x[256:].sum()])
    part[0] = x.sum()
    template = {"blockSize": 64, "nIsPow2": False}
    none = {"blocksDone": np.zeros(1, np.uint32)}
    args = x, unset(3), 300
    return Launch(3, 64, args, {1: part}, 1e-4, template=template, variables=none, left=none)


@case(
    "smallThings.cu",
    "timedMinimum",
    old="both[tid + blockDim.x] = input[tid + blockDim.x];",
    new="",
    kind=UNSET,
)
def timed_minimum(rng):
    x = normal(rng, 64)
    timer = np.zeros(4, np.int64)
    return Launch(2, 32, (x, unset(2), timer), {1: np.full(2, x.min())}, 0, shared=256)


@case("smallThings.cu", "numbersBelow", old="assert(at < N)", new="assert(at < N - 1)", kind="trap")
def numbers_below(rng):
    return Launch(2, 32, (64, unset(64, dtype=I32)), {1: 64 - np.arange(64)}, 0)


@case("smallThings.cu", "sayHello", old="atomicAdd(said, 1)", new="*said += 1", kind=RACE)
def say_hello(rng):
    return Launch((2, 2), (2, 2, 2), (10, np.zeros(1, I32)), {1: np.array([32])}, 0)


@case(
    "smallThings.cu",
    "shiftLetters",
    old="g_data[tid] = (int)shifted;",
    new="g_data[tid + 4] = (int)shifted;",
    kind=BOUNDS,
)
def shift_letters(rng):
    letters = rng.integers(10, 120, 16).astype(np.uint8)
    return Launch(1, 4, (letters.view(I32),), {0: (letters - 10).view(I32)}, 0)


@case(
    "smallThings.cu",
    "shiftLetters2",
    old="g_data[threadIdx.x].x = letter",
    new="g_data[threadIdx.x + 16].x = letter",
    kind=BOUNDS,
)
def shift_letters2(rng):
    x = rng.integers(0, 99, (16, 2)).astype(I32)
    expected = np.stack([x[:, 0] - x[:, 1], x[:, 1]], 1)
    return Launch(1, 16, (x,), {0: expected}, 0)


POINT = np.dtype([(axis, "f4") for axis in "xyz"])
PARTICLE = np.dtype([("position", POINT), ("mass", "f4"), ("neighbours", "i4", 4)])


@case("smallThings.cu", "heaviestNeighbour", old="other >= 0 &&", new="", kind=BOUNDS)
def heaviest_neighbour(rng):
    x = np.zeros(50, PARTICLE)
    x["mass"] = rng.permutation(50)
    x["neighbours"] = rng.integers(-1, 50, (50, 4))
    x["neighbours"][0, 0] = -1
    near = np.concatenate([np.arange(50)[:, None], x["neighbours"]], 1)
    mass = np.where(near >= 0, x["mass"][near], -1)
    expected = np.take_along_axis(near, mass.argmax(1)[:, None], 1)[:, 0]
    return Launch(2, 32, (x, unset(50, dtype=I32), 50), {1: expected}, 0)


@case("smallThings.cu", "sumsOfGroups", old="x[lane] = val", new="x[lane + 1] = val", kind=BOUNDS)
def sums_of_groups(rng):
    tiles = 120 + 16 * np.arange(4)
    args = unset(1, dtype=I32), unset(4, dtype=I32)
    return Launch(1, 64, args, {0: np.array([64 * 63 // 2]), 1: tiles}, 0, shared=256)
