"""What a comparison found: PASS, FAIL or INCONCLUSIVE, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The outcome of a comparison."""

    PASS = "PASS"
    """Equal, as far as rounding lets one see, and that is far enough to see any real fault."""

    INCONCLUSIVE = "INCONCLUSIVE"
    """Nothing speaks against it, but the comparison could not have seen a fault of one percent."""

    FAIL = "FAIL"
    """Further apart than rounding explains, or not finite."""


_ORDER = list(Verdict)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of `verdicts`; INCONCLUSIVE where there is none."""
    return max(verdicts, key=_ORDER.index, default=Verdict.INCONCLUSIVE)


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes
    ----------
    what : str
        What was compared, by name.
    verdict : Verdict
    error, bound : float
        Those of the element, or direction, whose error is largest against its bound.
    compared : int
        How many numbers were compared.
    excluded : int
        How many were not, because they are at a kink, where there is no derivative.
    detail : tuple of str
        Lines that explain a verdict other than PASS.
    op : str
        Which op of a composition a FAIL comes from, by name and place; empty where that is unknown.
    left_out : int
        How many were not, because `elements` leaves them out.
    too_small : int
        How many of those compared are smaller than what is allowed: zeros would pass for them.
    """

    what: str
    verdict: Verdict
    error: float
    bound: float
    compared: int
    excluded: int = 0
    detail: tuple[str, ...] = ()
    op: str = ""
    left_out: int = 0
    too_small: int = 0

    @property
    def ratio(self) -> float:
        """How much of the bound the error takes; infinite for what is not finite."""
        if self.error == 0:
            return 0.0
        return self.error / self.bound if self.bound > 0 else float("inf")

    def undecided(self, reason: str) -> Finding:
        """Return the same comparison as one that decides nothing, and why."""
        return replace(self, verdict=Verdict.INCONCLUSIVE, detail=(reason,))

    def record(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return {
            "verdict": str(self.verdict),
            "what": self.what,
            # JSON has no infinity
            "error": self.error if math.isfinite(self.error) else None,
            "bound": self.bound if math.isfinite(self.bound) else None,
            "compared": self.compared,
            "excluded": self.excluded,
            "left_out": self.left_out,
            "too_small": self.too_small,
            "detail": list(self.detail),
            **({"op": self.op} if self.op else {}),
        }

    def __str__(self) -> str:
        text = f"{self.verdict} {self.what}"
        if not self.compared and math.isinf(self.error):
            # nothing that has a size
            return "\n    ".join((text, *self.detail))
        text += f": {self.compared} compared"
        if self.excluded:
            text += f", {self.excluded} excluded at kinks (non-differentiable)"
        if self.left_out:
            text += f", {self.left_out} left out"
        if self.too_small:
            text += f", {self.too_small} of them smaller than what is allowed"
        text += f", largest error {self.error:.2g} of {self.bound:.2g} allowed"
        return "\n    ".join((text, *self.detail))

    __repr__ = __str__
