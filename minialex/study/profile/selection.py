"""Which steps are shown where a block took more than a page may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minialex.study.profile.steps import WarpStep
from minialex.wording import counted


@dataclass(frozen=True)
class Gap:
    """Steps that are left out, between two that are not.

    Attributes
    ----------
    phase : int
        That of the first of them.
    """

    phase: int
    steps: int


def select(steps: Sequence[WarpStep], limit: int) -> tuple[list[WarpStep | Gap], list[str]]:
    """Return at most `limit` steps, a `Gap` wherever some are left out, and sentences that say so.

    Whole phases are kept, from the first on and the last one, so that a loop's first iterations
    and what follows it can be seen. Where two phases are too many, the last warps are left out;
    where one warp is, the middle of its steps.
    """
    if len(steps) <= limit:
        return list(steps), []
    phases = sorted({step.phase for step in steps})
    ends = {phases[0], phases[-1]}
    warps = sorted({step.warp for step in steps if step.warp >= 0})
    chosen = warps
    while len(chosen) > 1 and _size(steps, ends, chosen) > limit:
        chosen = chosen[:-1]
    if _size(steps, ends, chosen) > limit:
        mine = [step for step in steps if step.warp in (-1, *chosen)]
        shown = {id(step) for step in [*mine[: limit - limit // 2], *mine[-(limit // 2) :]]}
    else:
        wanted = set(ends)
        for phase in phases[1:]:
            if _size(steps, wanted | {phase}, chosen) > limit:
                break
            wanted.add(phase)
        shown = {id(s) for s in steps if s.phase in wanted and s.warp in (-1, *chosen)}
    return _with_gaps(steps, shown, set(chosen)), [_sentence(steps, shown, chosen, warps)]


def _size(steps: Sequence[WarpStep], phases: set[int], warps: Sequence[int]) -> int:
    kept = {-1, *warps}
    return sum(step.phase in phases and step.warp in kept for step in steps)


def _with_gaps(steps: Sequence[WarpStep], shown: set[int], warps: set[int]) -> list[WarpStep | Gap]:
    """Return the shown steps, with gaps for those of the chosen warps and barriers between them."""
    out: list[WarpStep | Gap] = []
    for step in steps:
        if id(step) in shown:
            out.append(step)
        elif step.warp == -1 or step.warp in warps:
            last = out[-1] if out else None
            if isinstance(last, Gap):
                out[-1] = Gap(last.phase, last.steps + 1)
            else:
                out.append(Gap(step.phase, 1))
    return out


def _sentence(
    steps: Sequence[WarpStep], shown: set[int], chosen: Sequence[int], warps: Sequence[int]
) -> str:
    text = f"This page shows {len(shown):,} of {counted(len(steps), 'step')} of the block"
    if len(chosen) < len(warps):
        only = "warp 0" if len(chosen) == 1 else f"the first {len(chosen)} of {len(warps)} warps"
        text += f", those of {only}"
    return text + ": the first and the last are here, and a step says where others are left out."
