"""Blocks fit on every architecture: threads, registers, shared memory."""

from __future__ import annotations

import pytest

from minialex.cuda.architectures import ARCHITECTURES
from minialex.study import budgets
from tests.cuda.launches import launches
from tests.cuda.tools import ROOT, launch_bounds, too_much


@pytest.mark.parametrize("version", budgets.read(ROOT))
def test_every_launch_fits(version):
    sections, tried = budgets.read(ROOT)[version], 0
    for launch in launches():
        for key, said in budgets.lines(sections[launch.file]).items():
            kernel, _, architecture = key.rpartition(" ")
            if kernel == launch.kernel:
                takes = budgets.numbers(said)
                exceeded = too_much(
                    architecture,
                    threads=launch.threads,
                    registers=takes["registers"],
                    shared=takes["shared"],
                    dynamic_shared=launch.dynamic_shared,
                )
                assert not exceeded, (launch, architecture)
                tried += 1
    floats = [launch for launch in launches() if "double" not in launch.kernel]
    assert tried >= 5 * len(floats) > 0


def test_no_launch_is_larger_than_its_launch_bounds():
    for launch in launches():
        assert launch.threads <= launch_bounds(launch.file).get(launch.kernel, 1024), launch


def test_a_training_step_is_among_the_launches():
    kernels = {launch.kernel for launch in launches()}
    assert {"conv2d_forward_implicit_gemm<float, 16>", "rmsprop<float>"} <= kernels
    assert {"conv2d_forward_tf32x3<float, 16>", "relu_forward<double>"} <= kernels


def test_shared_memory_of_a_block_is_as_the_programming_guide_has_it():
    """CUDA Programming Guide, "Compute Capabilities": KB of shared memory per thread block."""
    kilobytes = {70: 96, 75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
    for architecture in ARCHITECTURES.values():
        assert architecture.shared_per_block == 1024 * kilobytes.pop(architecture.capability, 227)
    assert not kilobytes


@pytest.mark.parametrize(
    ("takes", "exceeded"),
    [
        ({"threads": 1025, "registers": 16, "shared": 0}, ["threads: 1025 > 1024"]),
        ({"threads": 1024, "registers": 64, "shared": 0}, []),
        ({"threads": 1024, "registers": 65, "shared": 0}, ["registers: 73728 > 65536"]),
        ({"threads": 32, "registers": 256, "shared": 0}, ["registers of a thread: 256 > 255"]),
        ({"threads": 257, "registers": 168, "shared": 0}, []),
        ({"threads": 257, "registers": 169, "shared": 0}, ["registers: 67584 > 65536"]),
        ({"threads": 1, "registers": 9, "shared": 49153}, ["static shared memory: 49153 > 49152"]),
        ({"threads": 1, "registers": 9, "shared": 49152, "dynamic_shared": 16384}, []),
        (
            {"threads": 1, "registers": 9, "shared": 49152, "dynamic_shared": 16385},
            ["shared memory: 65537 > 65536"],
        ),
    ],
)
def test_too_much_is_told(takes, exceeded):
    assert too_much("sm_75", **takes) == exceeded
