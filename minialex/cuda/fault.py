"""Whether a kernel has left this process without a GPU.

After an access outside its arrays, a trap or the like, CUDA answers every later call with the same
error: nothing that the process computes from then on means anything.
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
    """Check that the GPU still answers, `after` something that may have faulted.

    Raises
    ------
    MinialexError
        If it does not.
    """
    if lost := lost_context():
        raise MinialexError(
            f"{after} left this process without a GPU ({lost}): nothing after it counts; run it "
            "alone under compute-sanitizer"
        )
