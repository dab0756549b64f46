"""Watched kernels compute the bits that fast ones do, whatever the compiler."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from minialex import cuda
from minialex.arrays import CPU
from minialex.autograd import OPS
from minialex.check import CASES, Pair, routines
from minialex.check.kinds import Kind
from minialex.cuda import emulator
from minialex.cuda.emulator import system
from minialex.study.tracing import kernels_of, ops_in_kernels
from tests.cuda.tools import kernel

F32 = np.float32
FUSES = bool(system.processor_flags()) or platform.machine() in ("aarch64", "arm64")


def run(mode, name, *options):
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((2, 16, 16), F32)
    out = np.zeros((16, 16), F32)
    with cuda.emulated(mode):
        kernel("rounding.cu", name)(1, 16, x, y, out, *options)
    assert out.any()
    return out.tobytes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sum_of_products", (0.5,)),
        ("two_products", (0.9, 0.1)),
        ("maybe_product", (0.3, True)),
        ("maybe_product", (0.3, False)),
    ],
)
@pytest.mark.parametrize("mode", ["checked", "counted"])
def test_where_a_compiler_could_choose_it_chooses_the_same(mode, name, options):
    assert run(mode, name, *options) == run("fast", name, *options)


@pytest.mark.parametrize("mode", emulator.MODES)
def test_a_product_and_a_sum_are_rounded_once_where_the_processor_can(mode):
    """(1 + e) (1 - e) - 1 is -e^2, of which a rounded product leaves nothing."""
    x, y = np.zeros((2, 16, 16), F32)
    x[:, 3], y[:, 3] = 1 + 2**-12, 1 - 2**-12
    out = np.ones(16, F32)
    with cuda.emulated(mode, write=lambda line: None):
        kernel("rounding.cu", "sum_of_products")(1, 16, x, y, out, -1.0)
    assert (out == (-(2.0**-24) if FUSES else 0)).all()


def results(pair, case, mode):
    """Return the bytes of the output and the gradients."""
    inputs = pair.prepared(case.draw(pair.op.name))
    with cuda.emulated(mode):
        y, saved = pair.run(inputs, case.params)
        gy = np.random.default_rng(3).standard_normal(y.shape).astype(y.dtype)
        gradients = pair.implementations()[1].backward(gy, saved, **case.params)
    return [a.tobytes() for a in (y, *gradients) if a is not None]


@pytest.mark.parametrize("op", ops_in_kernels())
def test_every_op_gives_the_same_bits_checked_and_fast(op):
    for implementation in kernels_of(op):
        pair = Pair(OPS[op], implementation, implementation, np.dtype(F32), CPU)
        for case in CASES[op][:2]:
            assert results(pair, case, "checked") == results(pair, case, "fast"), case


@pytest.mark.parametrize("name", routines.routines())
def test_every_routine_gives_the_same_bits_checked_and_fast(name):
    def bits(one, case, mode):
        with cuda.emulated(mode):
            found = one.results(case)
        return [a.tobytes() for a in found]

    for one in routines.implementations(name, F32):
        for case in routines.cases_of(Kind.VALUES, one) if one.launches_kernels() else ():
            assert bits(one, case, "checked") == bits(one, case, "fast"), (one, case)
