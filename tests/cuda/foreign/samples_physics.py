"""Kernels in the style of a vendor's samples: filters, prices, transforms, bodies, images."""

from __future__ import annotations

import math

import numpy as np

from tests.cuda.foreign.case import Case, Launch, normal, unset
from tests.cuda.foreign.tables import table

CASES: list[Case] = []
case = table("samples", CASES)
RACE, BOUNDS = "race", "out-of-bounds"


def filtered(x, taps):
    """Return the rows of `x` convolved with `taps`, zeros beyond the border."""
    return np.stack([np.convolve(row, taps, "same") for row in x])


@case(
    "separableFilter.cu",
    "filterRows",
    old="line[ROWS_Y][ROWS_EACH * ROWS_X + 2 * RADIUS];",
    new="line[ROWS_Y][ROWS_EACH * ROWS_X + RADIUS];",
    kind=BOUNDS,
)
def filter_rows(rng):
    x, taps = normal(rng, 8, 64), normal(rng, 7)
    args = unset(8, 64), x, 64, 8, 64
    return Launch((2, 2), (16, 4), args, {0: filtered(x, taps)}, 1e-4, variables={"c_Taps": taps})


@case(
    "separableFilter.cu",
    "filterColumns",
    old="y >= 0 && y < height) ?",
    new="y > -RADIUS && y < height) ?",
    kind=BOUNDS,
)
def filter_columns(rng):
    x, taps = normal(rng, 32, 8), normal(rng, 7)
    args = unset(32, 8), x, 8, 32, 8
    result = {0: filtered(x.T, taps).T}
    return Launch((1, 2), (8, 8), args, result, 1e-4, variables={"c_Taps": taps})


@case(
    "dotProducts.cu",
    "dotProductsKernel",
    old="__mul24(a, b)",
    new="__mul24(a, b + 1)",
    kind=BOUNDS,
)
def dot_products(rng):
    x, y = normal(rng, 2, 5, 100)
    return Launch(2, 32, (unset(5), x, y, 5, 100), {0: (x * y).sum(1)}, 1e-4)


def normal_cdf(x):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def call_prices(spot, strike, years, rate, volatility):
    spread = volatility * np.sqrt(years)
    d = (np.log(spot / strike) + rate * years) / spread
    discounted = strike * np.exp(-rate * years)
    return spot * normal_cdf(d + spread / 2) - discounted * normal_cdf(d - spread / 2)


def options(rng, n):
    low = np.array([[5.0], [10.0], [0.25]])
    return (low + low * rng.random((3, n))).astype(np.float32)


@case("optionPrices.cu", "priceByTree", old="kept[(STEPS + 31) / 32]", new="kept[2]", kind=BOUNDS)
def price_by_tree(rng):
    n, steps, rate, volatility = 4, 96, 0.02, 0.3
    spot, strike, years = options(rng, n).astype(np.float64)
    dt = years / steps
    up = np.exp(volatility * np.sqrt(dt))
    p = (np.exp(rate * dt) - 1 / up) / (up - 1 / up)
    down = np.exp(-rate * dt)
    fields = spot, strike, np.log(up), p * down, (1 - p) * down
    trees = np.zeros(32, [(name, "f4") for name in ("S", "X", "vDt", "puByDf", "pdByDf")])
    for name, values in zip(trees.dtype.names, fields, strict=True):
        trees[name][:n] = values
    rises = np.arange(steps + 1)
    ways = np.array([math.comb(steps, k) for k in rises], float)
    chance = ways * p[:, None] ** rises * (1 - p[:, None]) ** (steps - rises)
    leaves = spot[:, None] * up[:, None] ** (2 * rises - steps) - strike[:, None]
    expected = (chance * np.maximum(leaves, 0)).sum(1) * np.exp(-rate * years)
    return Launch(n, 32, (unset(n),), {0: expected}, 1e-3, variables={"d_Options": trees})


@case(
    "optionPrices_kernel.cuh",
    "priceOptions",
    old="pair < (options / 2)",
    new="pair <= (options / 2)",
    kind=BOUNDS,
)
def price_options(rng):
    spot, strike, years = options(rng, 100)
    call = call_prices(*(x.astype(float) for x in (spot, strike, years)), 0.02, 0.3)
    put = call - spot + strike * np.exp(-0.02 * years)
    args = unset(100), unset(100), spot, strike, years, 0.02, 0.3, 100
    return Launch(2, 32, args, {0: call, 1: put}, 1e-3)


def walsh(x):
    """Return the product with the matrix of Walsh and Hadamard."""
    k = np.arange(x.shape[-1])
    odd = np.vectorize(lambda n: int(n).bit_count())(k[:, None] & k) % 2
    return x @ (1 - 2 * odd).astype(x.dtype)


@case(
    "walshTransform_kernel.cuh",
    "walshRows",
    old="cg::sync(cta);  // the row is transformed",
    new="",
    kind=RACE,
)
def walsh_rows(rng):
    x = normal(rng, 2, 128)
    return Launch(2, 32, (unset(2, 128), x, 7), {0: walsh(x)}, 1e-4, shared=512)


@case(
    "walshTransform_kernel.cuh",
    "walshStep",
    old="from[first + k * gap]",
    new="from[first + k * gap + 1]",
    kind=BOUNDS,
)
def walsh_step(rng):
    x = normal(rng, 2, 64)
    signs = walsh(np.eye(4, dtype=np.float32))
    expected = np.einsum("ij,njk->nik", signs, x.reshape(2, 4, 16)).reshape(2, 64)
    return Launch((2, 2), 8, (unset(2, 64), x, 16), {0: expected}, 1e-4)


@case(
    "walshTransform_kernel.cuh",
    "multiplySpectra",
    old="k < N; k += threads",
    new="k <= N; k += threads",
    kind=BOUNDS,
)
def multiply_spectra(rng):
    x, y = normal(rng, 2, 100)
    return Launch(2, 32, (x, y, 100), {0: x * y / 100})


@case("gravity.cu", "moveBodies", old="cg::sync(cta);  // used", new="", kind=RACE)
def move_bodies(rng):
    n = 64
    x = np.concatenate([normal(rng, n, 3), rng.random((n, 1))], 1).astype(np.float32)
    v = normal(rng, n, 4)
    away = x[None, :, :3].astype(float) - x[:, None, :3]
    pull = (x[:, 3] / ((away**2).sum(2) + 0.1) ** 1.5)[..., None] * away
    v_after = v.copy()
    v_after[:, :3] = (v[:, :3] + pull.sum(1) * 0.01) * 0.995
    x_after = x.copy()
    x_after[:, :3] += v_after[:, :3] * 0.01
    args = unset(n, 4), x, v, n, 0.01, 0.995, 2
    template, variables = {"T": "float"}, {"nearnessLimit": np.array([0.1], np.float32)}
    results = {0: x_after, 2: v_after}
    return Launch(2, 32, args, results, 1e-3, 512, template, variables)


@case("fractal.cu", "Fractal", old="__syncthreads();  // all have read it", new="", kind=RACE)
def fractal(rng):
    w, h, limit, left, top, scale = 20, 10, 12, -2.0, -1.25, 0.25
    # all numbers are short sums of powers of two: no rounding decides
    c = left + np.arange(w) * scale + 1j * (top + np.arange(h)[:, None] * scale)
    z, count = c.copy(), np.zeros(c.shape, int)
    for _ in range(limit):
        inside = z.real**2 + z.imag**2 <= 4
        count += inside
        z = np.where(inside, z * z + c, z)
    m = (limit - count)[..., None]
    expected = np.concatenate([m * [3, 5, 7], np.full((h, w, 1), 255)], 2)
    tiles = 3, 3, 1
    args = unset(h, w, 4, dtype=np.uint8), w, h, limit, left, top, scale, (3, 5, 7, 0), tiles
    variables = {"nextTile": np.zeros(1, np.uint32)}
    template = {"T": "double"}
    return Launch(2, (8, 4), args, {0: expected}, 0, variables=variables, template=template)


@case(
    "waveStencil.cu",
    "waveStep",
    old="cg::sync(cta);  // the plane before has been used",
    new="",
    kind=RACE,
)
def wave_step(rng):
    x, weights = normal(rng, 7, 12, 20), normal(rng, 3)
    inner = x[2:-2, 2:-2, 2:-2]
    expected = weights[0] * inner
    for axis in range(3):
        for i in (1, 2):
            for by in (-i, i):
                expected = expected + weights[i] * np.roll(x, by, axis)[2:-2, 2:-2, 2:-2]
    whole = unset(7, 12, 20)
    whole[2:-2, 2:-2, 2:-2] = expected
    args = unset(7, 12, 20), x, 16, 8, 3
    return Launch((2, 2), (8, 4), args, {0: whole}, 1e-4, variables={"stencil": weights})


@case(
    "tensorCoreProduct.cu",
    "tensorCoreProduct",
    old="a + row * lda + k, lda);",
    new="a + row * lda + k + WMMA_K, lda);",
    kind=BOUNDS,
)
def tensor_core_product(rng):
    a, b = normal(rng, 32, 48, dtype=np.float16), normal(rng, 32, 48, dtype=np.float16)
    c = normal(rng, 32, 32)
    expected = 1.5 * (a.astype(np.float32) @ b.astype(np.float32).T) - 0.5 * c
    args = a, b, c, unset(32, 32), 32, 32, 48, 1.5, -0.5
    return Launch((1, 1), (64, 2), args, {3: expected}, 1e-3)


@case(
    "haarAndNoise.cu",
    "haarLevels",
    old="__syncthreads();  // the level has been read",
    new="",
    kind=RACE,
)
def haar_levels(rng):
    x = normal(rng, 2, 128)
    rest, details = x, np.full((2, 128), np.nan, np.float32)
    for _ in range(3):
        even, odd = rest[:, ::2], rest[:, 1::2]
        n = even.shape[1]
        details[:, n : 2 * n], rest = (even - odd) / np.sqrt(2), (even + odd) / np.sqrt(2)
    return Launch(2, 64, (x, unset(2, 128), unset(2, 16), 3), {1: details, 2: rest}, shared=512)


@case("haarAndNoise.cu", "quasirandom", old="bit < BITS;", new="bit <= BITS;", kind=BOUNDS)
def quasirandom(rng):
    directions = rng.integers(0, 2**31, (3, 31)).astype(np.uint32)
    seed = 2**31 - 25
    bits = (np.arange(seed, seed + 50)[:, None] >> np.arange(31)) & 1
    chosen = np.where(bits[None], directions[:, None, :], 0)
    expected = (np.bitwise_xor.reduce(chosen, 2) + 1) / 2.0**31
    args = unset(3, 50), seed, 50
    return Launch(2, (16, 3), args, {0: expected}, variables={"c_Directions": directions})


@case("haarAndNoise.cu", "boxRows", old="max(x - 2 * r, 0)", new="x - 2 * r", kind=BOUNDS)
def box_rows(rng):
    h, w, r = 10, 12, 2
    x = rng.integers(0, 50, (h, w, 4)).astype(np.uint8) * 5
    # a sum of five neighbours is never a multiple of 5: a mean might be rounded below it
    x[:, ::5] += 2
    wide = np.pad(x.astype(float), ((0, 0), (r, r), (0, 0)), "edge")
    mean = sum(wide[:, k : k + w] for k in range(2 * r + 1)) / (2 * r + 1)
    args = x.view(np.uint32), unset(h, w, dtype=np.uint32), w, h, r
    return Launch(1, 16, args, {1: mean.astype(np.uint8).view(np.uint32)[..., 0]}, 0)
