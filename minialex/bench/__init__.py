"""Benchmarks that people can trust: cases read off the networks, proved before they are timed.

    cases     layers.py, layer_trials.py, optimizers.py, networks.py, images.py
    others    peers/: PyTorch, JAX, CuPy, each where it is there
    proof     proof.py: nothing is timed before its result was held against another
    times     clock.py, pinning.py, ceilings.py; fresh.py for what needs a process of its own
    records   record.py, machine.py: JSON files; compare.py: what got slower from one to the next
    shown     roofline.py, tables.py, pictures.py; markers.py puts tables into documents

`minialex bench` and ``pytest benchmarks`` are two faces of the same cases.
"""

from minialex.bench.case import Bench, Case
from minialex.bench.compare import compare
from minialex.bench.record import Record, read, write
from minialex.bench.runner import Plan, measure

__all__ = ["Bench", "Case", "Plan", "Record", "compare", "measure", "read", "write"]
