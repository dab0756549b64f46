"""What several test files here share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from minialex import cuda
from minialex.cuda import disassembly, nvrtc, source
from minialex.cuda.architectures import ARCHITECTURES, STATIC_SHARED
from minialex.cuda.signature import signatures
from minialex.study import budgets
from minialex.study.kernel_uses import default_kernels

ROOT = Path(__file__).parents[2]
KERNELS = Path(__file__).parent / "kernels"
MISSING = nvrtc.why_missing()
compiles = pytest.mark.skipif(bool(MISSING), reason=MISSING)
"""Marks tests that need NVRTC."""
UNREADABLE = MISSING or disassembly.why_missing()
disassembles = pytest.mark.skipif(bool(UNREADABLE), reason=UNREADABLE)
"""Marks tests that read machine code."""


class Shape(NamedTuple):
    """The struct of that name in ``kernels/features.cu``."""

    on: Any
    H: Any
    W: Any
    step: Any
    last: Any


SHAPE = Shape(True, 3, np.int64(-5), -(2**40), 250)


def kernel(file: str, name: str, **options: object) -> cuda.Kernel:
    """Return a kernel of this folder's own files."""
    return cuda.kernel(KERNELS / file, name, **options)


def line_of(file: str, marker: str) -> int:
    """Return the number of the one line of a kernel file that ends in `marker`."""
    lines = (KERNELS / file).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(marker)]
    return found


def assert_compiles(
    file: str,
    architecture: str,
    version: str | None = None,
    instances: Sequence[str] | None = None,
) -> nvrtc.CompiledKernels:
    """Compile instantiations, or all; kernels that run by default keep everything in registers."""
    code = nvrtc.compiled(file, architecture, instances, version)
    found = code.usage
    assert [u.kernel for u in found] == list(instances or nvrtc.instances(file))
    assert all(0 < u.registers <= 255 for u in found)
    spilling = {u.kernel.partition("<")[0] for u in found if u.spill_stores + u.spill_loads}
    assert {(file, name) for name in spilling}.isdisjoint(default_kernels()), found
    return code


def assert_within_budget(
    file: str, architecture: str, version: str, code: nvrtc.CompiledKernels
) -> None:
    """Hold what the machine code takes to the lines in ``kernels/budgets``."""
    kept = budgets.lines(budgets.read(ROOT)[version][file])
    compiled = {f"{usage.kernel} {architecture}" for usage in code.usage}
    wanted = {key: said for key, said in kept.items() if key in compiled}
    found = budgets.budget(code, architecture)
    changed = [
        f"- {key}: {wanted.get(key)}\n+ {key}: {found.get(key)}"
        for key in sorted(wanted.keys() | found.keys())
        if wanted.get(key) != found.get(key)
    ]
    assert not changed, "\n".join(["python -m minialex.study.budgets writes:", *changed])


def too_much(
    architecture: str, *, threads: int, registers: int, shared: int, dynamic_shared: int = 0
) -> list[str]:
    """Return in what a block exceeds what an architecture has.

    Registers are dealt out to warps in units of 256, and to a multiple of 4 warps (CUDA
    Programming Guide, "Compute Capabilities"; CUDA Occupancy Calculator).
    """
    limits = ARCHITECTURES[architecture]
    warps = -(-threads // 128) * 4
    takes = {
        "threads": (threads, limits.threads_per_block),
        "registers of a thread": (registers, limits.registers_per_thread),
        "registers": (-(-registers // 8) * 256 * warps, limits.registers_per_block),
        "static shared memory": (shared, STATIC_SHARED),
        "shared memory": (shared + dynamic_shared, limits.shared_per_block),
    }
    return [f"{name}: {took} > {most}" for name, (took, most) in takes.items() if took > most]


def launch_bounds(file: str) -> dict[str, int]:
    """Return the most threads that a block of each instantiation may have, where that is said."""
    found = {}
    for signature in signatures(source.read(file)).values():
        if signature.launch_bound:
            for binding in signature.declared_bindings():
                known = {name: int(value) for name, value in binding.items() if value.isdigit()}
                bound = signature.most_threads(binding)
                if bound is None:
                    bound = eval(_constant(signature.launch_bound, file), {}, known)
                found[signature.expression(binding)] = bound
    return found


def _constant(expression: str, file: str) -> str:
    """Return what a template's constant stands for, ``Tile<N>::THREADS``, as Python has it."""
    constant = re.fullmatch(r"(?P<template>\w+)<\w+>::(?P<name>\w+)", expression)
    pattern = rf"struct {constant['template']}\b.*?\b{constant['name']} = (?P<value>[^;]*);"
    value = re.search(pattern, source.read(file).text, re.DOTALL)["value"]
    return re.sub(r"(.*) \? (.*) : (.*)", r"\2 if \1 else \3", value)
