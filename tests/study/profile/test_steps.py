"""Steps of warps, from recordings made by hand and from the emulator's."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from minialex import cuda
from minialex.study.profile.steps import line_costs, warp_steps
from tests.cuda.patterns import PATTERNS
from tests.cuda.tools import kernel
from tests.study.profile import made_recordings as made


def test_a_request_has_the_lanes_that_went_together():
    events = made.accesses(0, made.READ, 0, made.strided(32, 8), cost=8, least=4)
    (step,) = warp_steps(made.recorded(events))
    assert (step.kind, step.warp, step.phase, step.file, step.line) == ("read", 0, 0, "made.cu", 1)
    assert (step.array, step.width, step.threads, step.states) == (0, 4, 32, "*" * 32)
    assert step.offsets.tolist() == [8 * lane for lane in range(32)]
    assert (step.cost, step.least) == (8, 4)


def test_why_a_lane_takes_no_part():
    events = [
        *made.accesses(0, made.READ, 0, {0: 0}),
        *made.accesses(1, made.READ, 0, {1: 4}),
        made.event(3, made.END),
        *[made.event(n, made.BARRIER) for n in (0, 1, 2)],
        *made.accesses(2, made.READ, 0, {2: 8}, phase=1),
        *[made.event(n, made.END, phase=1) for n in (0, 1, 2)],
    ]
    first, second, barrier, third = warp_steps(made.recorded(events, threads=4))
    nothing = "." * 28
    # lane 1 reads later; 2 waits at the barrier; 3 has returned
    assert first.states == "*dbr" + nothing
    assert second.states == "b*br" + nothing
    assert (barrier.kind, barrier.warp, barrier.threads, barrier.states) == ("barrier", -1, 3, "")
    assert third.states == "rr*r" + nothing


def test_a_barrier_of_a_warp_is_a_step_of_that_warp():
    events = [made.event(n, made.BARRIER, request=0, line=7) for n in range(32)]
    (step,) = warp_steps(made.recorded(events))
    assert (step.kind, step.warp, step.line, step.array, step.cost) == ("warp", 0, 7, -1, 0)


def test_nothing_recorded_is_no_step():
    assert warp_steps(made.recorded([])) == []


def transposed():
    x, y = np.arange(16, dtype=np.float32).reshape(4, 4), np.zeros((4, 4), np.float32)
    with cuda.emulated("traced", every_thread=True) as emulation:
        kernel("features.cu", "transpose")(1, (8, 8), x, y, 4, 4)
    return emulation.recordings[0], y


def test_every_event_is_in_one_step_and_lanes_keep_their_order():
    recording, _ = transposed()
    steps = warp_steps(recording)
    of_warps = np.concatenate([s.events[s.events >= 0] for s in steps if s.kind != "barrier"])
    assert sorted(of_warps) == np.flatnonzero(recording.events["request"] >= 0).tolist()
    for lane in range(32):
        mine = [int(s.events[lane]) for s in steps if s.warp == 0 and s.events[lane] >= 0]
        assert mine == sorted(mine)
    assert [(s.kind, s.phase) for s in steps] == [
        ("read", 0), ("write", 0), ("barrier", 0), ("read", 1), ("write", 1),
    ]  # fmt: skip


def test_writes_step_by_step_give_the_output():
    recording, y = transposed()
    out = np.zeros(16, np.float32)
    for step in warp_steps(recording):
        if step.kind == "write" and recording.arrays[step.array].name == "y":
            raw = recording.events["result"][step.events[step.events >= 0]].tobytes()
            out[step.offsets[step.offsets >= 0] // 4] = np.frombuffer(raw, np.float32)[::4]
    assert (out.reshape(4, 4) == y).all()


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_all_blocks_together_are_what_was_counted(pattern):
    with cuda.emulated("counted", max_blocks=None) as emulation:
        pattern.launch()
    (counts,) = emulation.counts
    found: Counter = Counter()
    for block in np.ndindex(*counts.grid):
        with cuda.emulated("traced", every_thread=True, block=block) as emulation:
            pattern.launch()
        (recording,) = emulation.recordings
        for line in line_costs(warp_steps(recording), recording):
            key = line.file, line.line, line.access, line.array, line.width
            for name in ("requests", "lanes", "cost", "least"):
                found[*key, name] += getattr(line, name)
    wanted: Counter = Counter()
    for row in counts.memory:
        key = row.file, row.line, row.access, row.array, row.width
        unit = "wavefronts" if row.memory == "shared" else "sectors"
        wanted[*key, "requests"] += row.requests
        wanted[*key, "lanes"] += row.lanes
        wanted[*key, "cost"] += getattr(row, unit)
        wanted[*key, "least"] += getattr(row, f"least_{unit}")
    assert found == wanted


def test_what_is_wider_than_an_instruction_costs_all_of_its_pieces(tmp_path):
    path = tmp_path / "copy_wide.cu"
    path.write_text("""struct Wide { float v[8]; };
        __global__ void copy_wide(const float* __restrict__ x, float* __restrict__ y) {
            const auto* from = reinterpret_cast<const Wide*>(x);
            reinterpret_cast<Wide*>(y)[threadIdx.x] = from[threadIdx.x];
        }""")
    x, y = np.ones((2, 256), np.float32)
    with cuda.emulated("traced", every_thread=True) as emulation:
        cuda.kernel(path, "copy_wide")(1, 32, x, y)
    # each piece of 16 bytes touches a sector of every lane
    assert {(step.cost, step.least) for step in warp_steps(emulation.recordings[0])} == {(64, 32)}
