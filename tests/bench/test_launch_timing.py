"""Launches timed one by one, and matched with those of a profile."""

import numpy as np

from minialex import cuda
from minialex.arrays import CPU, Device
from minialex.bench import launch_timing
from minialex.bench.launch_timing import timed_launches
from minialex.study.profile import profiled
from minialex.study.profile.measured import key_of, matched
from minialex.study.profile.text import launch_rows, measured_total
from tests.capture_double import Gpu

RELU, BACKWARD = (cuda.kernel("relu.cu", f"relu_{name}") for name in ("forward", "backward"))
SIZES = 700, 300, 700


def launches(xp=np):
    def step():
        for n in SIZES:
            x, y = xp.ones(n, np.float32), xp.zeros(n, np.float32)
            RELU(cuda.blocks(n), 256, x, y, n)

    return step


def test_on_a_gpu_events_stand_on_either_side_of_each_launch(monkeypatch):
    gpu = Gpu.installed(monkeypatch)
    monkeypatch.setattr(launch_timing, "AHEAD_SIZE", 8)
    timed = timed_launches(
        launches(gpu.cupy), Device("cuda"), 3, lambda plan, values: (plan.grid, values[0].nbytes)
    )
    assert len(gpu.launched) == 3 * len(SIZES)
    assert [about for about, _ in timed] == [
        ((3, 1, 1), 2800),
        ((2, 1, 1), 1200),
        ((3, 1, 1), 2800),
    ]
    # the double's blocks take a microsecond
    np.testing.assert_allclose([seconds for _, seconds in timed], [3e-6, 2e-6, 3e-6])


def test_under_the_emulator_the_host_times_them():
    with cuda.emulated():
        timed = timed_launches(launches(), CPU, 2, lambda plan, _: plan.expression)
    assert [name for name, _ in timed] == ["relu_forward<float>"] * 3
    assert all(seconds > 0 for _, seconds in timed)


def test_of_launches_that_are_alike_the_first_goes_with_the_first():
    with profiled("A100") as profile:
        launches()()
        x = np.ones(300, np.float32)
        BACKWARD(cuda.blocks(300), 256, x, x.copy(), x.copy(), 300)
    keys = [key_of(launch.counts.plan) for launch in profile.launches]
    # the GPU made another launch, and none of the backward
    other = ("relu_forward<float>", (99, 1, 1), (256, 1, 1))
    found = matched(
        profile, "GPU", [(keys[1], 1e-6), (keys[0], 2e-6), (other, 3e-6), (keys[2], 4e-6)]
    )
    assert found.seconds == (2e-6, 1e-6, 4e-6, None)
    assert [row[-1] for row in launch_rows(profile, found)] == ["2", "1", "4", "not measured"]
    assert measured_total(found) == "measured on GPU: 0.007 ms for 3 of 4 launches"
    data = found.to_json(profile)
    assert data["measured_on"] == "GPU"
    assert [one["measured_seconds"] for one in data["launches"]] == [2e-6, 1e-6, 4e-6, None]
