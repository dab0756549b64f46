"""Kernels in the style of a vendor's samples: sums, sorts, histograms, transposes."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import table

CASES: list[Case] = []
case = table("samples", CASES)
RACE, BOUNDS, UNSET, WARP = "race", "out-of-bounds", "uninitialised", "warp"


@case("vectorSum.cu", "vectorSum", old="me < count", new="me <= count", kind=BOUNDS)
def vector_sum(rng):
    a, b = normal(rng, 2, 100)
    return Launch(4, 32, (a, b, unset(100), 100), {2: a + b})


@case("vectorSum.cu", "vectorAccumulate", old="at < count;", new="at <= count;", kind=BOUNDS)
def vector_accumulate(rng):
    x, y = normal(rng, 2, 150)
    return Launch(2, 32, (0.5, x, y, 150), {2: 0.5 * x + y})


@case("vectorSum.cu", "vectorSum4", old="quads = count / 4", new="quads = count / 2", kind=BOUNDS)
def vector_sum4(rng):
    a, b = normal(rng, 2, 104)
    expected = a + b
    expected[103] = np.nan
    return Launch(2, 8, (a, b, unset(104), 103), {2: expected})


@case(
    "tileProduct.cu",
    "TileProductCUDA",
    old="__syncthreads();  // no tile is overwritten while it is read",
    new="",
    kind=RACE,
)
def tile_product(rng):
    a, b = normal(rng, 32, 48), normal(rng, 48, 32)
    args = unset(32, 32), a, b, 48, 32
    return Launch((2, 2), (16, 16), args, {0: a @ b}, 1e-4, template={"BLOCK_SIZE": 16})


def sums(x, block, each):
    """Return the sums of what each block adds up."""
    x = np.concatenate([x, np.zeros(-len(x) % (block * each), x.dtype)])
    return x.reshape(-1, block * each).sum(1)


SUMS = "blockSums_kernel.cuh"


@case(SUMS, "sumByRemainder", old="cg::sync(cta);  // the level is done", new="", kind=RACE)
def sum_by_remainder(rng):
    x = rng.integers(-9, 9, 150).astype(np.int32)
    args = x, unset(3, dtype=np.int32), 150
    return Launch(3, 64, args, {1: sums(x, 64, 1)}, 0, shared=256)


@case(
    SUMS,
    "sumByStride",
    old="if (mine + gap < blockDim.x)",
    new="if (mine < blockDim.x)",
    kind=BOUNDS,
)
def sum_by_stride(rng):
    x = normal(rng, 250, dtype=np.float64)
    args = x, unset(3, dtype=np.float64), 250
    return Launch(3, 96, args, {1: sums(x, 96, 1)}, shared=96 * 8)


@case(SUMS, "sumByHalves", old="if (rank < half)", new="if (rank <= half)", kind=BOUNDS)
def sum_by_halves(rng):
    x = normal(rng, 200)
    return Launch(2, 64, (x, unset(2), 200), {1: sums(x, 64, 2)}, shared=256)


@case(
    SUMS,
    "sumByTiles",
    old="part[rank] = mine = mine + part[rank + 64];\n    cg::sync(cta);",
    new="part[rank] = mine = mine + part[rank + 64];",
    kind=RACE,
)
def sum_by_tiles(rng):
    x = normal(rng, 400, dtype=np.float64)
    args = x, unset(2, dtype=np.float64), 400
    template = {"blockSize": 128}
    return Launch(2, 128, args, {1: sums(x, 128, 2)}, shared=1024, template=template)


@case(
    SUMS,
    "sumByWarps",
    old="sumOfWarp(0xffffffffu, mine)",
    new="sumOfWarp(0x7fffffffu, mine)",
    kind=WARP,
)
def sum_by_warps(rng):
    x = normal(rng, 256)
    template = {"blockSize": 64, "nIsPow2": True}
    return Launch(2, 64, (x, unset(2), 256), {1: sums(x, 64, 2)}, shared=8, template=template)


@case(
    "blockSums.cu",
    "sumOfSums",
    old="warp < blockDim.x / 32",
    new="warp <= blockDim.x / 32",
    kind=BOUNDS,
)
def sum_of_sums(rng):
    x = rng.integers(-99, 99, 300).astype(np.int32)
    args = x, unset(1, dtype=np.int32), 300
    return Launch(1, 96, args, {1: x.sum(keepdims=True)}, 0, shared=12)


def exclusive(x, axis=-1):
    return np.cumsum(x, axis, dtype=x.dtype) - x


@case(
    "prefixSums.cu",
    "prefixRows",
    old="cg::sync(cta);  // read before it is written again",
    new="",
    kind=RACE,
)
def prefix_rows(rng):
    x = rng.integers(0, 1000, (8, 64)).astype(np.uint32)
    return Launch(2, 64, (unset(8, 64, dtype=np.uint32), x, 64), {0: exclusive(x)}, 0)


@case(
    "prefixSums.cu",
    "prefixBases",
    old="if (threadIdx.x < rows) whole",
    new="if (threadIdx.x <= rows) whole",
    kind=BOUNDS,
)
def prefix_bases(rng):
    x = rng.integers(0, 1000, (5, 256)).astype(np.uint32)
    args = unset(5, dtype=np.uint32), exclusive(x), x, 5
    return Launch(1, 64, args, {0: exclusive(x.sum(1, dtype=np.uint32))}, 0)


@case(
    "prefixSums.cu",
    "prefixAddBases",
    old="if (threadIdx.x == 0) base",
    new="if (threadIdx.x == PREFIX_THREADS) base",
    kind=UNSET,
)
def prefix_add_bases(rng):
    x = rng.integers(0, 1000, (3, 256)).astype(np.uint32)
    bases = np.array([0, 7, 100], np.uint32)
    return Launch(3, 64, (x, bases), {0: x + bases[:, None]}, 0)


def pairs(rng, rows):
    keys = rng.permutation(rows * 128).astype(np.uint32).reshape(rows, 128)
    return keys, rng.integers(0, 99, (rows, 128)).astype(np.uint32)


@case("networkSort.cu", "bitonicLocal", old="cg::sync(cta);  // sorted", new="", kind=RACE)
def bitonic_local(rng):
    keys, values = pairs(rng, 2)
    order = np.argsort(keys, 1)
    order[1] = order[1, ::-1]
    results = {i: np.take_along_axis(x, order, 1) for i, x in enumerate((keys, values))}
    to = [unset(2, 128, dtype=np.uint32) for _ in range(2)]
    return Launch(2, 64, (*to, keys, values, 1), results, 0)


@case(
    "networkSort.cu", "bitonicStep", old="high = low + gap", new="high = low + 2 * gap", kind=BOUNDS
)
def bitonic_step(rng):
    keys, values = (x.ravel() for x in pairs(rng, 2))
    order = np.arange(256).reshape(2, 128)
    order = np.where(keys[order[0]] > keys[order[1]], order[::-1], order).ravel()
    args = keys, values, 256, 128, 1
    return Launch(2, 64, args, {0: keys[order], 1: values[order]}, 0)


@case("networkSort.cu", "oddEvenLocal", old="half = LOCAL_KEYS / 2;", new="half = 65;", kind=BOUNDS)
def odd_even_local(rng):
    keys, values = pairs(rng, 3)
    order = np.argsort(keys, 1)
    results = {i: np.take_along_axis(x, order, 1) for i, x in enumerate((keys, values))}
    to = [unset(3, 128, dtype=np.uint32) for _ in range(2)]
    return Launch(3, 64, (*to, keys, values, 1), results, 0)


def counts(x, blocks, threads, bins):
    """Return what each block counts of the rows of `x`, dealt out to threads in turn."""
    of = np.arange(len(x)) // threads % blocks
    return np.stack([np.bincount(x[of == b].ravel(), minlength=bins) for b in range(blocks)])


@case(
    "byteHistogram.cu",
    "histogramOfThreads",
    old="for (uint word = threadIdx.x;",
    new="for (uint word = threadIdx.x + 64;",
    kind=UNSET,
)
def histogram_of_threads(rng):
    x = rng.integers(0, 256, (200, 16)).astype(np.uint8)
    args = unset(2, 64, dtype=np.uint32), x.view(np.uint32), 200
    return Launch(2, 64, args, {0: counts(x // 4, 2, 64, 64)}, 0)


@case(
    "byteHistogram.cu",
    "histogramOfWarps",
    old="atomicAdd(ofWarp + (word & 0xFFU), 1)",
    new="ofWarp[word & 0xFFU] += 1",
    kind=RACE,
)
def histogram_of_warps(rng):
    x = rng.integers(100, 120, (250, 4)).astype(np.uint8)
    args = unset(2, 256, dtype=np.uint32), x.view(np.uint32), 250
    return Launch(2, 96, args, {0: counts(x, 2, 96, 256)}, 0)


@case(
    "byteHistogram.cu",
    "histogramMerge",
    old="part[threadIdx.x] = total;",
    new="if (threadIdx.x) part[threadIdx.x] = total;",
    kind=UNSET,
)
def histogram_merge(rng):
    x = rng.integers(0, 99, (70, 4)).astype(np.uint32)
    return Launch(4, 64, (unset(4, dtype=np.uint32), x, 70), {0: x.sum(0)}, 0)


def flip(rng, height, width):
    x = normal(rng, height, width)
    grid = -(-width // 16), -(-height // 16)
    return Launch(grid, (16, 4), (unset(width, height), x, width, height), {0: x.T}, 0)


@case(
    "flipMatrix.cu", "flipDirectly", old="height + y + k]", new="height + y + k + 1]", kind=BOUNDS
)
def flip_directly(rng):
    return flip(rng, 32, 16)


@case(
    "flipMatrix.cu",
    "flipThroughTile",
    old="tile[TILE][TILE];",
    new="tile[TILE][TILE - 1];",
    kind=BOUNDS,
)
def flip_through_tile(rng):
    return flip(rng, 32, 48)


@case(
    "flipMatrix.cu",
    "flipPadded",
    old="if (left + threadIdx.x < width && top + y < height)",
    new="if (top + y < height)",
    kind=BOUNDS,
)
def flip_padded(rng):
    return flip(rng, 24, 40)


@case(
    "flipMatrix.cu",
    "flipDiagonal",
    old="(number / gridDim.y + blockY) % gridDim.x",
    new="number / gridDim.y + blockY",
    kind=BOUNDS,
)
def flip_diagonal(rng):
    return flip(rng, 32, 48)
