"""What the doctor found, what it could not look at, and both as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "minialex-doctor 1"


@dataclass(frozen=True)
class RunFinding:
    """One thing that is wrong with a run.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    where : str
        A layer, a class or a setting; empty where it is the whole run.
    evidence : str
        What was measured, with the number that it is compared with.
    numbers : dict
        The same numbers by name.
    cause, advice : str
        What makes this likely, and what to try.
    """

    kind: str
    where: str
    evidence: str
    numbers: dict[str, Any]
    cause: str
    advice: str


@dataclass(frozen=True)
class RunReport:
    """What `examine` found.

    Attributes
    ----------
    run : str
    steps : int or None
        How many batches the run was trained on; None where nothing says so.
    images : int
        How many training images were put through the network.
    findings : tuple of RunFinding
    unseen : tuple of str
        What could not be looked at, and why.
    blind : tuple of str
        Which of "the network" and "the loss" are among that: without them little can be found.
    follows : tuple of RunFinding
        What others of the findings explain.
    """

    run: str
    steps: int | None
    images: int
    findings: tuple[RunFinding, ...]
    unseen: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    follows: tuple[RunFinding, ...] = ()

    def of(self, kind: str) -> list[RunFinding]:
        """Return the findings of a kind."""
        return [one for one in self.findings if one.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold: what is not finite is None."""
        return {"schema": SCHEMA, **_finite(asdict(self))}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


KINDS = {
    "stuck": "the loss is where guessing puts it",
    "dead": "dead ReLUs",
    "fast": "updates are too large for the weights",
    "slow": "updates are too small for the weights",
    "vanishing": "vanishing gradients",
    "exploding": "exploding gradients",
    "unpredicted": "a class is never predicted",
    "constant": "constant images",
    "duplicates": "validation images that are trained on",
    "labels": "labels that do not fit the images",
    "warmup": "the warm-up swallowed the run",
}
"""Every kind of finding, with its title."""
