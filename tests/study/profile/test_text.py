"""The table of lines says what the compiler made of each access."""

from __future__ import annotations

import json

import numpy as np

from minialex import cuda, ops
from minialex.autograd import using
from minialex.cuda import nvrtc
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile import profiled, resources, text
from minialex.study.profile.least_time import LeastTime
from minialex.study.profile.profiler import LaunchProfile
from tests.cuda.tools import disassembles
from tests.study.profile import made_up


def profile_of_a_relu():
    x, y = np.ones(1024, np.float32), np.zeros(1024, np.float32)
    with profiled("A100") as profile:
        cuda.kernel("relu.cu", "relu_forward")(4, 256, x, y, 1024)
    return profile


@disassembles
def test_a_row_names_the_instructions_of_the_machine_code():
    profile = profile_of_a_relu()
    (launch,) = profile.launches
    rows = {row[2]: row[1] for row in text.line_rows(launch)}
    assert rows == {"x": "read 16 B: LDG.128", "y": "write 16 B: STG.128"}
    (found,) = json.loads(json.dumps(profile.to_json()))["launches"]
    kinds = [one["kind"] for one in found["machine_code"]]
    assert {"LDG.128", "STG.128"} <= set(kinds)


def test_without_machine_code_a_row_says_what_was_written(monkeypatch):
    monkeypatch.setattr(nvrtc, "why_missing", lambda: "needs NVRTC")
    resources._code.cache_clear()
    try:
        (launch,) = profile_of_a_relu().launches
        rows = {row[2]: row[1] for row in text.line_rows(launch)}
        assert rows == {"x": "read 16 B", "y": "write 16 B"}
        assert "registers and occupancy: not known, needs NVRTC" in text.summary(launch)
    finally:
        resources._code.cache_clear()


def test_a_launch_that_instructions_bound_says_which_lines_take_them():
    """Of 2 in 25 the loop loads and jumps; 2 lines add, 7 and 16; the last 3 run once a warp."""
    machine = made_up.code(
        "4 again: LDS R4, [R1]",
        *["5 IADD3 R4, R4, R5, RZ"] * 7,
        *["6 IADD3 R4, R4, R5, RZ"] * 16,
        "4 @P0 BRA `(again)",
        "7 MOV R1, R2",
        "8 STG.E [R2.64], R4",
        "9 EXIT",
    )
    warps, blocks = 8, 10_000
    rows = (
        made_up.row(4, "read", "tile", "shared", requests=1000 * warps * blocks),
        made_up.row(8, "write", "y", requests=warps * blocks),
    )
    launch = LaunchProfile(
        made_up.counts(*rows, blocks=blocks, threads=32 * warps, arrays=[("y", 4096)]),
        known_gpu("A100"),
    )
    vars(launch)["resources"] = made_up.resources(machine, threads=32 * warps)
    vars(launch)["least"] = LeastTime(4096, 0, 1e-6, "memory")
    assert launch.predicted.binding == "ALU"
    assert text.summary(launch)[-1] == (
        "most instructions: made_up.cu:6 64 %, made_up.cu:5 28 %, made_up.cu:4 8 %"
    )
    assert launch.instructions[3:] == [(made_up.FILE, n, warps * blocks) for n in (7, 8, 9)]


def test_a_launch_below_its_floor_is_marked_and_it_is_said_why():
    profile, other = profile_of_a_relu(), profile_of_a_relu()
    assert text.below_floor(profile) == ""
    (launch,) = profile.launches
    times = text.LAUNCH_HEADINGS.index("times")
    assert "*" not in text.launch_rows(profile)[0][times]
    vars(launch)["least"] = LeastTime(4096, 0, 2 * launch.predicted.seconds, "memory")
    profile.launches.extend(other.launches)
    marked, unmarked = text.launch_rows(profile)
    assert marked[times] == "0.5*"
    assert "*" not in "".join(unmarked)
    assert text.below_floor(profile).startswith("* below the floor: what blocks that were not run")


def test_what_launches_no_kernel_is_said_to_be_missing():
    x = np.ones(64, np.float32)
    with profiled() as profile, using(relu="plain"):
        ops.relu(x)
        ops.log(x)  # has no other implementation
        assert text.implementations(profile) == "implementations: relu=plain, all without kernels"
        ops.softmax(x.reshape(8, 8))
    missing = "; without kernels, and so without times: relu=plain"
    assert text.implementations(profile) == f"implementations: relu=plain softmax=kernel{missing}"
