"""Every wrong argument raises before anything runs, with the kernel's and the argument's name."""

from __future__ import annotations

import math
import re
import sys
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from minialex.cuda import scalars, source
from minialex.cuda.arguments import bind
from minialex.cuda.signature import signatures
from tests.cuda.tools import KERNELS, SHAPE

F32 = np.float32


def signature(name, file=KERNELS / "features.cu"):
    return signatures(source.read(file))[name]


def relu(*args, **options):
    return bind(signature("relu_forward", "relu.cu"), args, options.pop("template", {}), **options)


def a(*shape, dtype=F32):
    return np.zeros(shape, dtype)


def refused(kind, message):
    return pytest.raises(kind, match="^relu_forward: " + message)


def test_right_arguments_come_out_as_the_kernel_has_them():
    x, y = a(3, 4), a(3, 4)
    bound = relu(x, y, x.size)
    assert bound.binding == {"T": "float"}
    assert bound.values[0] is x
    assert bound.values[1] is y
    assert bound.values[2] == 12
    assert bound.values[2].dtype == np.int32
    assert str(bound.device) == "cpu"


def test_the_template_type_follows_the_first_array():
    assert relu(a(2, dtype=np.float64), a(2, dtype=np.float64), 2).binding == {"T": "double"}


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_count_lists_the_parameters(count):
    args = [a(1), a(1), 1, 1][:count]
    with pytest.raises(
        TypeError, match=rf"relu_forward takes 3 arguments \(x, y, n\), got {count}"
    ):
        relu(*args)


def test_a_wrong_dtype():
    with refused(TypeError, r"argument y points to float \(float32\), got float64: convert it"):
        relu(a(2), a(2, dtype=np.float64), 2)


def test_an_undeclared_type():
    declared = "relu_forward is declared for T = float, double, __nv_bfloat16, got int"
    with pytest.raises(TypeError, match=declared):
        relu(a(2, dtype=np.int32), a(2, dtype=np.int32), 2)


def test_a_dtype_that_no_c_type_holds():
    with refused(TypeError, "argument x has dtype complex64, which no C type holds"):
        relu(a(2, dtype=np.complex64), a(2), 2)


@pytest.mark.parametrize(
    "x", [np.zeros((3, 4), F32).T, np.zeros(8, F32)[::2], np.zeros((4, 4), F32)[:, :2]]
)
def test_a_view_that_is_not_contiguous(x):
    with refused(ValueError, "argument x must be C-contiguous.*ascontiguousarray"):
        relu(x, a(*x.shape), x.size)


@pytest.mark.parametrize("x", [None, [1.0, 2.0], 3, F32(3)])
def test_something_that_is_no_array(x):
    with refused(TypeError, f"argument y points to float, got {type(x).__name__}: pass a NumPy or"):
        relu(a(2), x, 2)


def test_none_where_it_is_said_to_be_allowed():
    k = signature("strided")
    args = (a(4), None, a(4), 4, 1.0)
    with pytest.raises(TypeError, match="strided: argument bias points to float, got NoneType"):
        bind(k, args, {"STEP": 1, "DOUBLED": False})
    bound = bind(k, args, {"STEP": 1, "DOUBLED": False}, optional=("bias",))
    assert bound.values[1] is None


def test_a_read_only_array_may_be_read_but_not_written():
    x = a(2)
    x.flags.writeable = False
    relu(x, a(2), 2)
    with refused(ValueError, "argument y is written to, got a read-only array"):
        relu(a(2), x, 2)


def test_a_stated_shape():
    relu(a(2, 3), a(2, 3), 6, shapes={"y": (2, 3)})
    with refused(ValueError, r"argument y must have shape \(2, 3\), got \(3, 2\)"):
        relu(a(2, 3), a(3, 2), 6, shapes={"y": (2, 3)})
    with pytest.raises(TypeError, match="relu_forward has no array 'n' to have a shape"):
        relu(a(2, 3), a(2, 3), 6, shapes={"n": (2, 3)})


def test_arrays_that_overlap_although_the_kernel_rules_it_out():
    memory = a(10)
    with refused(ValueError, "arguments x and y overlap in memory.*__restrict__"):
        relu(memory[:6], memory[4:], 6)
    relu(memory[:5], memory[5:], 5)
    # Both are only read.
    bind(signature("relu_backward", "relu.cu"), (memory, memory, a(10), 10), {})


@pytest.mark.parametrize(
    ("n", "kind", "message"),
    [
        (2.0, TypeError, r"argument n is an int, got 2\.0 \(float\): pass an int"),
        (True, TypeError, r"argument n is an int, got True \(bool\)"),
        (None, TypeError, "argument n is an int, got None"),
        (np.zeros(3), TypeError, r"argument n is an int, got an array of shape \(3,\)"),
        (
            2**31,
            ValueError,
            "argument n is an int, which holds -2147483648 to 2147483647, got 2147483648",
        ),
        (-(2**31) - 1, ValueError, "argument n is an int, which holds"),
        (np.int64(2**40), ValueError, "argument n is an int, which holds"),
    ],
)
def test_scalars_for_an_int(n, kind, message):
    with refused(kind, message):
        relu(a(2), a(2), n)


SCALARS = {
    "a": (True, 1, TypeError),
    "b": (255, 256, ValueError),
    "c": (-32768, 32768, ValueError),
    "d": (np.int64(-5), "5", TypeError),
    "e": (2**32 - 1, -1, ValueError),
    "f": (2**63 - 1, 2**63, ValueError),
    "g": (2**64 - 1, -1, ValueError),
    "h": (3, np.float64(1e39), ValueError),
    "i": (np.float32(0.5), "x", TypeError),
}


def test_scalars_are_cast_to_their_declared_types():
    bound = bind(
        signature("scalars"), (a(9, dtype=np.float64), *(v[0] for v in SCALARS.values())), {}
    )
    types = ["bool", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
    assert [value.dtype.name for value in bound.values[1:]] == types
    assert [value.item() for value in bound.values[1:]] == [v[0] for v in SCALARS.values()]


@pytest.mark.parametrize("name", SCALARS)
def test_each_scalar_type_refuses_what_it_cannot_hold(name):
    args = [value[1] if key == name else value[0] for key, value in SCALARS.items()]
    with pytest.raises(SCALARS[name][2], match=f"^scalars: argument {name} is "):
        bind(signature("scalars"), (a(9, dtype=np.float64), *args), {})


def test_a_struct_is_laid_out_as_in_c():
    value = bind(signature("structs"), (a(7, dtype=np.float64), SHAPE, 9), {}).values[1]
    assert value.item() == (True, 3, -5, -(2**40), 250)
    layout = value.dtype
    assert [layout.fields[name][1] for name in layout.names] == [0, 4, 8, 16, 24]
    assert layout.itemsize == 32


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (SHAPE._replace(W=1.5), TypeError, r"argument s\.W is an int, got 1\.5 \(float\)"),
        (SHAPE._replace(on=1), TypeError, r"argument s\.on is a bool, got 1"),
        (SHAPE._replace(last=256), ValueError, r"argument s\.last is an unsigned char, .* got 256"),
        (tuple(SHAPE)[1:], TypeError, r"argument s is a struct of on, H, W, step, last, got \(3, "),
        (7, TypeError, r"argument s is a struct of on, H, .*, got 7 \(int\): pass a tuple"),
        (
            namedtuple("Other", "on W H step last")(*SHAPE),
            TypeError,
            r"argument s is a struct of on, H, W, step, last, got Other\(on=True, W=3,",
        ),
    ],
)
def test_a_struct_of_other_members_or_numbers(given, kind, message):
    with pytest.raises(kind, match="^structs: " + message):
        bind(signature("structs"), (a(7, dtype=np.float64), given, 9), {})


def test_the_largest_float_passes_and_the_next_number_does_not():
    k, largest = signature("strided"), 2.0**128 - 2.0**104

    def given(scale):
        return bind(k, (a(4), a(4), a(4), 4, scale), {"STEP": 1, "DOUBLED": True}).values[4]

    assert given(largest) == -given(-largest) == np.finfo(F32).max
    for beyond in (math.nextafter(largest, math.inf), -(2**128)):
        with pytest.raises(ValueError, match=r"float, which ends at 3\.40282e\+38, got"):
            given(beyond)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 0, -0.0])
def test_floats_that_are_no_ordinary_numbers_pass(value):
    args = (a(4), None, a(4), 4, value)
    bound = bind(signature("strided"), args, {"STEP": 1, "DOUBLED": True}, optional=("bias",))
    np.testing.assert_equal(bound.values[4], F32(value))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({}, "template argument STEP is missing.*pass STEP="),
        ({"STEP": 1}, "template argument DOUBLED is missing"),
        ({"STEP": 3, "DOUBLED": True}, "declared for STEP = 1, 2, got 3"),
        ({"STEP": 1.0, "DOUBLED": True}, "template argument STEP is an int, got 1.0"),
        ({"STEP": 1, "DOUBLED": 1}, "template argument DOUBLED is a bool, got 1"),
        ({"STEP": 1, "DOUBLED": True, "X": 1}, "strided has no template parameter 'X'"),
        ({"STEP": 1, "DOUBLED": True, "T": "real"}, "template argument T is a type, got 'real'"),
        ({"STEP": 1, "DOUBLED": True, "T": np.float64}, r"argument x points to double \(float64\)"),
    ],
)
def test_template_arguments(template, message):
    with pytest.raises(TypeError, match=message):
        bind(signature("strided"), (a(4), a(4), a(4), 4, 1.0), template)


def test_template_arguments_that_are_right():
    bound = bind(
        signature("strided"), (a(4), a(4), a(4), 4, 1), {"STEP": 2, "DOUBLED": True, "T": "float"}
    )
    assert bound.binding == {"T": "float", "STEP": "2", "DOUBLED": "true"}


def test_sixteen_bit_types():
    k = signature("half_arithmetic", KERNELS / "halves.cu")
    half = a(4, dtype=np.float16)
    assert bind(k, (half, half.copy(), a(8), 4), {}).binding == {"T": "__half"}
    bits = a(4, dtype=np.uint16)
    bound = bind(k, (bits, bits.copy(), a(8), 4), {"T": "nv_bfloat16"})
    assert bound.binding == {"T": "__nv_bfloat16"}
    with pytest.raises(TypeError, match="got unsigned short"):
        bind(k, (bits, bits.copy(), a(8), 4), {})


def test_a_bfloat16_is_passed_as_its_bits():
    # halfway between two, the even one
    numbers = {1.0: 0x3F80, 1 + 2**-8: 0x3F80, 1 + 3 * 2**-8: 0x3F82, -2.5: 0xC020}
    for number, bits in numbers.items():
        assert scalars.cast(number, "__nv_bfloat16", "k: argument x") == bits


def test_the_bfloat16_of_other_packages_is_known_by_its_name():
    theirs = SimpleNamespace(name="bfloat16")
    assert scalars.ctype_of(theirs) == "__nv_bfloat16"
    assert scalars.matches(theirs, "__nv_bfloat16")
    assert not scalars.matches(theirs, "__half")


class Cupy:
    """Stands in for CuPy: arrays that say where they live, and no GPU."""

    class ndarray:  # noqa: N801
        def __init__(self, shape, dtype=F32, device=0):
            host = np.zeros(shape, dtype)
            self.shape, self.dtype, self.flags = host.shape, host.dtype, host.flags
            self.strides, self.nbytes, self.size = host.strides, host.nbytes, host.size
            self.itemsize = host.itemsize
            self.device = SimpleNamespace(id=device)
            self.data = SimpleNamespace(ptr=id(self) * 1024)


def test_arrays_in_different_places(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", Cupy)
    first, second = Cupy.ndarray(4), Cupy.ndarray(4, device=1)
    assert str(relu(Cupy.ndarray(4), Cupy.ndarray(4), 4).device) == "cuda:0"
    with refused(ValueError, re.escape("argument y is on cuda:1, but x is on cuda:0")):
        relu(first, second, 4)
    with refused(ValueError, re.escape("argument y is on cpu, but x is on cuda:0")):
        relu(first, a(4), 4)


def test_without_any_array_nothing_says_where_to_run():
    with pytest.raises(TypeError, match="strided: no argument is an array"):
        bind(
            signature("strided"),
            (None, None, None, 4, 1.0),
            {"T": "float", "STEP": 1, "DOUBLED": True},
            optional=("x", "bias", "y"),
        )
    with pytest.raises(TypeError, match=r"T is missing and .* \(it is the type of no array\)"):
        bind(
            signature("strided"),
            (None, None, None, 4, 1.0),
            {"STEP": 1, "DOUBLED": True},
            optional=("x", "bias", "y"),
        )
