"""Profiles and pages of the small cases that ops are checked on."""

from __future__ import annotations

from minialex.check import Case, Pair
from minialex.cuda import emulated
from minialex.errors import MinialexError
from minialex.study.profile.page import page
from minialex.study.profile.profiler import Profile, profiled
from minialex.study.tracing import passes


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
        for run in passes(pair, case):
            run()
    return profile


def page_of_case(pair: Pair, case: Case, kernel: str | None = None) -> str:
    """Return the page of one block of a kernel, the first that forward launches by default.

    Raises
    ------
    MinialexError
        If no kernel is launched, or not that one.
    """
    with emulated("traced", every_thread=True, kernel=kernel) as emulation:
        forward, backward = passes(pair, case)
        forward()
        if kernel is not None:
            backward()
    if not emulation.recordings:
        raise MinialexError(
            f"{pair.op.name} {pair.name}, case {case.name!r}: forward launches no kernel"
        )
    recording = emulation.recordings[0]
    return page(recording, recording.lines.source)
