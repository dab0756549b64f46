"""Every check of an op, until the first that fails: who notices a mutant is asked this first.

It is what ``python -m minialex gradcheck`` runs, but for another order of threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from minialex import cuda
from minialex.check import Verdict, check_runs
from tests.campaigns.mutant import UNBORN

KINDS = "values", "contract", "layouts", "sharing", "deferred"


def main(
    names: Sequence[str], implementations: Sequence[str] = (), *, kernels: bool = False
) -> int:
    """Check ops and optimizers; print what the first failure says, return whether there is one.

    Parameters
    ----------
    names : names of ops and of routines
    implementations : names of implementations; all where there are none
    kernels : bool
        Kernels under the emulator that watches them; else array operations.
    """
    emulation = cuda.emulated("checked", seed=1) if kernels else contextlib.nullcontext()
    with emulation:
        chosen = check_runs(ops=names, implementations=implementations, only=KINDS)
        try:
            rows = (run.run() for run in chosen if run.pair.launches_kernels() == kernels)
            failed = next((row for row in rows if row.verdict is Verdict.FAIL), None)
        except cuda.EmulationError:
            # of others it makes rows
            failed = UNBORN
    print(failed or "")
    return int(failed is not None)
