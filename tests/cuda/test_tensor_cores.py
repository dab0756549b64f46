"""The emulated tensor cores against real ones, and what an emulated architecture refuses."""

from __future__ import annotations

import numpy as np
import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.cuda.architectures import ARCHITECTURES
from minialex.errors import MinialexError
from tests.cuda import tensor_core_records as records

F32 = np.float32


def bits(x):
    return np.asarray(x, F32).view(np.uint32)


@pytest.fixture(scope="module")
def recorded():
    return np.load(records.FILE)


@pytest.mark.parametrize("kind", records.TYPES)
@pytest.mark.parametrize("gpu", records.ARCHITECTURES)
def test_every_record_has_the_hardwares_bits(recorded, gpu, kind):
    a, b, c, d = (recorded[f"{gpu}_{kind}_{name}"] for name in "abcd")
    if kind == "bf16":
        a, b = ((x.astype(np.uint32) << 16).view(F32) for x in (a, b))
    own = records.ARCHITECTURES[gpu]
    other = "sm_80" if own in ("sm_90", "sm_100") else "sm_90"
    here, there = (records.emulated(kind, a, b, c, name) for name in (own, other))
    assert (bits(here) == bits(d)).all()
    # the records tell one architecture from another, and both from IEEE 754
    assert (bits(there) != bits(d)).sum() >= 112
    assert (bits(records.nearest(a, b, c)) != bits(d)).sum() >= 112


def one(kind, products, c=0.0, architecture="sm_90"):
    """Return the bits of c plus the sum of `products`, pairs of numbers."""
    a, b = (np.array([side], F32) for side in zip(*products, strict=True))
    with np.errstate(over="ignore"):
        return int(bits(records.emulated(kind, a, b, np.array([c], F32), architecture))[0])


INFINITY, NAN = 0x7F800000, 0x7FFFFFFF


@pytest.mark.parametrize(
    ("kind", "products", "c", "expected"),
    [
        ("tf32", [(2.0**-130, 2.0**100)], 0, bits(2.0**-30)),
        ("fp16", [(2.0**-24, 3.0)], 1.0, bits(1 + 3 * 2.0**-24) - 1),
        ("tf32", [(2.0**-75, 2.0**-74)], 0, 1),
        ("tf32", [(1.75 * 2.0**-75, 2.0**-73)], 0, 3),
        ("bf16", [(2.0**-80, -(2.0**-80))], 0, 0),
        ("tf32", [(-0.0, 1.0)], -0.0, 0),
        ("tf32", [(2.0**127, 2.0)], 0, INFINITY),
        ("tf32", [(2.0**127, -2.0)], 0, INFINITY | 1 << 31),
        ("tf32", [(2.0**100, 2.0**100), (2.0**100, -(2.0**100))], 1.0, 0),
        ("tf32", [(np.inf, 1.0)], 1.0, INFINITY),
        ("bf16", [(np.inf, -1.0)], 1.0, INFINITY | 1 << 31),
        ("fp16", [(np.inf, 0.0)], 1.0, NAN),
        ("tf32", [(np.inf, 1.0)], -np.inf, NAN),
        ("tf32", [(1.0, 1.0)], np.nan, NAN),
        ("bf16", [(np.nan, 1.0)], 1.0, NAN),
        ("tf32", [(2.0**100, 2.0**100)], -np.inf, INFINITY | 1 << 31),
    ],
)
def test_what_is_subnormal_too_large_or_no_number(kind, products, c, expected):
    assert one(kind, products, c) == int(expected)


@pytest.mark.parametrize(("architecture", "last"), [("sm_80", 156), ("sm_90", 158)])
def test_small_terms_are_kept_down_to_a_last_bit(architecture, last):
    """Two that are 2^-149 together: exactly at the last bit that is kept, not one below it."""
    for below, expected in ((0, 1), (1, 0)):
        half = 2 ** (last + below - 150)
        scale = 2.0 ** -(last + below - 60)
        products = [((half + 1) * scale, 2.0**-60), ((half - 1) * scale, 2.0**-60)]
        assert one("tf32", products, architecture=architecture) == expected


def test_groups_come_one_after_another():
    """What overflows in the first group of four stays; of eight it cancels."""
    products = [(2.0**127, 2.0), *[(0.0, 0.0)] * 3, (2.0**127, -2.0)]
    assert one("tf32", products, architecture="sm_80") == INFINITY
    assert one("tf32", products, architecture="sm_90") == 0
    # small ones add up among themselves before they meet 1, or are cut by it one by one
    small = [*[(15 * 2.0**-13, 2.0**-14)] * 4, (1.0, 1.0)]
    assert one("tf32", small, 2.5 * 2.0**-25, architecture="sm_80") == bits(1 + 4 * 2.0**-23)
    assert one("tf32", small, 2.5 * 2.0**-25, architecture="sm_90") == bits(1 + 3 * 2.0**-23)


def test_an_architecture_has_a_name_that_is_known():
    known = r"architecture is 'sm_91': use one of sm_70, .*sm_120"
    with pytest.raises(ValueError, match=known), cuda.emulated(architecture="sm_91"):
        pass


def test_what_needs_a_later_architecture_is_refused():
    x, w = np.ones((1, 8), F32), np.ones((2, 8), F32)
    refused = r"^linear_tensor_core.cu needs a GPU of sm_80 or later, the emulated GPU is sm_75: "
    with cuda.emulated(architecture="sm_75"), pytest.raises(MinialexError, match=refused):
        OPS["linear"].implementations["tf32x3"].forward(x, w)


def test_an_instruction_that_is_not_there_traps(tmp_path):
    file = tmp_path / "careless.cu"
    file.write_text(
        '#include "mma.cuh"\n__global__ void careless(float* d) {\n'
        "    float s[4] = {};\n    mma_tf32(s, {1, 1, 1, 1}, {1, 1});\n"
        "    d[threadIdx.x] = s[0];\n}\n"
    )
    careless, d = cuda.kernel(file, "careless"), np.zeros(32, F32)
    with cuda.emulated(architecture="sm_80"):
        careless(1, 32, d)
    with cuda.emulated(architecture="sm_75"), pytest.raises(cuda.EmulationError) as error:
        careless(1, 32, d)
    assert error.value.kind == "trap"


@pytest.mark.parametrize("name", ["sm_75", "sm_86", "sm_90"])
def test_a_block_has_so_much_shared_memory(tmp_path, name):
    file = tmp_path / "shared.cu"
    file.write_text(
        "__global__ void hold(float* d) {\n    extern __shared__ float all[];\n"
        "    __shared__ float some[256];\n    some[threadIdx.x] = all[threadIdx.x] = 1;\n"
        "    d[threadIdx.x] = some[threadIdx.x];\n}\n"
    )
    hold, d, limit = cuda.kernel(file, "hold"), np.zeros(32, F32), ARCHITECTURES[name]
    most = limit.shared_per_block
    with cuda.emulated(architecture=name):
        hold(1, 32, d, shared=most - 1024)
        with pytest.raises(
            cuda.EmulationError, match=r"memory leaves 1,020 bytes for what"
        ) as error:
            hold(1, 32, d, shared=most - 1020)
        assert error.value.kind == "shared memory"
        if name != "sm_90":
            with pytest.raises(MinialexError, match=f"has at most {most}: launch it with less"):
                hold(1, 32, d, shared=most + 4)
