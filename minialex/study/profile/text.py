"""A profile as text: what a launch takes, its lines as rows of a table, and what slows it down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from minialex.autograd import ROUTINES
from minialex.autograd.choice import PLAIN
from minialex.cuda.disassembly import Instruction
from minialex.cuda.emulator.counts import BranchCounts, MemoryCounts, PrimitiveCounts
from minialex.cuda.known_gpus import KnownGPU
from minialex.cuda.plan import Dim3
from minialex.study.profile.executed import accesses, key_of
from minialex.wording import counted

if TYPE_CHECKING:
    from minialex.study.profile.measured import Measured
    from minialex.study.profile.profiler import LaunchProfile, Profile

LINE_HEADINGS = (
    *("line", "does", "array"),
    *("requests", "lanes", "sectors (least)", "wavefronts (least)", "in L1"),
)
LAUNCH_HEADINGS = ("kernel", "grid", "bound", "predicted us", "floor us", "times", "occupancy")
MEASURED_HEADING = "measured us"
LEFT_OF_LINES, LEFT_OF_LAUNCHES = 3, 3
"""How many of the headings are of columns that are flush left."""
BELOW_FLOOR = "*"
"""Stands behind the times of a launch that is predicted to take less than its floor."""
BOUNDS_OF_INSTRUCTIONS = ("issue", "ALU", "FMA", "XU")
"""Those of which it is told which lines take most."""
MOST_LINES = 4
"""How many of these lines are told."""
LEAST_ERROR = 0.01
"""A standard error of totals that is told."""

Cells = tuple[str, ...]


def summary(launch: LaunchProfile) -> list[str]:
    """Return what a launch is, what it takes and how long it would take, in a few lines."""
    counts = launch.counts
    which = "" if counts.counted == counts.blocks else f", {counts.counted} of them counted"
    if counts.standard_error >= LEAST_ERROR:
        which += f" (standard error of totals: {100 * counts.standard_error:.0f} %)"
    lines = [
        f"{counts.kernel}: {counted(counts.blocks, 'block')} ({_sizes(counts.grid)}) of "
        f"{_threads(counts.block)}{which}",
        _prediction(launch),
        _resources(launch),
        _levels(launch),
    ]
    if launch.predicted.binding in BOUNDS_OF_INSTRUCTIONS:
        lines.append(_most_instructions(launch.instructions))
    if counts.cut:
        lines.append(
            "NOT ALL WAS COUNTED: between two barriers threads did more than is kept of them; "
            "lines to which they came later are missing, and are taken to be like those before"
        )
    return lines


def line_rows(launch: LaunchProfile) -> list[Cells]:
    """Return the rows of the table of lines, as `LINE_HEADINGS` has them."""
    rows: list[Cells] = []
    code = launch.resources.code
    became = accesses(code.instructions[i] for i in sorted(code.reachable))
    for line in launch.lines:
        rows += (_access(one, became.get(key_of(one), [])) for one in line.accesses)
        rows += (_branch(one) for one in line.branches if 200 * one.divergent >= one.requests)
        rows += (_primitive(one) for one in line.primitives)
    return [(*row, *[""] * (len(LINE_HEADINGS) - len(row))) for row in rows]


def launch_rows(profile: Profile, measured: Measured | None = None) -> list[Cells]:
    """Return the rows of the table of launches, as `LAUNCH_HEADINGS` has them.

    Where they were measured, those times are the last column, `MEASURED_HEADING`.
    """
    rows = [_launch(launch) for launch in profile.launches]
    if measured is None:
        return rows
    times = ("not measured" if seconds is None else _us(seconds) for seconds in measured.seconds)
    return [(*row, time) for row, time in zip(rows, times, strict=True)]


def below_floor(profile: Profile) -> str:
    """Return why launches are marked as below their floor; "" where none is."""
    if not any(map(_is_below_floor, profile.launches)):
        return ""
    return (
        f"{BELOW_FLOOR} below the floor: what blocks that were not run leave unwritten is mostly "
        "zero, and a kernel that decides by it reads less than it would (docs/profile-model.md); "
        "--blocks all runs all of them"
    )


def measured_total(measured: Measured) -> str:
    """Return the measured time of the launches together, and of how many."""
    times = [seconds for seconds in measured.seconds if seconds is not None]
    return (
        f"measured on {measured.gpu}: {1e3 * sum(times):.3g} ms for {len(times)} of "
        f"{counted(len(measured.seconds), 'launch')}"
    )


def named(launch: LaunchProfile) -> list[str]:
    """Return what slows a launch down, what costs most first, one line each."""
    return [
        f"{one.kind}: {one.sentence} ({100 * one.share:.0f} % "
        f"{'of its kind' if one.line else 'idle'})"
        for one in launch.slowdowns
    ]


def implementations(profile: Profile) -> str:
    """Return which implementations were taken, as ``--use`` has them; "" where none is known.

    Operations that have one implementation alone are left out.
    """
    several = [
        (ROUTINES[routine], name)
        for routine, name in profile.choices
        if len(ROUTINES[routine].implementations) > 1
    ]
    if not several:
        return ""
    taken = " ".join(f"{routine.name}={name}" for routine, name in several)
    on_arrays = [
        f"{routine.name}={name}"
        for routine, name in several
        if name in (PLAIN, routine.cpu) and name != routine.kernel
    ]
    if len(on_arrays) == len(several):
        return f"implementations: {taken}, all without kernels"
    missing = f"; without kernels, and so without times: {' '.join(on_arrays)}"
    return f"implementations: {taken}{missing if on_arrays else ''}"


def report(launch: LaunchProfile) -> str:
    """Return everything about a launch as text, as wide as it takes."""
    rows = _aligned([LINE_HEADINGS, *line_rows(launch)], LEFT_OF_LINES)
    return "\n".join([*summary(launch), "", *rows, "", *named(launch)]).rstrip()


def _aligned(rows: Sequence[Cells], left: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def total(profile: Profile) -> str:
    """Return the time of all launches together."""
    predicted = sum(one.predicted.seconds for one in profile.launches)
    least = sum(one.least.seconds for one in profile.launches)
    return (
        f"{counted(len(profile.launches), 'launch')}: predicted {1e3 * predicted:.3g} ms on "
        f"{_named(profile.gpu)}, not measured; the sum of the floors is {1e3 * least:.3g} ms"
    )


def _prediction(launch: LaunchProfile) -> str:
    time = launch.predicted
    bounds = sorted(time.bounds.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {_us(seconds)}" for name, seconds in bounds[:4])
    return (
        f"predicted on {_named(launch.gpu)}, not measured: {_us(time.seconds)} us, bound by "
        f"{time.binding} (us: {shown}; floor {_us(launch.least.seconds)})"
    )


def _most_instructions(by_line: Sequence[tuple[str, int, float]]) -> str:
    every = sum(number for *_, number in by_line)
    shown = (
        f"{PurePath(file).name}:{line} {100 * number / every:.0f} %"
        for file, line, number in by_line[:MOST_LINES]
        if 200 * number >= every
    )
    return f"most instructions: {', '.join(shown)}"


def _resources(launch: LaunchProfile) -> str:
    taken, counts = launch.resources, launch.counts
    shared = counts.static_shared + counts.dynamic_shared
    if taken.occupancy is None:
        return f"registers and occupancy: not known, {taken.missing}"
    spills = f"{taken.spilled_bytes} bytes of spills" if taken.spilled_bytes else "no spills"
    if taken.local_bytes:
        spills += f", {counted(taken.local_bytes, 'byte')} of local memory per thread"
    return (
        f"{taken.registers} registers, {spills}, {counted(shared, 'byte')} of shared memory; "
        f"occupancy {100 * taken.occupancy.share:.0f} %, limited by {taken.occupancy.limit}"
    )


def _levels(launch: LaunchProfile) -> str:
    moved = launch.predicted.levels
    levels = {
        "registers": moved.register,
        "shared memory": moved.shared,
        "L1": moved.l1,
        "L2": moved.l2,
        "memory": moved.memory,
    }
    return "bytes: " + ", ".join(f"{name} {_short(n)}" for name, n in levels.items())


def _access(row: MemoryCounts, became: list[Instruction]) -> Cells:
    code = ", ".join(sorted({one.kind for one in became}))
    each = 1 / row.requests
    is_global = row.memory == "global"
    sectors = _with_least(row.sectors * each, row.least_sectors * each) if is_global else ""
    passes = _with_least(row.wavefronts * each, row.least_wavefronts * each)
    hits = f"{100 * row.l1_hits / row.sectors:.0f} %" if is_global and row.access == "read" else ""
    return (
        _place(row),
        f"{row.access} {row.width} B" + (f": {code}" if code else ""),
        row.array,
        f"{row.requests:,.0f}",
        f"{row.lanes * each:.1f}",
        sectors,
        "" if is_global else passes,
        hits,
    )


def _branch(row: BranchCounts) -> Cells:
    does = f"divergent {100 * row.divergent / row.requests:.0f} %"
    return _place(row), does, "", f"{row.requests:,.0f}", f"{row.lanes / row.requests:.1f}"


def _primitive(row: PrimitiveCounts) -> Cells:
    does = "barrier" if row.kind == "barrier" else "warp primitive"
    # each lane comes to it by itself
    warps = row.requests
    return _place(row), does, "", f"{warps:,.0f}", f"{row.lanes / row.requests:.1f}"


def _launch(launch: LaunchProfile) -> Cells:
    seconds, least = launch.predicted.seconds, launch.least.seconds
    taken = launch.resources.occupancy
    return (
        launch.counts.kernel,
        _sizes(launch.counts.grid),
        launch.predicted.binding,
        _us(seconds),
        _us(least),
        f"{seconds / least:.1f}{BELOW_FLOOR if _is_below_floor(launch) else ''}" if least else "",
        "" if taken is None else f"{100 * taken.share:.0f} %",
    )


def _is_below_floor(launch: LaunchProfile) -> bool:
    return launch.predicted.seconds < launch.least.seconds


def _place(row: MemoryCounts | BranchCounts | PrimitiveCounts) -> str:
    return f"{PurePath(row.file).name}:{row.line}"


def _with_least(number: float, least: float) -> str:
    return f"{number:.2f} ({least:.2f})"


def _sizes(sizes: Dim3) -> str:
    used = [size for size in sizes if size > 1] or [1]
    return " x ".join(f"{size:,}" for size in used)


def _threads(block: Dim3) -> str:
    return f"{_sizes(block)} threads"


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f}" if seconds >= 1e-4 else f"{1e6 * seconds:.3g}"


def _named(gpu: KnownGPU) -> str:
    # the letters T, G, L and numbers take another article than A, H and R
    return f"{'an' if gpu.name[0] in 'AHR' else 'a'} {gpu.name}"


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}B"
    return f"{number:.0f} B"
