"""Numbers of naive and tiled kernels: who wrote them, what was read for them, the sum done again.

The thread that is found is the only one that writes there, what it reads are the factors of the
terms, and their products added up in the order of its reads give the bits that it wrote. The bias
gradient is left out: its sum goes through registers of several threads.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minialex.check import CASES, Case
from minialex.study import explain_run, writing_thread
from tests.campaigns.campaign import Campaign
from tests.study.term_checks import made_by

IMPLEMENTATIONS = [(op, name) for op in ("conv2d", "linear") for name in ("naive", "tiled")]

MAX_INPUT = 3_000


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Look at one number each."""
    return [f"seed {seed}: {fault}" for seed in seeds for fault in faults_of(seed)]


def faults_of(seed: int) -> list[str]:
    """Return what is wrong with the thread of the number of that seed."""
    rng = random.Random(seed)
    op, name = IMPLEMENTATIONS[seed % len(IMPLEMENTATIONS)]
    case = rng.choice([case for case in CASES[op] if _is_small_and_finite(op, case)])
    run = made_by(op, case, name, np.float32)
    which = rng.choice(["y", *(g for g in run.gradients if g != "gb" and run.gradients[g].size)])
    array = run.array(which)
    if not array.size:
        return []
    found = explain_run(run, which, tuple(rng.randrange(n) for n in array.shape))
    thread = writing_thread(found)
    holds = {
        "the terms are another number": found.agrees,
        f"{thread.writers} threads write it": thread.writers == 1,
        f"it does not read {thread.missing[:2]}": not thread.missing,
        f"it reads {thread.others[:2]} too": not thread.others,
        "it reads what is no factor": thread.reads_the_factors,
        f"its reads give other bits: {thread.replay.order}": thread.replay.value == found.ran,
    }
    where = f"{op} {name}, {case.name}: {which}{list(found.index)}"
    return [f"{where}: {fault}" for fault, right in holds.items() if not right]


def _is_small_and_finite(op: str, case: Case) -> bool:
    arrays = [a for a in case.draw(op) if a is not None]
    return all(a.size <= MAX_INPUT and np.isfinite(a).all() for a in arrays)


CAMPAIGN = Campaign("numbers of kernels", attempt, count=2_000, short=8)
