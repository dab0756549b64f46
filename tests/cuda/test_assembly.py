"""Inline assembly: what it is rewritten to, what that computes, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import source
from minialex.cuda.emulator import EmulationError
from minialex.cuda.emulator.assembly import translate_assembly
from minialex.errors import MinialexError
from tests.cuda.tools import KERNELS, kernel

F32 = np.float32
FILE = "assembly.cu"


def run(name, block, *arrays, mode="checked", seed=None):
    with cuda.emulated(mode, seed=seed):
        kernel(FILE, name)(1, block, *arrays)


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_special_registers(mode):
    out = np.full((4, 64), 9, np.uint32)
    run("lanes", 64, out, mode=mode)
    lane = np.arange(64) % 32
    assert (out[0] == lane).all()
    assert (out[1] == (1 << lane) - 1).all()
    assert (out[2] == np.arange(64) // 32).all()
    assert not out[3].any()


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_numbers(mode):
    n = 32
    rng = np.random.default_rng(0)
    x = rng.standard_normal(n).astype(F32)
    k = rng.integers(-(2**31), 2**31, n).astype(np.int32)
    y, z = np.zeros((10, n), F32), np.zeros((20, n), np.int32)
    run("numbers", n, x, k, y, z, n, mode=mode)
    a, b = x.astype(np.float64), np.roll(x, -1).astype(np.float64)
    expected = [2**a, np.tanh(a), 1 / a, 1 / np.sqrt(abs(a)), np.log2(abs(a)), a * b + a]
    expected += [np.maximum(a, b), 2 * a, np.where(k < 0, b + a, b - a), x.astype(np.float16)]
    np.testing.assert_allclose(y, np.stack(expected), rtol=1e-5, atol=1e-6)
    u, v = k.astype(object), np.roll(k, -1).astype(object)
    low, i = 2**32 - 1, np.arange(n).astype(object)
    uu, vu = u & low, v & low
    part = uu >> 4 & 511
    halves = x.astype(np.float16).view(np.uint16).astype(object)
    whole = [
        u + v,
        u * v + u,
        (u * v) >> 32,
        (uu & vu) | (uu & i) | (vu & i),
        (uu & 0xFFFF) | (vu & 0xFFFF) << 16,
        part,
        np.where(part.astype(int) > 255, part - 512, part),
        (vu & ~0xFF00) | (uu & 0xFF) << 8,
        uu << 5,
        u >> 31,
        np.array([bin(word).count("1") for word in uu], object),
        np.minimum(u, v),
        (uu * vu) >> 32,
        uu >> 16 | (uu & 0xFFFF) << 16,
        (x.view(np.uint32).astype(object) + 0x1000) & 0xFFFFE000,
        np.trunc(x * F32(100)).astype(int).astype(object),
        halves << 16 | np.roll(halves, -1),
        (vu << 8 | uu >> 24),
        ~(u ^ v),
        u.reshape(-1, 2)[:, ::-1].ravel(),
    ]
    for row, numbers in enumerate(whole):
        assert (z[row].view(np.uint32) == (numbers & low).astype(np.uint32)).all(), row


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_moves(mode):
    x = np.random.default_rng(1).standard_normal(100).astype(F32)
    y, total = np.zeros(100, F32), np.zeros(1, np.int32)
    run("moves", 32, x, y, total, 100, mode=mode)
    assert (y == 2 * x).all()
    assert total[0] == 25


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("seed", [None, 5])
def test_a_tile_of_halves(mode, seed):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((16, 16)).astype(np.float16), rng.standard_normal((8, 16))
    b = b.astype(np.float16)
    d, e = np.zeros((16, 8), F32), np.zeros((16, 8), np.float16)
    run("tile", 32, a, b, d, e, mode=mode, seed=seed)
    right = b.astype(np.float64)
    right[7, 12:] = 0  # which lane 15 fills with zeros
    left = a.astype(np.float64)
    np.testing.assert_allclose(d, left @ right.T, rtol=1e-6, atol=1e-5)
    first = (left[:, :8] @ right[:, :8].T).astype(np.float16)
    second = (left[:, 8:] @ right[:, 8:].T + first).astype(np.float16)
    step = np.spacing(np.abs(second)).astype(np.float64)
    assert (abs(e.astype(np.float64) - second) <= 2 * step).all()
    assert (e == second).mean() > 0.9


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_matrices_are_transposed_and_put_back(mode):
    x = np.random.default_rng(3).standard_normal((4, 8, 8)).astype(np.float16)
    y, z = np.zeros_like(x), np.zeros_like(x)
    run("transposes", 32, x, y, z, mode=mode)
    assert (y == x.transpose(0, 2, 1)).all()
    assert (z == x).all()


@pytest.mark.parametrize(
    ("old", "new", "kind", "word"),
    [
        ('%0;\\n" :: "n"(0));', '%0;\\n" :: "n"(1));', "race", "an asynchronous copy"),
        ("    __syncthreads();\n    unsigned fa", "    unsigned fa", "race", "no barrier"),
        (
            "(&left[lane / 2][lane % 2 * 8])",
            "(&left[lane / 2 + 1][lane % 2 * 8])",
            "out-of-bounds",
            "index: 16",
        ),
        ('"l"(a + lane * 8)', '"l"(a + lane * 8 + 8)', "out-of-bounds", "a["),
        ("[%0], [%1], %2;", "[%0+2], [%1], %2;", "misaligned", "left"),
    ],
)
def test_faults_of_a_tile(old, new, kind, word):
    a, b = np.zeros((16, 16), np.float16), np.zeros((8, 16), np.float16)
    d, e = np.zeros((16, 8), F32), np.zeros((16, 8), np.float16)
    with source.edited(KERNELS / FILE, old, new), pytest.raises(EmulationError) as caught:
        run("tile", 32, a, b, d, e)
    assert caught.value.kind == kind
    assert word in str(caught.value)
    assert FILE in caught.value.file


def test_an_access_is_booked_on_its_line():
    x, y, total = np.zeros(8, F32), np.zeros(100, F32), np.zeros(1, np.int32)
    with pytest.raises(EmulationError) as caught:
        run("moves", 32, x, y, total, 100)
    (first,) = [
        n
        for n, line in enumerate((KERNELS / FILE).read_text().splitlines(), 1)
        if "ld.global.nc" in line
    ]
    assert caught.value.kind == "out-of-bounds"
    assert caught.value.line in (first, first + 1)


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        ("wgmma.fence.sync.aligned;", "wgmma.fence.sync.aligned"),
        ("mov.u32 %0, %%laneid; bra there;", "bra there"),
        ("add.rz.f32 %0, %0, %0;", "add.rz.f32"),
        ("ld.global.weird.f32 %0, [%1];", "ld.global.weird.f32"),
        ("mov.u32 %0, %%envreg3;", "%envreg3"),
        ("mov.u32 %0, nothing;", "nothing"),
        ("bar.sync 1, 64;", "bar.sync 1, 64"),
    ],
)
def test_what_has_no_twin_is_refused_by_file_and_line(instruction, said):
    statement = f'asm volatile("{instruction}" : "=r"(x));'
    text = f'#line 7 "dir/their.cu"\nint x;\n\nvoid f() {{ {statement} }}\n'
    with pytest.raises(MinialexError, match=re.escape(said)) as caught:
        translate_assembly(text)
    message = str(caught.value)
    assert message.startswith("dir/their.cu:9: inline assembly '")
    assert "\n" not in message


def test_lines_and_other_text_stay():
    text = 'int a; // asm\nconst char* s = "asm(";\n'
    text += 'asm volatile("membar.gl;"\n  ::: "memory"\n);\nint b;\n'
    out = translate_assembly(text)
    assert out.count("\n") == text.count("\n")
    assert out.startswith('int a; // asm\nconst char* s = "asm(";\n{')
    assert out.splitlines()[5] == "int b;"
    assert "__threadfence()" in out
    assert translate_assembly("int plasma(int);") == "int plasma(int);"


def test_a_template_in_a_macro_is_left_alone():
    text = '#define WRAP(x) asm volatile(x " %0;" : "=r"(y))\n'
    assert translate_assembly(text) == text
