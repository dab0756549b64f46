"""What C++ leaves undefined is reported, and a kernel that crashes leaves Python alive."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda.emulator.subscripts import subscripted
from tests.cuda.tools import ROOT, kernel, line_of

F32, I32 = np.float32, np.int32
FILE = "undefined.cu"
X = np.arange(64, dtype=I32)


def launch(name, *args, mode="checked", block=32, grid=1, seed=None):
    with cuda.emulated(mode, seed=seed, max_blocks=None):
        kernel(FILE, name)(grid, block, X, *args)


def caught(*args, **options):
    with pytest.raises(cuda.EmulationError) as info:
        launch(*args, **options)
    return info.value


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    ("fault", "array", "index", "extent"),
    [
        (1, "tile[t & 3]", 32, 32),
        (2, "own", 8, 8),
        (3, "rows[0].of", 4, 4),
        (4, "table", 16, 16),
        (5, "weights", 4, 4),
        (7, "tile", 8, 8),
    ],
)
def test_an_index_beyond_an_array_as_it_is_declared(fault, array, index, extent, seed):
    error = caught("bad_index", np.zeros(32, F32), fault, seed=seed)
    assert (error.kind, error.line) == ("out-of-bounds", line_of(FILE, f"UNDEFINED {array}"))
    assert (error.kernel, error.array) == ("bad_index", array.partition("[")[0])
    assert error.index >= index
    assert error.thread == ((error.index - (fault == 1)), 0, 0)
    assert error.index == index or seed is not None
    assert str(error).splitlines()[0] == (
        f"bad_index: out-of-bounds index: {array}[{error.index}] is past its end; "
        f"{array} has {extent} elements"
    )


def test_an_index_before_an_array():
    error = caught("bad_index", np.zeros(32, F32), 6)
    assert (error.line, error.index) == (line_of(FILE, "UNDEFINED own, before"), -1)
    assert "own[-1] is before its start" in str(error)


@pytest.mark.parametrize("mode", ["fast", "checked", "counted"])
def test_right_indices_are_not_accused(mode):
    launch("bad_index", np.zeros(32, F32), 0, mode=mode)
    y = np.zeros(16, F32)
    launch("ends", y, mode=mode, block=1)
    assert y[:1].tolist() == [28 + 12 + 6]
    assert y[9:13].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("line", "at", "rank", "expected"),
    [
        # g++: the bracket that closes it
        ("y += tile[i][33];", "];", 1, "tile[i]"),
        ("y += tile[9][3];", "][", 2, "tile"),
        ("y += s.a[n + b[2]] * 2;", "] *", 1, "s.a"),
        ("y += p->a[3];", "];", 1, "p->a"),
        ("y = (*p)[3];", "];", 1, ""),
        ("    [3];", "];", 1, ""),
        # clang: the beginning
        ("y += tile[i][33];", "tile", 1, "tile[i]"),
        ("y += tile[9][3];", "tile", 2, "tile"),
        ("y += s.a[n + b[2]] * 2;", "s.", 1, "s.a"),
        ("y += p->a[3];", "p", 1, "p->a"),
        ("y += AT(3);", "AT", 1, ""),
        ("y += tile[3]", "]  ", 1, ""),
    ],
)
def test_the_array_is_found_in_the_line(line, at, rank, expected):
    assert subscripted(line, line.find(at) + 1, rank) == expected


@pytest.mark.parametrize(
    ("fault", "ctype"), [(1, "int"), (2, "unsigned int"), (3, "long long"), (4, "overflow")]
)
def test_a_division_without_a_result(fault, ctype):
    for mode in "fast", "checked", "counted":
        error = caught("bad_division", np.zeros(32, I32), fault, mode=mode)
        assert error.kind == "division by zero"
        assert error.thread == (0, 0, 0)
        if mode != "fast":
            assert error.line == line_of(FILE, f"UNDEFINED {ctype}")
    launch("bad_division", np.zeros(32, I32), 0)


def test_a_division_by_zero_names_the_type():
    error = caught("bad_division", np.zeros(32, I32), 2)
    assert str(error).splitlines()[0] == (
        "bad_division: a division of unsigned int by zero: on a GPU the result is undefined"
    )


@pytest.mark.parametrize("fault", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("grid", [1, 512])
def test_a_crash_is_an_error(fault, grid):
    """Of all cores, too; and the next launch is right."""
    y = np.zeros(32, F32)
    error = caught("crash", y, fault, mode="fast", grid=grid)
    assert (error.kind, error.kernel) == ("crash", "crash")
    assert ("runs out of stack" if fault > 4 else "emulated('checked')") in str(error)
    assert error.thread != ()
    launch("crash", y, 0, mode="fast", grid=grid)
    assert (y == 1).all()


@pytest.mark.parametrize("mode", ["checked", "counted"])
@pytest.mark.parametrize("fault", [3, 5, 6])
def test_a_crash_of_a_watched_kernel_is_an_error(mode, fault):
    error = caught("crash", np.zeros(32, F32), fault, mode=mode)
    assert error.kind == "crash"
    assert (error.line == line_of(FILE, "UNDEFINED recursion")) == (fault > 4)


def program(text):
    command = [sys.executable, "-X", "faulthandler", "-c", text]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


BEGIN = """
import ctypes, threading, time
import numpy as np
from minialex import cuda
from tests.cuda.tools import kernel
x, y = np.zeros(64, np.int32), np.zeros(32, np.float32)
def launch(name, *args):
    with cuda.emulated():
        kernel("undefined.cu", name)(1, 32, x, *args)
try:
    launch("crash", y, 1)
except cuda.EmulationError as error:
    print(error.kind, flush=True)
"""


@pytest.mark.parametrize(
    "crash",
    [
        "ctypes.string_at(8)",
        "threading.Thread(target=launch, args=('endless',)).start(); time.sleep(0.5); "
        "ctypes.string_at(8)",
    ],
)
def test_a_crash_of_anything_else_goes_where_it_went(crash):
    done = program(BEGIN + crash)
    assert done.stdout == "crash\n"
    assert "Fatal Python error: Segmentation fault" in done.stderr
    assert "string_at" in done.stderr
    assert done.returncode == -11
