"""The trace: what one thread did, line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import source
from minialex.cuda.emulator import interface
from minialex.cuda.emulator.lines import Lines
from minialex.cuda.emulator.recording import RAW, recording
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.emulator.trace import trace_lines
from tests.cuda.tools import kernel, line_of

F32 = np.float32


def traced(name, grid, block, *args, file="features.cu", shared=0, **settings):
    written = []
    with cuda.emulated("traced", write=written.append, **settings) as emulation:
        kernel(file, name)(grid, block, *args, shared=shared)
    assert written == emulation.lines
    return written


def test_a_thread_is_followed_line_by_line():
    x = np.arange(6, dtype=F32).reshape(2, 3) - 2
    y = np.zeros_like(x)
    lines = []
    with cuda.emulated("traced", thread=(1,), block=(1,), write=lines.append):
        kernel("elementwise.cu", "rectify")(2, 4, x, y, 6)
    text = "if (i < n) y[i] = x[i] < T(0) ? T(0) : x[i];"
    assert lines == [
        "rectify<float>, grid (2, 1, 1), block (4, 1, 1): "
        "what thread (1, 0, 0) of block (1, 0, 0) does",
        f"elementwise.cu:{line_of('elementwise.cu', text)}".ljust(23) + text,
        "        reads   x[5] = x[1, 2]: 3.0",
        "        writes  y[5] = y[1, 2]: 3.0",
        "        returns",
    ]
    assert (y == np.maximum(x, 0)).all()


@pytest.mark.parametrize(
    ("mode", "name", "begins"),
    [
        ("fast", None, []),
        ("checked", "relu_forward", []),
        ("traced", "relu_forward", ["relu_forward<float>, grid (1, 1, 1), block (4, 1, 1): what"]),
    ],
)
def test_nothing_is_traced_but_what_was_asked_for(mode, name, begins):
    x, y, gx = np.zeros((3, 4), F32)
    with cuda.emulated(mode, kernel=name, write=lambda line: None) as emulation:
        cuda.kernel("relu.cu", "relu_backward")(1, 4, y, x, gx, 4)
        cuda.kernel("relu.cu", "relu_forward")(1, 4, x, y, 4)
    assert [line.partition(" thread")[0] for line in emulation.lines[:1]] == begins


def test_shared_memory_and_barriers_in_order():
    x = np.arange(16, dtype=F32).reshape(4, 4)
    lines = traced("transpose", 1, (8, 8), x, np.zeros((4, 4), F32), 4, 4, thread=(1, 2))
    short = [line.strip() if line.startswith(" ") else line.split(":")[0] for line in lines[1:]]
    assert short == [
        "features.cu",
        "reads   x[9] = x[2, 1]: 9.0",
        "writes  tile[2][1]: 9.0",
        "features.cu",
        "waits at the barrier",
        "features.cu",
        "reads   tile[1][2]: 6.0",
        "writes  y[9] = y[2, 1]: 6.0",
        "returns",
    ]
    assert "__syncthreads();" in lines[4]


def test_atomics_tell_before_and_after():
    x = np.array([3, 3, 3], np.int32)
    out = np.full(8, 10, F32)
    lines = [line.strip() for line in traced("histogram", 1, 8, x, out, 3, thread=(2,))]
    assert "changes bins[3]: 2.0 to 3.0" in lines
    assert "changes out[2]: 10.0 to 10.0" in lines


def test_warp_primitives_tell_what_was_given_and_got():
    x = np.arange(32, dtype=F32)
    lines = [line.strip() for line in traced("shuffles", 1, 32, x, np.zeros(256, F32), thread=(4,))]
    assert [line for line in lines if line.startswith("gives")] == [
        f"gives 4.0, gets {got}"
        for got in ("5.0", "1.0", "11.0", "13.0", "5.0", "3.0", "6.0", "5.0")
    ]


def test_vectors_halves_and_parts():
    x = np.arange(128, dtype=F32)
    lines = traced("vectors", 1, 32, x, np.zeros(128, F32), np.zeros(128, np.uint8), thread=(2,))
    # A compiler may read the vector in one piece or in four.
    whole = "        reads   x[8] and the next 3: 8.0, 9.0, 10.0, 11.0"
    assert whole in lines or {f"        reads   x[{i}]: {i}.0" for i in range(8, 12)} <= {*lines}
    assert "        writes  z[8] and the next 3: 2, 3, 4, 5" in lines
    half = np.arange(8, dtype=np.float16) / 4
    lines = traced(
        "half_arithmetic", 1, 8, half, np.zeros(32, np.float16), np.zeros(16, F32), 8,
        file="halves.cu", thread=(3,),
    )  # fmt: skip
    assert "        reads   x[3]: 0.75" in lines
    assert "        writes  y[11]: 0.75" in lines


def test_a_loop_shows_its_barriers_again_in_every_round():
    A = np.ones((16, 16), F32)
    lines = traced(
        "product", (2, 2), (8, 8), A, A.copy(), np.zeros_like(A), 16, 0, file="faults.cu"
    )
    barrier = f"faults.cu:{line_of('faults.cu', '// after the load')}"
    assert sum(line.startswith(barrier) for line in lines) == 2
    assert sum("waits at the barrier" in line for line in lines) == 4


def test_a_thread_that_a_launch_does_not_have():
    x, lines = np.zeros(5, F32), []
    with cuda.emulated("traced", thread=(4,), write=lines.append):
        for threads in 4, 5:
            kernel("features.cu", "constants")(1, threads, x)
    assert lines[:2] == [
        "constants, grid (1, 1, 1), block (4, 1, 1): has no thread (4, 0, 0) of block (0, 0, 0)",
        "constants, grid (1, 1, 1), block (5, 1, 1): what thread (4, 0, 0) of block (0, 0, 0) does",
    ]


def test_a_trace_finds_faults_as_well():
    with (
        pytest.raises(cuda.EmulationError, match="race"),
        cuda.emulated("traced", write=lambda line: None),
    ):
        kernel("faults.cu", "same_place")(4, 1, np.zeros(1, np.int32))


@pytest.mark.parametrize(
    ("kept", "last"),
    [(10, "... and 95 more"), (104, "... and 1 more"), (105, "        returns")],
)
def test_a_long_trace_is_cut_and_says_so(monkeypatch, kept, last):
    monkeypatch.setattr("minialex.cuda.emulator.machine.MAX_EVENTS_OF_A_THREAD", kept)
    lines = traced("row_sums", 1, 1, np.zeros((1, 100)), np.zeros(1), 100, shared=8)
    assert lines[0].endswith("what thread (0, 0, 0) of block (0, 0, 0) does")
    assert lines[-1] == last


def event(kind, raw, *, region=0, offset=0, result=b"", code=b"f", width=4):
    """Return what the runtime writes down of an access to `raw` in a thread without a line."""
    made = np.zeros((), RAW)
    made["kind"], made["array"], made["offset"], made["bytes"] = kind, region, offset, len(raw)
    made["value"], made["result"] = np.void(raw.ljust(16, b"\0")), np.void(result.ljust(16, b"\0"))
    made["code"], made["width"] = code, width
    return made


def test_numbers_of_every_type_and_parts_of_them():
    arrays = [
        NamedArray("x", (2, 3, 2), 4, "f", False),
        NamedArray("h", (4,), 2, "h", False),
        NamedArray("b", (4,), 2, "b", False),
        NamedArray("n", (4,), 8, "i", False),
        NamedArray("u", (4,), 1, "u", False),
        NamedArray("s", (2, 2), 4, "?", True),
    ]
    floats = np.array([1.5, -2], F32).tobytes()
    events = [
        event(interface.READ, floats, offset=36),
        event(interface.READ, floats[:4]),
        event(interface.READ, floats[2:4], offset=10),
        event(interface.WRITE, bytes(2), region=1, result=np.float16(-0.5).tobytes()),
        # the upper halves of 1 and -2
        event(interface.READ, b"\x80\x3f\x00\xc0", region=2, offset=2),
        event(interface.ATOMIC, bytes(8), region=3, offset=24, result=b"\xfe" + b"\xff" * 7),
        event(interface.READ, b"\xfe", region=4, offset=3),
        event(interface.READ, b"\x01\x02\x03\x04", region=5, offset=8),
        event(interface.WARP, b"\x07\x00", result=b"\x08\x00", code=b"i", width=2),
        event(interface.BARRIER, b""),
        event(interface.END, b""),
    ]
    lines = Lines(Path("no library"), source.read("relu.cu"))
    whole = recording("k", (1, 1, 1), (1, 1, 1), arrays, np.array(events), len(events), lines)
    assert [line.strip() for line in trace_lines(whole)] == [
        "reads   x[9] = x[1, 1, 1] and the next 1: 1.5, -2.0",
        "reads   x[0] = x[0, 0, 0]: 1.5",
        "reads   x[2] = x[0, 1, 0]: 0x3fc0",
        "writes  h[0]: -0.5",
        "reads   b[1] and the next 1: 1.0, -2.0",
        "changes n[3]: 0 to -2",
        "reads   u[3]: 254",
        "reads   s[1][0]: 0x04030201",
        "gives 7, gets 8",
        "waits at the barrier",
        "returns",
    ]
