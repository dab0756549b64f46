"""Kernels as convnets of 2012 had them: images in columns, functors, tiles by template."""

from __future__ import annotations

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import table

CASES: list[Case] = []
case = table("convnet", CASES)
RACE, BOUNDS, UNSET, DIVERGENT = "race", "out-of-bounds", "uninitialised", "divergent barrier"
F32 = np.float32


# ---- conv_acts.cu: images (channels, y, x, images) -----------------------------------------------

FILE = "conv_acts.cu"


def patches(images, size, stride):
    """Return (channels, modules in y and x, images, size, size): a border of zeros is read too."""
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (size, size), (1, 2))
    return windows[:, ::stride, ::stride]


@case(FILE, "convForward", old="__syncthreads(); // used", new="", kind=RACE)
def conv_forward(rng):
    images, filters, targets = (
        normal(rng, 2, 5, 5, 20),
        normal(rng, 2, 3, 3, 8),
        normal(rng, 8, 9, 20),
    )
    sums = np.einsum("cyxnij,cijf->fyxn", patches(images, 3, 2), filters).reshape(8, 9, 20)
    args = images, filters, targets, 2, 5, 3, -1, 2, 3, 20, 8, 0.5, 1.5
    template = {"B_Y": 2, "B_X": 8, "imgsPerThread": 2, "filtersPerThread": 2}
    template |= {"scale": True, "checkCaseBounds": True}
    return Launch((2, 18), (8, 2), args, {2: 0.5 * targets + 1.5 * sums}, 1e-4, template=template)


@case(
    FILE, "convBackward", old="__syncthreads(); // weights before have been used", new="", kind=RACE
)
def conv_backward(rng):
    hidden, filters = normal(rng, 6, 3, 3, 12), normal(rng, 2, 3, 3, 6)
    # each output gives its gradient to the pixels that it was made of
    around = np.zeros((2, 7, 7, 12), F32)
    for y, x in np.ndindex(3, 3):
        part = np.einsum("fn,cijf->cijn", hidden[:, y, x], filters)
        around[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] += part
    args = hidden, filters, unset(2, 25, 12), 3, 12, 6, 3, 5, -1, 2
    expected = {2: around[:, 1:-1, 1:-1]}
    template = {"colorsPerBlock": 2}
    return Launch((2, 25), (8, 2), args, expected, 1e-4, shared=48, template=template)


@case(FILE, "convWeights", old="__syncthreads(); // sums take their place", new="", kind=RACE)
def conv_weights(rng):
    images, hidden = normal(rng, 5, 5, 20), normal(rng, 4, 9, 20)
    windows = patches(images[None], 3, 2)[0].reshape(9, 20, 9)
    inside = patches(np.ones((1, 5, 5, 20)), 3, 2)[0].reshape(9, 20, 9)
    mean = np.einsum("mnp,fmn->pf", windows, hidden) / inside.sum((0, 1))[:, None]
    by_filter = 1
    args = images, hidden, unset(9, 4), 20, 4, 3, 5, 3, -1, 2, by_filter
    return Launch((4, 9), 16, args, {2: mean}, 1e-4, template={"B_X": 16})


# ---- nvmatrix.cu: a column per case --------------------------------------------------------------

FILE = "nvmatrix.cu"


@case(FILE, "kClassCosts", old="if (column >= numCases)", new="if (column > numCases)", kind=BOUNDS)
def class_costs(rng):
    shares = rng.integers(1, 4, (5, 50)).astype(F32)
    shares /= shares.sum(0)
    wanted, largest = rng.integers(0, 5, 50), shares.max(0)
    share = shares[wanted, np.arange(50)]
    hits = (share == largest) / (shares == largest).sum(0)
    args = shares, wanted.astype(F32), largest, unset(50), unset(50), 50, 5
    return Launch(2, 32, args, {3: np.log(share), 4: hits})


@case(FILE, "kSoftmaxCostGrad", old="ty < numOut &&", new="ty <= numOut &&", kind=BOUNDS)
def softmax_cost_grad(rng):
    y, before, labels = rng.random((6, 40)).astype(F32), normal(rng, 6, 40), rng.integers(0, 6, 40)
    grad = 0.5 * (np.eye(6)[labels].T - y)
    args = y, labels.astype(F32), before, 40, 6, 0.5
    return Launch((2, 2), (32, 4), args, {2: before + grad}, template={"add": True})


@case(FILE, "kRandomDropout", old="rndMults[idx % 16]", new="rndMults[idx]", kind=BOUNDS)
def random_dropout(rng):
    before, acts = rng.integers(1, 2**63, 32).astype(np.uint64), normal(rng, 75)
    mults = rng.integers(2**31, 2**32, 16).astype(np.uint32)
    words, kept = before.copy(), np.zeros(75, F32)
    for start in range(0, 75, 32):
        some = slice(start, min(start + 32, 75))
        now = slice(0, some.stop - start)
        low, high = words[now] & np.uint64(2**32 - 1), words[now] >> np.uint64(32)
        words[now] = np.tile(mults, 2)[now] * low + high
        rnd = ((words[now] >> np.uint64(8)) & np.uint64(2**24 - 1)) / 2.0**24
        kept[some] = np.where(rnd < 0.75, acts[some], 0)
    args = before, acts, 0.75, 75
    return Launch(2, 16, args, {0: words, 1: kept}, 0, variables={"rndMults": mults})


# ---- nvmatrix_kernels.cuh ------------------------------------------------------------------------

FILE = "nvmatrix_kernels.cuh"


@case(
    FILE,
    "kMapUnary",
    old="y < height; y += gridDim.y * ELTWISE_Y",
    new="y <= height; y += gridDim.y * ELTWISE_Y",
    kind=BOUNDS,
)
def map_unary(rng):
    x, expected = normal(rng, 10, 24), unset(10, 22)
    expected[:, :20] = 1 / (1 + np.exp(-x[:, :20]))
    args = x, unset(10, 22), 10, 20, 24, 22, ()
    template = {"Op": "EltwiseOps::Logistic"}
    return Launch((2, 2), (16, 4), args, {1: expected}, template=template)


@case(
    FILE,
    "kMapBinary",
    old="i < numElements; i += step",
    new="i <= numElements; i += step",
    kind=BOUNDS,
)
def map_binary(rng):
    a, b = normal(rng, 2, 150)
    args = a, b, unset(150), 150, (1.5, -0.5)
    template = {"Op": "EltwiseOps::WeightedAdd"}
    return Launch(2, 32, args, {2: 1.5 * a - 0.5 * b}, template=template)


@case(
    FILE,
    "kMapBinaryTrans",
    old="(bx < height && by < width)",
    new="(bx < height || by < width)",
    kind=BOUNDS,
)
def map_binary_trans(rng):
    a, b = normal(rng, 20, 37), normal(rng, 37, 20)
    args = a, b, unset(20, 37), 20, 37, ()
    template = {"Op": "EltwiseOps::SquaredDiff", "checkBounds": True}
    return Launch((3, 2), (16, 16), args, {2: (a - b.T) ** 2}, template=template)


@case(FILE, "kRowVector", old="if (tid < ADD_VEC_X &&", new="if (tid < ADD_VEC_Y &&", kind=UNSET)
def row_vector(rng):
    x, row = normal(rng, 11, 40), normal(rng, 40)
    args = x, row, unset(11, 40), 40, 11, (2.0, 0.25)
    template = {"Op": "EltwiseOps::WeightedAdd"}
    return Launch((2, 2), (32, 4), args, {2: 2 * x + 0.25 * row}, template=template)


@case(
    FILE,
    "kAggRowsWide",
    old="__syncthreads(); // accum",
    new="if (threadIdx.x < 32) __syncthreads();",
    kind=DIVERGENT,
)
def agg_rows_wide(rng):
    x = normal(rng, 3, 150)
    args = x, unset(3), 150, ()
    return Launch(3, 64, args, {1: x.max(1)}, 0, template={"Agg": "RowAggs::Max"})


@case(
    FILE,
    "kAggColumns",
    old="if (x < width) {\n    float mx",
    new="if (x <= width) {\n    float mx",
    kind=BOUNDS,
)
def agg_columns(rng):
    x = normal(rng, 9, 70)
    args = x, unset(70), 70, 9, (), ()
    template = {"Agg": "RowAggs::Sum", "Op": "EltwiseOps::Square"}
    return Launch(2, 64, args, {1: (x * x).sum(0)}, template=template)


# ---- pool_norm.cu --------------------------------------------------------------------------------

FILE = "pool_norm.cu"


@case(
    FILE,
    "kPoolWindows",
    old="if (filterIdx >= numFilters)",
    new="if (filterIdx > numFilters)",
    kind=BOUNDS,
)
def pool_windows(rng):
    images, mean = normal(rng, 3, 6, 6, 20), unset(3, 4, 4, 20)
    for y, x in np.ndindex(4, 4):
        # windows of 3 x 3 from -1 on: what of them lies within the image
        rows, columns = (slice(max(2 * k - 1, 0), 2 * k + 2) for k in (y, x))
        mean[:, y, x] = images[:, rows, columns].mean((1, 2))
    args = images, unset(3, 16, 20), 6, 3, 20, 3, -1, 2, 4, ()
    template = {"Agg": "AvgPooler", "B_Y": 2, "B_X": 8, "imgsPerThread": 2}
    template |= {"checkCaseBounds": True}
    return Launch((2, 16, 2), (8, 2), args, {1: mean}, template=template)


@case(
    FILE,
    "kPoolMaxUndo",
    old="endY = min(outputsX, 1 + pxY / strideX)",
    new="endY = 1 + pxY / strideX",
    kind=BOUNDS,
)
def pool_max_undo(rng):
    # few values, so that windows have more than one largest
    images, grads = rng.integers(0, 6, (2, 7, 7, 20)).astype(F32), normal(rng, 2, 3, 3, 20)
    largest, expected = unset(2, 3, 3, 20), np.zeros((2, 7, 7, 20), F32)
    for y, x in np.ndindex(3, 3):
        window = np.s_[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
        largest[:, y, x] = images[window].max((1, 2))
        is_largest = images[window] == largest[:, None, None, y, x]
        expected[window] += is_largest * grads[:, None, None, y, x]
    args = images, grads, largest, unset(2, 49, 20), 7, 20, 3, 2, 3
    return Launch((2, 49, 2), 16, args, {3: expected})


@case(FILE, "kNormAcross", old="f < sizeF; f++", new="f < sizeF - 1; f++", kind=UNSET)
def norm_across(rng):
    acts = normal(rng, 9, 20)
    squares = np.pad(acts**2, ((2, 2), (0, 0)))
    denoms = 1 + 0.1 * np.lib.stride_tricks.sliding_window_view(squares, 5, 0).sum(2)
    args = acts, unset(9, 20), unset(9, 20), 9, 20, 0.1, 0.75
    expected = {1: denoms, 2: acts * denoms**-0.75}
    return Launch(3, 8, args, expected, 1e-4, template={"B_X": 8, "sizeF": 5})


# ---- weight_updates.cu ---------------------------------------------------------------------------

FILE = "weight_updates.cu"


@case(FILE, "kUpdateWeights", old="i < numElements;", new="i <= numElements;", kind=BOUNDS)
def update_weights(rng):
    weights, increments, grads = normal(rng, 3, 100)
    v = 0.9 * increments - 0.1 * 0.05 * weights + 0.1 * grads
    decayed = 1
    args = weights, increments, grads, 0.9, 0.1, 0.05, decayed, 100
    return Launch(2, 32, args, {0: weights + v, 1: v})


@case(
    FILE,
    "kLimitNorms",
    old="atomicAdd(&norms[threadIdx.x], norm)",
    new="norms[threadIdx.x] += norm",
    kind=RACE,
)
def limit_norms(rng):
    weights = normal(rng, 10, 20)
    norms = np.linalg.norm(weights, axis=0)
    args = weights, 10, 20, 3.0
    expected = weights * np.minimum(1, 3 / norms)
    return Launch(3, (8, 4), args, {0: expected}, template={"B_X": 8})
