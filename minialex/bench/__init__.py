"""Benchmarks that people can trust: cases read off the networks, verified before they are timed.

    cases       layers.py, layer_cases.py, optimizers.py, networks.py, images.py; selection.py
    contenders  case.py, workload.py; peers/: PyTorch, JAX, CuPy, each where it is installed
    results     correctness.py: nothing is timed before its result was compared with another one
    times       runner.py, clock.py, pinning.py, ceilings.py, occupancy.py; subprocess_probe.py for
                what needs a process of its own
    records     record.py, machine.py: JSON files; compare.py: what got slower between two of them
    documents   roofline.py, tables.py, ladder.py, gpu_tables.py, plots.py; report.py puts them into
                the documents

`minialex bench` and ``pytest benchmarks`` run the same cases.
"""

from minialex.bench.case import BenchCase, BenchContext
from minialex.bench.compare import compare
from minialex.bench.record import BenchRecord, read, write
from minialex.bench.runner import BenchPlan, measure

__all__ = [
    "BenchCase",
    "BenchContext",
    "BenchPlan",
    "BenchRecord",
    "compare",
    "measure",
    "read",
    "write",
]
