"""Kernels of the kind that books have: graphs, grids, locks, pictures."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import table

CASES: list[Case] = []
case = table("textbook", CASES)
RACE, BOUNDS, WARP = "race", "out-of-bounds", "warp"
DIVERGENT = "divergent barrier"
F64, I32, U32 = np.float64, np.int32, np.uint32


# ---- graphs.cu -----------------------------------------------------------------------------------

FILE = "graphs.cu"


def compressed(present):
    """Return where the rows of a matrix begin among its elements, and the columns of these."""
    rows, columns = np.nonzero(present)
    offsets = np.concatenate([[0], np.bincount(rows, minlength=len(present)).cumsum()])
    return offsets.astype(I32), columns


def graph(rng, vertices):
    """Return which vertices are neighbours, the way round as well; none is without one."""
    is_edge = rng.random((vertices, vertices)) < 0.05
    is_edge |= np.eye(vertices, k=1, dtype=bool)
    return is_edge | is_edge.T


@case(FILE, "graphs::bfsPull", old="v < vertices &&", new="v <= vertices &&", kind=BOUNDS)
def bfs_pull(rng):
    is_edge = graph(rng, 50)
    level = np.where(is_edge[0], 1, -1).astype(I32)
    level[0] = 0
    found = (level == -1) & is_edge[level == 1].any(0)
    offsets, neighbours = compressed(is_edge)
    changed = np.zeros(1, I32)
    args = offsets, neighbours.astype(U32), level, level.copy(), 2, changed, 50
    return Launch(2, 32, args, {3: np.where(found, 2, level), 5: [1]}, 0)


@case(
    FILE,
    "graphs::bfsFrontier",
    old="if (i < numPrevious) {",
    new="if (i >= numPrevious) return; {",
    kind=DIVERGENT,
)
def bfs_frontier(rng):
    is_edge = graph(rng, 90)
    # more neighbours than a block's queue holds
    is_edge[:40, 40:80] |= rng.random((40, 40)) < 0.3
    offsets, neighbours = compressed(is_edge)
    level = np.where(np.arange(90) < 40, 1, -1).astype(I32)
    found = (level == -1) & is_edge[:40].any(0)
    queue = np.zeros(90, U32)
    queue[:40] = rng.permutation(40)
    args = offsets, neighbours.astype(U32), level, queue, unset(90, dtype=U32), 40
    # in which order the next ones come is left open
    expected = {2: np.where(found, 2, level), 6: [found.sum()]}
    return Launch(2, 32, (*args, np.zeros(1, I32), 2), expected, 0)


def sparse(rng, rows, columns):
    """Return a matrix, and offsets, columns and values of it without its zeros."""
    x = normal(rng, rows, columns, dtype=F64) * (rng.random((rows, columns)) < 0.4)
    offsets, where = compressed(x)
    return x, offsets, where.astype(I32), x[x != 0]


@case(
    FILE,
    "graphs::sparse::spmvRows",
    old="if (row < shape.rows)",
    new="if (row <= shape.rows)",
    kind=BOUNDS,
)
def spmv_rows(rng):
    matrix, *parts = sparse(rng, 50, 30)
    x = normal(rng, 30, dtype=F64)
    args = (50, 30, len(parts[2])), *parts, x, unset(50, dtype=F64)
    return Launch(2, 32, args, {5: matrix @ x}, 1e-10)


@case(
    FILE,
    "graphs::sparse::spmvWarps",
    old="__shfl_down_sync(0xffffffff, dot, d)",
    new="__shfl_down_sync(0xffffffff >> d, dot, d)",
    kind=WARP,
)
def spmv_warps(rng):
    matrix, *parts = sparse(rng, 5, 120)
    x = normal(rng, 120, dtype=F64)
    args = (5, 120, len(parts[2])), *parts, x, unset(5, dtype=F64)
    return Launch(3, 64, args, {5: matrix @ x}, 1e-10)


@case(
    FILE,
    "spmvCoordinates",
    old="atomicAdd(&y[row[i]], value[i] * x[column[i]])",
    new="y[row[i]] += value[i] * x[column[i]]",
    kind=RACE,
)
def spmv_coordinates(rng):
    matrix = normal(rng, 8, 9) * (rng.random((8, 9)) < 0.7)
    row, column = np.nonzero(matrix)
    order = rng.permutation(len(row))
    row, column = row[order].astype(I32), column[order].astype(I32)
    value, x, y = matrix[row, column].astype(np.float32), normal(rng, 9), normal(rng, 8)
    args = len(row), row, column, value, x, y
    return Launch(3, 32, args, {5: y + matrix @ x})


# ---- grids.cu ------------------------------------------------------------------------------------

FILE = "grids.cu"


@case(FILE, "stencil7", old="i >= 0 && i < N &&", new="i >= 0 && i <= N &&", kind=BOUNDS)
def stencil7(rng):
    x, expected = normal(rng, 7, 7, 7), unset(7, 7, 7)
    # shifted by one along each axis, both ways
    around = sum(np.roll(x, step, axis) for axis in range(3) for step in (-1, 1))
    inside = np.s_[1:-1, 1:-1, 1:-1]
    expected[inside] = -6 * x[inside] + 0.5 * around[inside]
    return Launch((2, 2, 2), (6, 6, 6), (x, unset(7, 7, 7), 7, -6.0, 0.5), {1: expected})


@case(
    FILE,
    "lifeStep",
    old="atomicAdd(&population, 1ull)",
    new="population += 1",
    kind=RACE,
)
def life_step(rng):
    now = rng.random((11, 20)) < 0.4
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    alive = sum(np.roll(now, shift, (0, 1)).astype(int) for shift in shifts)
    lives = (alive == 3) | (now & (alive == 2))
    periodic = 1
    args = now, ~lives, 20, 11, periodic
    count = {"population": np.array(lives.sum(), np.uint64)}
    zero = {"population": np.array(0, np.uint64)}
    return Launch((3, 3), (8, 4), args, {1: lives}, 0, variables=zero, left=count)


@case(
    FILE,
    "heatRod",
    old="rod[now ^ 1][i] = rod[now][i]",
    new="rod[now][i] = rod[now][i]",
    kind=RACE,
)
def heat_rod(rng):
    u = normal(rng, 24, dtype=F64)
    expected = u
    for _ in range(5):
        # nothing flows out of the ends
        expected = expected + 0.2 * np.diff(np.pad(expected, 1, "edge"), 2)
    return Launch(1, 24, (u, 5, 0.2), {0: expected}, 1e-12)


@case(FILE, "multiplyMatrices", old="__syncthreads();  // tiles are free", new="", kind=RACE)
def multiply_matrices(rng):
    a, b = normal(rng, 13, 22, dtype=F64), normal(rng, 20, 18, dtype=F64)
    args = (20, 13, 22), (17, 20, 18), a, b, unset(13, 17, dtype=F64)
    return Launch((3, 2), (8, 8), args, {4: a[:, :20] @ b[:, :17]}, 1e-10)


# ---- locks.cu ------------------------------------------------------------------------------------

FILE = "locks.cu"


@case(FILE, "dotWithLock", old="acquire(&mutexOfBlocks);", new="", kind=RACE)
def dot_with_lock(rng):
    a, b = normal(rng, 2, 500)
    left = {"mutexOfBlocks": np.array(0, I32)}
    return Launch(3, 64, (a, b, np.zeros(1, np.float32), 500), {2: [a @ b]}, 1e-4, left=left)


@case(FILE, "appendWithinBlock", old="atomicCAS(&busy, 0, 1) == 0", new="true", kind=RACE)
def append_within_block(rng):
    numbers = rng.integers(0, 99, 50).astype(I32)
    # which comes first is left open: those that are kept are alike
    numbers[numbers % 3 == 0] = 42
    kept = int((numbers == 42).sum())
    numbered, expected = unset(64, dtype=I32), unset(64, dtype=I32)
    expected[:kept] = 42
    args = numbered, np.zeros(1, I32), numbers, 50
    return Launch(1, 64, args, {0: expected, 1: [kept]}, 0)


EMPTY = np.uint32(0xFFFFFFFF)


def slot_of(keys, key):
    """Return where `key` belongs in a table: the first place from its own on that is free."""
    slot = int(key) * 2654435761 % 2**32 % len(keys)
    while keys[slot] not in (EMPTY, key):
        slot = (slot + 1) % len(keys)
    return slot


def filled(keys):
    """Return a table of 64 places with `keys`."""
    places = np.full(64, EMPTY)
    for key in keys:
        places[slot_of(places, key)] = key
    return places


@case(
    FILE,
    "hashInsert",
    old="atomicAdd(&values[slot], newValues[i])",
    new="values[slot] += newValues[i]",
    kind=RACE,
)
def hash_insert(rng):
    keys = rng.choice(10000, 60, replace=False).astype(U32)
    before = filled(keys[:30])
    after, values = before.copy(), np.where(before == EMPTY, 0, 7).astype(I32)
    # none takes the place of another, whichever comes first
    places = {slot_of(before, key): key for key in keys[30:]}
    inserted = rng.choice([*places.values(), *keys[:5]], 50)
    amounts = rng.integers(1, 9, 50).astype(I32)
    expected = values.copy()
    for key, amount in zip(inserted, amounts, strict=True):
        slot = slot_of(after, key)
        after[slot] = key
        expected[slot] += amount
    args = before, values, inserted, amounts, 50, 64
    return Launch(2, 32, args, {0: after, 1: expected}, 0)


@case(
    FILE,
    "hashLookUp",
    old="i < n; i += gridDim.x",
    new="i <= n; i += gridDim.x",
    kind=BOUNDS,
)
def hash_look_up(rng):
    keys = rng.choice(10000, 80, replace=False).astype(U32)
    places = filled(keys[:40])
    values, wanted = np.arange(64, dtype=I32), rng.choice(keys, 100)
    expected = [values[slot_of(places, key)] if key in places else -1 for key in wanted]
    args = places, values, wanted, unset(100, dtype=I32), 100, 64
    return Launch(2, 32, args, {3: expected}, 0)


# ---- pictures.cu ---------------------------------------------------------------------------------

FILE = "pictures.cu"


@case(FILE, "image::toGrey", old="at.y < height", new="at.y <= height", kind=BOUNDS)
def to_grey(rng):
    rgb = rng.integers(0, 255, (13, 20, 3)).astype(np.uint8)
    hundredths = rgb @ np.array([21, 71, 7])
    # a whole number might be rounded down to the one before
    rgb[hundredths % 100 == 0, 2] += 1
    grey = rgb @ np.array([21, 71, 7]) // 100
    args = unset(13, 20, dtype=np.uint8), rgb, 20, 13
    return Launch((3, 2), (8, 8), args, {0: grey}, 0)


@case(
    FILE,
    "image::blur",
    old="min(row + BLUR, h - 1)",
    new="min(row + BLUR, h)",
    kind=BOUNDS,
)
def blur(rng):
    x, expected = rng.integers(0, 256, (13, 20)).astype(np.uint8), np.zeros((13, 20))
    for row, column in np.ndindex(13, 20):
        around = x[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        expected[row, column] = around.sum() // around.size
    args = x, unset(13, 20, dtype=np.uint8), 20, 13
    return Launch((3, 2), (8, 8), args, {1: expected}, 0)


@case(FILE, "combine", old="if (i < n) c[i]", new="if (i <= n) c[i]", kind=BOUNDS)
def combine(rng):
    a, b = normal(rng, 2, 50)
    larger = 1
    return Launch(2, 32, (a, b, unset(50), 50, larger), {2: np.maximum(a, b)}, 0)


@case(FILE, "lookUp", old="v = 7;", new="v = 8;", kind=BOUNDS)
def look_up(rng):
    x = rng.integers(0, 10, 50).astype(np.uint8)
    curve = np.array([0, 4, 9, 15, 22, 30, 39, 49])
    args = x, unset(50, dtype=I32), 50
    zero, left = ({"overflows": np.array(count, I32)} for count in (0, (x > 7).sum()))
    expected = {1: curve[np.minimum(x, 7)]}
    return Launch(2, 32, args, expected, 0, variables=zero, left=left)


@case(
    FILE,
    "brickSort",
    old="2 * threadIdx.x + (turn & 1)",
    new="threadIdx.x + (turn & 1)",
    kind=RACE,
)
def brick_sort(rng):
    keys = normal(rng, 45, dtype=F64)
    return Launch(1, 32, (keys, 45), {0: np.sort(keys)}, 0, shared=45 * 8)


@case(FILE, "mergeByRank", old="if (i >= na + nb)", new="if (i > na + nb)", kind=BOUNDS)
def merge_by_rank(rng):
    a, b = (np.sort(rng.integers(0, 20, size)).astype(I32) for size in (30, 23))
    args = a, 30, b, 23, unset(53, dtype=I32)
    return Launch(2, 32, args, {4: np.sort(np.concatenate([a, b]))}, 0)
