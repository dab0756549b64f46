"""Write what `docs/tuning.md` shows of profiles, between its markers.

From the root of a source tree,

    python -m docs.tuning           profiles the stages and writes the page
    python -m docs.tuning --check   changes nothing; exit status 1 where the page is stale
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path, PurePath

from docs.tuning.layer_norm import STAGES, TuningStage, example
from minialex.bench.report import fill
from minialex.cuda.emulator.counts import MemoryCounts
from minialex.study.profile import LaunchProfile, profiled

PAGE = Path("docs/tuning.md")
SHAPE = 8, 128, 56, 56
"""Of x as the page profiles it: a stage of ConvNeXt, a batch of 8."""


@functools.cache
def profile_of(stage: TuningStage) -> LaunchProfile:
    """Return the profile of the stage's launch on x of `SHAPE`."""
    with profiled() as profile:
        stage(*example(SHAPE))
    (launch,) = profile.launches
    return launch


def table(file: str) -> str:
    """Return the table of one stage, by its file, and the sentences on what slows it down."""
    launch = profile_of(next(stage for stage in STAGES if stage.file == file))
    rows = [
        "| line | | asks for | requests | sectors per request | wavefronts per request |",
        "| ---: | --- | --- | ---: | ---: | ---: |",
    ]
    for line in launch.lines:
        # the primitives of common.cuh access no memory
        code = line.text.partition("//")[0].strip()
        rows += [f"| {line.number} | `{code}` | {_row(access)} |" for access in line.accesses]
    found = [f"- {one.sentence} ({100 * one.share:.0f} %)" for one in launch.slowdowns]
    return "\n".join([*rows, "", *(found or ["Nothing is named."])])


def _row(access: MemoryCounts) -> str:
    what = f"{access.access} of {access.width} bytes, `{access.array}`"
    cells = [what, f"{access.requests:,.0f}"]
    for unit in ("sectors", "wavefronts"):
        count, least = getattr(access, unit), getattr(access, f"least_{unit}")
        shown = f"{count / access.requests:.3g}"
        if count != least:
            shown = f"**{shown}**, least {least / access.requests:.3g}"
        belongs = (unit == "sectors") == (access.memory == "global")
        cells.append(shown if belongs else "")
    return " | ".join(cells)


def summary(_: str) -> str:
    """Return the table of all stages."""
    rows = [
        "| stage | requests | sectors | least | wavefronts of shared memory | least |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for stage in STAGES:
        memory = profile_of(stage).counts.memory
        here = [one for one in memory if one.memory == "global"]
        shared = [one for one in memory if one.memory == "shared"]
        numbers = (
            sum(one.requests for one in memory),
            *(sum(getattr(one, name) for one in here) for name in ("sectors", "least_sectors")),
            *(
                sum(getattr(one, name) for one in shared)
                for name in ("wavefronts", "least_wavefronts")
            ),
        )
        cells = " | ".join(f"{number / 1e3:,.0f}" for number in numbers)
        rows.append(f"| [{PurePath(stage.file).stem}](tuning/{stage.file}) | {cells} |")
    return "\n".join(rows)


def page(text: str) -> str:
    """Return the page's text with what stands between its markers brought up to date."""
    return fill(text, lambda name: summary(name) if name == "all" else table(name), "profile")


def main(words: list[str]) -> int:
    """Do it, say what was done, and return the exit status."""
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    text = PAGE.read_text(encoding="utf-8")
    right = page(text)
    if right == text:
        return 0
    if words:
        print(f"{PAGE}: profiles out of date: python -m docs.tuning")
        return 1
    PAGE.write_text(right, encoding="utf-8")
    print(f"{PAGE}: profiles written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
