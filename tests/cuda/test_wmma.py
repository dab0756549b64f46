"""Fragments of matrices, and their products, against NumPy and against mma.sync."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import source
from minialex.cuda.emulator import EmulationError
from tests.cuda.test_halves import from_bfloat16, to_bfloat16, to_tf32
from tests.cuda.tools import KERNELS, kernel, line_of

F32, F16 = np.float32, np.float16
FILE = "library/wmma.cu"
SHAPES = {16: (16, 16), 32: (32, 8), 8: (8, 32)}


def run(name, *arrays, mode="checked", seed=None):
    with cuda.emulated(mode, seed=seed):
        kernel(FILE, name)(1, 32, *arrays)


def order(x, *, columns):
    return np.ascontiguousarray(x.T if columns else x)


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["half_rows", "half_columns", "half_sums", "bfloat16"])
def test_products(name, shape, columns, mode):
    m, n = SHAPES[shape]
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(s).astype(F32) for s in [(m, 16), (16, n), (m, n)])
    encode, decode = (to_bfloat16, from_bfloat16) if name == "bfloat16" else (F16, F32)
    a, b = encode(a), encode(b)
    c = c.astype(F16 if name == "half_sums" else F32)
    d = order(np.zeros_like(c), columns=columns)
    run(
        name,
        order(a, columns=name == "half_columns"),
        order(b, columns=name in ("half_sums", "bfloat16")),
        order(c, columns=columns),
        d,
        shape,
        columns,
        mode=mode,
    )
    expected = decode(a).astype(np.float64) @ decode(b) + c
    found = order(d, columns=columns)
    if name == "half_sums":
        near = expected.astype(F16)
        assert (abs(found.astype(F32) - near) <= np.spacing(abs(near))).all()
        assert (found == near).mean() > 0.95
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_sums_are_those_of_mma_sync(architecture):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((16, 16)).astype(F16), rng.standard_normal((16, 16)).astype(F16)
    # which that kernel fills with zeros
    b[12:, [7, 15]] = 0
    c, d, other = np.zeros((3, 16, 16), F32)
    unused = np.zeros((16, 8), F16)
    with cuda.emulated(architecture=architecture):
        kernel(FILE, "half_rows")(1, 32, a, b, c, d, 16, False)
        for first in 0, 8:
            part, side = np.zeros((16, 8), F32), np.ascontiguousarray(b[:, first : first + 8].T)
            kernel("assembly.cu", "tile")(1, 32, a, side, part, unused)
            other[:, first : first + 8] = part
    assert (d == other).all()
    assert (d != (a.astype(np.float64) @ b).astype(F32)).any()


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_tf32(mode):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((16, 8)).astype(F32), rng.standard_normal((16, 8)).astype(F32)
    d = np.zeros((16, 16), F32)
    run("tf32", a, b, d, mode=mode)
    expected = 2 * (to_tf32(a).astype(np.float64) @ to_tf32(b).T)
    np.testing.assert_allclose(d, expected, rtol=1e-6, atol=2e-6)
    assert abs(d - 2 * (a.astype(np.float64) @ b.T)).max() > 1e-5


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_through_shared_memory(seed):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((16, 32)).astype(F16), rng.standard_normal((32, 16)).astype(F16)
    d = np.zeros((16, 16), F32)
    run("staged", a, b, d, seed=seed)
    np.testing.assert_allclose(d, a.astype(np.float64) @ b, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("__syncthreads();  // written", "", "race"),
        ("__syncthreads();  // read", "", "race"),
        ("&left[0][0], 24);", "&left[0][0] + 1, 24);", "misaligned"),
        ("&left[0][0], 24);", "&left[0][0], 32);", "out-of-bounds"),
        ("&left[0][0], 24);", "&left[0][8], 24);", "uninitialised"),
    ],
)
def test_faults(old, new, kind):
    arrays = np.zeros((16, 32), F16), np.zeros((32, 16), F16), np.zeros((16, 16), F32)
    with source.edited(KERNELS / FILE, old, new), pytest.raises(EmulationError) as caught:
        run("staged", *arrays)
    assert caught.value.kind in (kind, "uninitialised")
    if kind != "race":
        assert caught.value.line == line_of(FILE, "// left")
        assert caught.value.array == "left"


def test_a_result_too_large_for_its_array_is_out_of_bounds():
    arrays = np.zeros((16, 32), F16), np.zeros((32, 16), F16), np.zeros((15, 16), F32)
    with pytest.raises(EmulationError) as caught:
        run("staged", *arrays)
    assert (caught.value.kind, caught.value.array) == ("out-of-bounds", "d")
