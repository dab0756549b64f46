"""minialex: an AlexNet that people can take apart.

A hand-written autograd (`Tensor`), its ops (`ops`), layers (`nn`), optimizers (`optim`) and four
networks (`models`), in array operations that run on NumPy and CuPy alike. Beside these, imported
when asked for: `minialex.data` (folders of images, transforms, the loader), `minialex.train` (the
loop, evaluation, cross-validation, checkpoints), `minialex.study` (summaries), `minialex.check`
(gradient checking), `minialex.reference` (definitions in plain loops), `minialex.weights` (files of
weights). `load` and `save` read and write trained networks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from minialex import models, nn, ops, optim
from minialex.autograd import LATE_ROUTINES, Tensor, emit_nvtx, no_grad, record_calls, using
from minialex.errors import MinialexError
from minialex.philox import manual_seed

if TYPE_CHECKING:
    from minialex.cuda import emulated
    from minialex.persistence import load, save

LATE_ROUTINES.update(
    prepare="minialex.data.prepare",
    prepare_crops="minialex.data.prepare",
    advance="minialex.train.step_state",
    tally="minialex.train.step_state",
)

__version__ = "0.1.0"

__all__ = [
    "MinialexError",
    "Tensor",
    "emit_nvtx",
    "emulated",
    "load",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "record_calls",
    "save",
    "using",
]


# the emulator; and what trains, and images
_LATE = {
    "emulated": "minialex.cuda.emulator",
    "load": "minialex.persistence",
    "save": "minialex.persistence",
}


def __dir__() -> list[str]:
    """Return what completion should offer."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import what is slow to import when it is asked for."""
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
