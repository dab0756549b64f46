"""Whether a faulty kernel has corrupted this process's CUDA context.

After an out-of-bounds access, a trap or the like (a sticky error), CUDA answers every later call
with the same error: nothing that the process computes from then on means anything.
"""

from __future__ import annotations

import sys

from minialex.errors import MinialexError


def lost_context() -> str:
    """Return the error that CUDA now answers with; empty where it works, or was not used."""
    cupy = sys.modules.get("cupy")
    if cupy is None or not cupy.cuda.is_available():
        return ""
    try:
        cupy.cuda.runtime.deviceSynchronize()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return str(error)
    return ""


def check_context(after: str) -> None:
    """Check that the CUDA context is intact `after` something that may have corrupted it.

    Raises
    ------
    MinialexError
        If it is not.
    """
    if lost := lost_context():
        raise MinialexError(
            f"{after} corrupted the CUDA context ({lost}): later results mean nothing; run it "
            "alone under compute-sanitizer"
        )
