"""Runs kernels of ``tests/cuda/foreign``, right ones and ones with a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minialex
from minialex import cuda
from minialex.arrays import CPU
from minialex.cuda import nvrtc, source
from minialex.cuda.arguments import bind
from minialex.cuda.signature import signature
from tests.cuda.foreign.case import Case, Launch, from_bfloat16


def run(case: Case, mode: str, **options: Any) -> tuple[Launch, dict[str, np.ndarray]]:
    """Launch a kernel; return the launch and what ``__device__`` variables hold afterwards."""
    launch = case.launch(np.random.default_rng(0))
    variables = cuda.variables(case.path)
    about = {"architecture": launch.architecture, "max_blocks": None, **options}
    with minialex.emulated(mode, **about):
        for name, array in launch.variables.items():
            variables[name] = array
        kernel = cuda.kernel(case.path, case.kernel)
        kernel(launch.grid, launch.block, *launch.args, shared=launch.shared, **launch.template)
        return launch, {name: variables[name] for name in launch.left}


def compile_for_gpu(case: Case) -> nvrtc.Usage:
    """Compile the instantiation that a case launches with NVRTC."""
    launch = case.launch(np.random.default_rng(0))
    declared = signature(source.read(case.path), case.kernel)
    names = [p.name for p in declared.parameters]
    bound = bind(declared, launch.args, launch.template, optional=names, default=CPU)
    expression = declared.expression(bound.binding)
    (usage,) = nvrtc.usage(case.path, launch.architecture, [expression])
    return usage


def assert_right(case: Case, mode: str, **options: Any) -> None:
    """Run a kernel; hold its results to what its case says."""
    launch, left = run(case, mode, **options)
    for position, expected in launch.outputs.items():
        compare(launch.args[position], expected, launch.tolerance, f"argument {position}")
    for name, expected in launch.left.items():
        compare(left[name], expected, launch.tolerance, name)


def assert_caught(case: Case, seed: int = 1) -> None:
    """Plant the fault of a case; hold the checked mode to finding it and to saying where."""
    fault = case.fault
    with (
        cuda.edited(case.path, fault.old, fault.new),
        pytest.raises(cuda.EmulationError) as caught,
    ):
        run(case, "checked", seed=seed)
    assert caught.value.kind == fault.kind, str(caught.value)
    assert Path(caught.value.file).parent == case.path.parent
    assert caught.value.line > 0


def compare(found: np.ndarray, expected: Any, tolerance: float, what: str) -> None:
    expected = np.asarray(expected)
    if found.dtype == np.uint16 and expected.dtype.kind == "f":
        found = from_bfloat16(found)
    if found.dtype.names:
        # of one kind of number
        found, expected = (a.view(a.dtype[0]) for a in (found, expected))
    if found.dtype.kind == "f":
        found, expected = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(
        found, expected.reshape(found.shape), rtol=tolerance, atol=tolerance, err_msg=what
    )
