"""Profiles of the small cases that ops are checked on."""

from __future__ import annotations

from minialex.arrays import CPU
from minialex.autograd import OPS, implementation_name
from minialex.check import Case, Pair
from minialex.cuda import emulated
from minialex.cuda.known_gpus import known_gpu
from minialex.study.profile.profiler import Profile, profiled
from minialex.study.tracing import passes


def default_implementation(op: str, gpu: str) -> str:
    """Return the name of the implementation of `op` that a GPU runs, unless `using` says else.

    It is that for float32, as cases and layers are profiled in.
    """
    with emulated("counted", architecture=known_gpu(gpu).architecture):
        return implementation_name(OPS[op], CPU)


def profile_case(
    pair: Pair, case: Case, *, gpu: str, kernel: str | None = None, max_blocks: int | None
) -> Profile:
    """Profile forward and backward of an implementation on a case.

    Parameters
    ----------
    gpu, kernel, max_blocks
        As `minialex.study.profile.profiled` takes them.
    """
    with profiled(gpu, kernel=kernel, max_blocks=max_blocks) as profile:
        profile.choices[pair.op.name, pair.name] = None
        for run in passes(pair, case):
            run()
    return profile
