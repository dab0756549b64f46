"""Launches after the first go by a plan: they are refused and run just as the first is."""

from __future__ import annotations

import ctypes
import functools
import gc
import re
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import emulator, gpu, launch, plan, source
from minialex.errors import MinialexError
from tests.cuda.test_arguments import Cupy
from tests.cuda.tools import SHAPE, kernel
from tests.device_double import forget_gpus

F32 = np.float32


def a(*shape, dtype=F32):
    return np.zeros(shape, dtype)


@pytest.fixture
def seen(monkeypatch):
    """Put a list of launches in the emulator's place: what each kernel is handed."""
    launches = []
    monkeypatch.setattr(emulator, "launch", lambda plan, values: launches.append((plan, values)))
    return launches


@pytest.fixture
def checks(monkeypatch):
    """Count how often arguments are checked whole."""
    bind, counted = launch.bind, []

    def counting(*args, **options):
        counted.append(args)
        return bind(*args, **options)

    monkeypatch.setattr(launch, "bind", counting)
    return counted


def strided(k, x, y, bias=None, n=4, scale=1.0, grid=1, block=32, shared=0, **template):
    k(
        grid,
        block,
        x,
        bias,
        y,
        n,
        scale,
        shared=shared,
        **({"STEP": 1, "DOUBLED": False} | template),
    )


def test_like_launches_are_checked_whole_once(seen, checks):
    k = cuda.kernel("relu.cu", "relu_forward")
    for _ in range(3):
        x, y = a(4), a(4)
        k(1, 32, x, y, 4)
        assert seen[-1][1][0] is x
        assert seen[-1][1][1] is y
        assert seen[-1][1][2] == 4
    assert len(checks) == 1


def read_only(*shape):
    x = a(*shape)
    x.flags.writeable = False
    return x


def overlapping():
    memory = a(6)
    return {"x": memory[:4], "y": memory[2:]}


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"n": True}, TypeError, "argument n is an int, got True"),
        ({"n": 4.0}, TypeError, "argument n is an int, got 4.0"),
        ({"n": [4]}, TypeError, "argument n is an int, got"),
        ({"scale": True}, TypeError, "argument scale is a float, got True"),
        ({"scale": 1e39}, ValueError, "argument scale is a float, which ends at"),
        ({"STEP": True}, TypeError, "template argument STEP is an int, got True"),
        ({"STEP": 1.0}, TypeError, "template argument STEP is an int, got 1.0"),
        ({"DOUBLED": 0}, TypeError, "template argument DOUBLED is a bool, got 0"),
        ({"grid": True}, TypeError, "grid must be one to three ints, got True"),
        ({"grid": 1.0}, TypeError, "grid must be one to three ints, got 1.0"),
        ({"grid": (1, True)}, TypeError, r"grid must be one to three ints, got \(1, True\)"),
        ({"block": (32.0,)}, TypeError, "block must be one to three ints"),
        ({"shared": False}, ValueError, "shared must be 0 to .* got False"),
        ({"x": a(8)[::2]}, ValueError, "argument x must be C-contiguous"),
        ({"x": a(4, dtype=np.float64)}, TypeError, "argument x points to float .*got float64"),
        ({"y": read_only(4)}, ValueError, "argument y is written to, got a read-only array"),
        ({"x": [0.0] * 4}, TypeError, "argument x points to float, got list"),
        ({"x": None}, TypeError, "argument x points to float, got NoneType"),
        ({"bias": 1.0}, TypeError, "argument bias points to float, got float"),
        (overlapping(), ValueError, "arguments x and y overlap in memory.*__restrict__"),
        ({"X": 1}, TypeError, "has no template parameter 'X'"),
    ],
)
def test_what_differs_in_one_thing_is_refused_as_a_first_launch_is(changed, kind, message):
    def refusal(k):
        with pytest.raises(kind, match=f"^strided.*{message}") as caught:
            strided(k, **({"x": a(4), "y": a(4), "T": "float"} | changed))
        return str(caught.value)

    fresh = refusal(kernel("features.cu", "strided", optional=("bias",)))
    k = kernel("features.cu", "strided", optional=("bias",))
    with cuda.emulated():
        strided(k, a(4), a(4), T="float")
        assert refusal(k) == fresh
        # and leaves the plan as it was
        strided(k, a(4), a(4), T="float")


@pytest.mark.parametrize("changed", [{"W": -5.0}, {"on": 1}, {"H": True}, {"last": 256}])
def test_a_struct_that_differs_in_one_member_is_refused_as_a_first_launch_is(changed):
    k, out = kernel("features.cu", "structs"), np.zeros(7)
    given = SHAPE._replace(**changed)
    with pytest.raises((TypeError, ValueError), match=r"^structs: argument s\.") as first:
        k(1, 1, out, given, 9)
    with cuda.emulated():
        k(1, 1, out, SHAPE, 9)
        with pytest.raises((TypeError, ValueError), match=re.escape(str(first.value))):
            k(1, 1, out, given, 9)


def test_a_struct_of_equal_members_is_not_checked_again(seen, checks):
    k = kernel("features.cu", "structs")
    for shape in (SHAPE, SHAPE._replace(), SHAPE._replace(H=4), SHAPE):
        k(1, 1, np.zeros(7), shape, 9)
        assert seen[-1][1][1].item() == tuple(shape)
    assert len(checks) == 2
    assert seen[-1][0].sizes == SHAPE._asdict() | {"n": 9}


def test_arguments_too_many_and_too_few_are_refused_after_a_right_launch(seen):
    k = cuda.kernel("relu.cu", "relu_forward")
    k(1, 32, a(4), a(4), 4)
    for args in ((a(4), a(4)), (a(4), a(4), 4, 4), ()):
        with pytest.raises(TypeError, match=rf"takes 3 arguments \(x, y, n\), got {len(args)}"):
            k(1, 32, *args)


def test_a_stated_shape_is_looked_at_each_time(seen):
    k = cuda.kernel("relu.cu", "relu_forward")
    for _ in range(2):
        k(1, 32, a(2, 3), a(2, 3), 6)
        k(1, 32, a(2, 3), a(2, 3), 6, shapes={"y": (2, 3)})
        with pytest.raises(ValueError, match=r"argument y must have shape \(3, 2\), got \(2, 3\)"):
            k(1, 32, a(2, 3), a(2, 3), 6, shapes={"y": (3, 2)})


def test_null_pointers_are_for_the_kernel_that_allows_them_alone(seen):
    allows, refuses = (kernel("features.cu", "strided", optional=o) for o in (("bias",), ()))
    x, y, b = a(4), a(4), a(4)
    for _ in range(2):
        strided(allows, x, y)
        assert seen[-1][1][1] == 0
        strided(allows, x, y, bias=b)
        assert seen[-1][1][1] is b
        with pytest.raises(TypeError, match="argument bias points to float, got NoneType"):
            strided(refuses, x, y)


def test_numbers_that_change_from_step_to_step_need_no_new_plan(seen, checks):
    k = kernel("features.cu", "strided", optional=("bias",))
    for scale in (0.0, -0.0, 0.5, float("nan"), float("inf")):
        strided(k, a(4), a(4), scale=scale)
        got = seen[-1][1][4]
        assert got.dtype == F32
        np.testing.assert_equal(got, F32(scale))
        assert np.signbit(got) == np.signbit(scale)
    assert len(checks) == 1


def test_grids_and_blocks_do_not_run_into_each_other(seen):
    k = cuda.kernel("relu.cu", "relu_forward")
    for grid, block in (((2,), (32, 1)), ((2, 32), 1), (2, (32, 1, 1)), ([2], [32])):
        k(grid, block, a(4), a(4), 4)
    assert [(p.grid, p.block) for p, _ in seen] == [
        ((2, 1, 1), (32, 1, 1)),
        ((2, 32, 1), (1, 1, 1)),
        ((2, 1, 1), (32, 1, 1)),
        ((2, 1, 1), (32, 1, 1)),
    ]


def test_numbers_are_those_of_their_launch(seen):
    k, x, y = cuda.kernel("relu.cu", "relu_forward"), a(4), a(4)
    for n in (4, 3, np.int64(4), 3):
        k(1, 32, x, y, n)
    assert [values[2] for _, values in seen] == [4, 3, 4, 3]
    assert {values[2].dtype for _, values in seen} == {np.dtype(np.int32)}


def test_arrays_that_touch_and_empty_ones_go_by_their_plan(seen, checks):
    k, memory = cuda.kernel("relu.cu", "relu_forward"), a(8)
    for first, second in (((0, 4), (4, 8)), ((4, 8), (0, 4))) * 2:
        k(1, 32, memory[slice(*first)], memory[slice(*second)], 4)
    # A slice of no elements begins where its array does.
    empty = np.ndarray(0, F32, memory, offset=8)
    for _ in range(2):
        k(1, 32, empty, memory, 0)
    assert len(seen) == 6
    assert len(checks) == 2


def test_an_edited_or_forgotten_file_is_read_again(seen, checks):
    k = cuda.kernel("relu.cu", "relu_forward")
    run = functools.partial(k, 1, 32, a(4), a(4), 4)
    run()
    with cuda.edited("relu.cu", "0 : pack[k]", "1 : pack[k]"):
        run()
        assert "1 : pack[k]" in seen[-1][0].source.text
    run()
    assert "1 : pack[k]" not in seen[-1][0].source.text
    source.clear_cache()
    run()
    assert len(checks) == 4


def test_a_plan_serves_every_mode_of_the_emulator_and_none_without():
    k = cuda.kernel("relu.cu", "relu_forward")
    x, y = a(64), a(64)
    one_too_many = cuda.edited("relu.cu", "(n, begin_vectors(x", "(n + 1, begin_vectors(x")
    with one_too_many, cuda.emulated() as fast:
        k(1, 64, x[:32], y[:32], 32)
        assert sum(fast.launches.values()) == 1
        with cuda.emulated("checked"), pytest.raises(cuda.EmulationError, match=r"past its end"):
            k(1, 64, x[:32], y[:32], 32)
    with pytest.raises(MinialexError, match=r"with minialex\.emulated\(\):"):
        k(1, 64, x[:32], y[:32], 32)


def test_plans_hold_no_arrays(seen):
    k, x = cuda.kernel("relu.cu", "relu_forward"), a(4)
    k(1, 32, x, a(4), 4)
    alive = weakref.ref(x)
    del x
    seen.clear()
    gc.collect()
    assert alive() is None


def test_plans_are_bounded(seen, monkeypatch):
    monkeypatch.setattr(plan, "MAX_PLANS", 8)
    k = cuda.kernel("relu.cu", "relu_forward")
    for n in range(1, 30):
        k(1, 32, a(n), a(n), n)
        assert 1 <= len(k._launcher._plans._plans) <= 8
        assert seen[-1][1][2] == n


def test_threads_share_plans_while_files_are_forgotten(monkeypatch):
    wrong = []

    def launched(plan, values):
        x, y, n = values
        if not x.size == y.size == n:
            wrong.append(values)

    monkeypatch.setattr(emulator, "launch", launched)
    monkeypatch.setattr(plan, "MAX_PLANS", 8)
    k = cuda.kernel("relu.cu", "relu_forward")

    def run(first):
        for i in range(300):
            n = 1 + (first + i) % 20
            k(1, 32, a(n), a(n), n)
            if i % 50 == 0:
                source.clear_cache()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert not wrong


# ---- on CuPy arrays ------------------------------------------------------------------------------


@pytest.fixture
def cupy(monkeypatch):
    """CuPy's face with two GPUs, which notes each launch and the device it was made on."""

    class Fake(Cupy):
        current, entered, launches = 0, [], []

        class RawModule:
            def __init__(self, **_):
                pass

            def get_function(self, name):
                return lambda grid, block, args, *, shared_mem: Fake.launches.append(
                    (Fake.current, args)
                )

        class cuda:  # noqa: N801
            class Device:
                compute_capability = "90"

                def __init__(self, index):
                    self.index = index

                def __enter__(self):
                    self.before, Fake.current = Fake.current, self.index
                    Fake.entered.append(self.index)

                def __exit__(self, *_):
                    Fake.current = self.before

            runtime = SimpleNamespace(getDevice=lambda: Fake.current)
            compiler = SimpleNamespace(CompileException=type("Refused", (Exception,), {}))

    monkeypatch.setitem(sys.modules, "cupy", Fake)
    forget_gpus(monkeypatch)
    return Fake


def test_a_device_is_entered_only_where_another_is_the_current_one(cupy, checks):
    k = cuda.kernel("relu.cu", "relu_forward")
    for index in (0, 1, 0, 1):
        k(1, 32, cupy.ndarray(4, device=index), cupy.ndarray(4, device=index), 4)
    assert [on for on, _ in cupy.launches] == [0, 1, 0, 1]
    assert cupy.entered == [1, 1]
    assert len(checks) == 2
    with pytest.raises(ValueError, match="argument y is on cuda:1, but x is on cuda:0"):
        k(1, 32, cupy.ndarray(4), cupy.ndarray(4, device=1), 4)


def test_cupy_takes_numbers_that_were_made_ready_for_it():
    pointer = pytest.importorskip("cupy.cuda.function", reason="CuPy is not installed").CPointer
    bits = [(np.bool_(True), 1), (np.int32(-5), 4), (np.uint64(2**64 - 1), 8), (F32(-0.0), 4)]
    for value, size in bits:
        ready = gpu.by_value(value)
        # What is one of these is passed as it is.
        assert isinstance(ready, pointer)
        assert ctypes.string_at(ready.ptr, size) == value.tobytes()


def test_cupy_takes_the_bytes_of_a_struct():
    passed = pytest.importorskip("cupy.cuda.function", reason="CuPy is not installed").CNumpyArray
    value = np.array((1, -2.5), np.dtype([("n", "i4"), ("x", "f8")], align=True))[()]
    ready = gpu.by_value(value)
    # What CuPy makes of a NumPy array at a launch points to the array's own bytes.
    assert isinstance(ready, np.ndarray)
    assert ctypes.string_at(passed(ready).ptr, 16) == value.tobytes()


def test_without_that_class_numpys_numbers_are_passed(cupy):
    assert gpu.by_value(np.int32(3)) == 3
    assert isinstance(gpu.by_value(np.int32(3)), np.int32)
