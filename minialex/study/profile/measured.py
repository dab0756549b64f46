"""What the launches of a profile took on a GPU, beside what was predicted for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minialex.cuda.plan import Dim3, LaunchPlan
from minialex.study.profile.profiler import Profile

Key = tuple[str, Dim3, Dim3]
"""What tells a launch from others: the kernel with template arguments, its grid and its block."""


@dataclass(frozen=True)
class Measured:
    """The measured times of the launches of a profile.

    Attributes
    ----------
    gpu : str
        The GPU on which they were measured, as its driver calls it.
    seconds : tuple of float or None
        For each launch of the profile; None where the GPU made no such launch.
    """

    gpu: str
    seconds: tuple[float | None, ...]

    def to_json(self, profile: Profile) -> dict[str, Any]:
        """Return the profile's own numbers with the measured times beside the predicted ones."""
        found = profile.to_json()
        for launch, seconds in zip(found["launches"], self.seconds, strict=True):
            launch["measured_seconds"] = seconds
        return found | {"measured_on": self.gpu}


def key_of(plan: LaunchPlan) -> Key:
    """Return what tells a launch from others."""
    return plan.expression, plan.grid, plan.block


def matched(profile: Profile, gpu: str, launches: Iterable[tuple[Key, float]]) -> Measured:
    """Match launches with those of a profile: of those that are alike, the first with the first.

    Parameters
    ----------
    launches : iterable of (kernel, grid and block; seconds)
        In order.
    """
    times: dict[Key, list[float]] = defaultdict(list)
    for key, seconds in launches:
        times[key].append(seconds)
    wanted = [key_of(one.counts.plan) for one in profile.launches]
    return Measured(gpu, tuple(times[key].pop(0) if times[key] else None for key in wanted))
