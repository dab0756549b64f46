"""A page on which the warps of a block can be stepped through their kernel.

    with minialex.emulated("traced", every_thread=True, kernel="conv2d_forward_tiled") as emulation:
        y = ops.conv2d(x, w)
    Path("conv2d.html").write_text(page(emulation.recordings[0]), encoding="utf-8")

`minialex.study.profile.page_of` does so, and counts the launch as well. The page is one HTML file
that asks no network for anything: ``page.html`` beside this module, with the data of `page_data` in
it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from minialex.cuda.emulator.recording import Recording
from minialex.cuda.emulator.report import NamedArray
from minialex.cuda.source import Source
from minialex.errors import MinialexError
from minialex.study.embedding import MARK, embedded
from minialex.study.profile.cells import Cells, cells_of
from minialex.study.profile.kernel_text import parts_of
from minialex.study.profile.profiler import LaunchProfile
from minialex.study.profile.selection import Gap, select
from minialex.study.profile.steps import WarpStep, line_costs, warp_steps
from minialex.study.profile.text import summary

SCHEMA = 1
"""The version of what `page_data` returns: another number where a field changes its meaning."""

MAX_BYTES = 2_000_000
MAX_STEPS = 3_000

KINDS = ("read", "write", "atomic", "barrier", "warp", "gap")
STEP_FIELDS = (
    "kind", "phase", "warp", "file", "line", "array", "width", "lanes", "values", "cost", "least",
    "states",
)  # fmt: skip
LINE_FIELDS = (
    "file", "line", "access", "array", "memory", "width", "requests", "lanes", "cost", "least",
)  # fmt: skip

LAUNCH_FIELDS = (*LINE_FIELDS, "l1_hits")

_TEMPLATE = Path(__file__).with_name("page.html")


def page(
    recording: Recording,
    source: Source | None = None,
    launch: LaunchProfile | None = None,
    *,
    max_steps: int = MAX_STEPS,
    max_bytes: int = MAX_BYTES,
) -> str:
    """Return the page of one block as HTML.

    Parameters
    ----------
    recording : Recording
        Of one launch with every thread of a block.
    source : Source, optional
        The kernel's text, where it is not the one that ran.
    launch : LaunchProfile, optional
        What all blocks of the launch ask of memory, to be shown beside what this one does.
    max_steps, max_bytes : int
        Where there is more, steps are left out in the middle, and the page says how many.

    Raises
    ------
    MinialexError
        If nothing was recorded.
    """
    template = _TEMPLATE.read_text(encoding="utf-8")
    steps = _steps(recording)
    room = max_bytes - len(template.encode())
    while True:
        data = _data(recording, source, steps, max_steps, launch)
        text = embedded(data)
        excess = len(text) - room
        if excess <= 0 or max_steps <= 1:
            return template.replace(MARK, text)
        # as many fewer as are too much, and some more: they are not all of one size
        per_step = len(embedded(data["steps"])) / len(data["steps"])
        max_steps = max(1, min(max_steps, len(data["steps"])) - 1 - int(1.05 * excess / per_step))


def page_data(
    recording: Recording,
    source: Source | None = None,
    max_steps: int = MAX_STEPS,
    launch: LaunchProfile | None = None,
) -> dict[str, Any]:
    """Return what the page shows, as JSON has it.

    Returns
    -------
    dict
        ``schema``, the launch (``kernel``, ``grid``, ``block``, ``at``: the index of the block),
        ``events`` and ``all_events`` (recorded, and how many there were), ``all_steps``,
        ``omitted`` (sentences that say which are left out), ``arrays``, ``files``, ``texts``
        (functions whole), ``lines`` (rows of `LINE_FIELDS`, over all steps), ``launch`` (``about``,
        ``blocks``, ``counted`` and ``lines``, rows of `LAUNCH_FIELDS`; None where it was not
        counted) and ``steps`` (rows of `STEP_FIELDS`):

        kind
            Index into ``kinds``. A ``gap`` stands for steps that are left out.
        phase, warp, file, line, array, width, cost, least, states
            As of a `WarpStep`; `file` is an index into ``files``; `states` is 0 where all lanes
            take part. `width` of a barrier is the number of threads that wait, `cost` of a gap the
            number of steps.
        lanes
            Runs of four numbers: the first lane, how many lanes, the offset in bytes of the first
            and from each to the next. Of a barrier, the shared arrays that were written before it
            and are read after it.
        values
            0 where all elements hold what the steps before left in them; else the values of the
            distinct elements, in ascending order. Of a warp's primitive, what each lane gave, and
            what each got. Of a barrier, the shared arrays that were read before it and are written
            after it.

    Raises
    ------
    MinialexError
        If nothing was recorded.
    """
    return _data(recording, source, _steps(recording), max_steps, launch)


def _steps(recording: Recording) -> list[WarpStep]:
    steps = warp_steps(recording)
    if not steps:
        raise MinialexError(
            f"{recording.kernel}: no access is recorded: record it with "
            'emulated("traced", every_thread=True), and a block that is in the grid'
        )
    return steps


def _data(
    recording: Recording,
    source: Source | None,
    steps: Sequence[WarpStep],
    max_steps: int,
    launch: LaunchProfile | None,
) -> dict[str, Any]:
    source = source or recording.lines.source
    kept, omitted = select(steps, max_steps)
    cells = [cells_of(array) for array in recording.arrays]
    files = list(dict.fromkeys(step.file for step in steps))
    lines = {(step.file, step.line) for step in steps}
    name = recording.kernel.partition("<")[0]
    shown = _names(source)
    block = recording.events["block"][0].tolist()
    return {
        "schema": SCHEMA,
        "kernel": recording.kernel,
        "grid": list(recording.grid),
        "block": list(recording.block),
        "at": block,
        "events": len(recording.events),
        "all_events": recording.total,
        "all_steps": len(steps),
        "omitted": omitted + _cut(recording),
        "kinds": list(KINDS),
        "fields": list(STEP_FIELDS),
        "line_fields": list(LINE_FIELDS),
        "launch_fields": list(LAUNCH_FIELDS),
        "files": [shown(file) for file in files],
        "texts": [
            {"file": shown(part.file), "first": part.first, "lines": list(part.lines)}
            for part in parts_of(source.files, lines, name)
        ],
        "arrays": [
            _array(array, unit, _touched(kept, number, unit))
            for number, (array, unit) in enumerate(zip(recording.arrays, cells, strict=True))
        ],
        "lines": _named([list(astuple(cost)) for cost in line_costs(steps, recording)], shown),
        "launch": launch and _launch(launch, shown),
        "steps": _rows(kept, steps, recording, cells, files),
    }


def _names(source: Source) -> Callable[[str], str]:
    """Return what files are called on the page: those of other folders without their paths."""
    names = Counter(PurePath(file).name for file in source.files)

    def shown(file: str) -> str:
        path = PurePath(file)
        return path.name if path.is_absolute() and names[path.name] == 1 else file

    return shown


def _named(rows: list[list[Any]], shown: Callable[[str], str]) -> list[list[Any]]:
    return [[shown(file), *rest] for file, *rest in rows]


def _launch(launch: LaunchProfile, shown: Callable[[str], str]) -> dict[str, Any]:
    counts = launch.counts
    rows = []
    for row in counts.memory:
        unit = "wavefronts" if row.memory == "shared" else "sectors"
        cost, least = getattr(row, unit), getattr(row, f"least_{unit}")
        place = (row.file, row.line, row.access, row.array, row.memory, row.width)
        rows.append([*place, row.requests, row.lanes, cost, least, row.l1_hits])
    return {
        "about": summary(launch),
        "blocks": counts.blocks,
        "counted": counts.counted,
        "lines": _named(sorted(rows), shown),
    }


def _cut(recording: Recording) -> list[str]:
    missing = recording.total - len(recording.events)
    if not missing:
        return []
    return [
        f"The recording holds {len(recording.events):,} of {recording.total:,} events: what came "
        "after them is not on this page."
    ]


def _array(array: NamedArray, cells: Cells, touched: np.ndarray[Any, Any]) -> dict[str, Any]:
    tiles, note = cells.tiles(touched)
    return {
        "name": array.name,
        "memory": "shared" if array.shared else "global",
        "shape": list(cells.shape),
        "bytes": cells.itemsize,
        "phase": array.phase,
        "type": cells.type_name,
        "touched": len(touched),
        "tiles": tiles,
        "note": note,
    }


def _touched(
    kept: Sequence[WarpStep | Gap], array: int, cells: Cells
) -> np.ndarray[Any, np.dtype[np.int64]]:
    mine = [step for step in kept if isinstance(step, WarpStep) and step.array == array]
    found = [cells.elements(step.offsets, step.width) for step in mine]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _rows(
    kept: Sequence[WarpStep | Gap],
    steps: Sequence[WarpStep],
    recording: Recording,
    cells: Sequence[Cells],
    files: Sequence[str],
) -> list[list[Any]]:
    handed_on = _handed_on(steps, recording.arrays)
    held: list[dict[int, Any]] = [{} for _ in cells]
    rows: list[list[Any]] = []
    for step in kept:
        if isinstance(step, Gap):
            # shared memory was used anew meanwhile: the page forgets it as well
            for array, state in zip(recording.arrays, held, strict=True):
                if array.shared:
                    state.clear()
            rows.append([KINDS.index("gap"), step.phase, -1, 0, 0, -1, 0, 0, 0, step.steps, 0, 0])
            continue
        lanes, values, width = _content(step, recording, cells, held, handed_on)
        states: Any = 0 if step.states in ("", "*" * 32) else step.states
        rows.append([
            KINDS.index(step.kind), step.phase, step.warp, files.index(step.file), step.line,
            step.array, width, lanes, values, step.cost, step.least, states,
        ])  # fmt: skip
    return rows


def _content(
    step: WarpStep,
    recording: Recording,
    cells: Sequence[Cells],
    held: Sequence[dict[int, Any]],
    handed_on: dict[int, tuple[list[int], list[int]]],
) -> tuple[Any, Any, int]:
    """Return the lanes, values and width of a step's row."""
    if step.kind == "barrier":
        written, read = handed_on.get(step.phase, ([], []))
        return written, read, step.threads
    events = recording.events[step.events[step.events >= 0]]
    if step.kind == "warp":
        given, got = (_exchanged(events, column) for column in ("value", "result"))
        return [], [given, got], step.width
    unit, state = cells[step.array], held[step.array]
    # the last write is what stays
    order = np.sort(step.events[step.events >= 0])
    happened = recording.events[order]
    column = "value" if step.kind == "read" else "result"
    seen = unit.decode(happened["offset"], step.width, happened[column])
    changed = any(n not in state or state[n] != value for n, value in seen.items())
    state.update(seen)
    return _runs(step.offsets), [seen[n] for n in sorted(seen)] if changed else 0, step.width


def _exchanged(events: np.ndarray[Any, np.dtype[np.void]], column: str) -> list[Any]:
    width = max(1, int(events["width"][0]))
    number = NamedArray("", (1,), width, events["code"][0].decode(), False)
    unit = cells_of(number)
    return [
        list(unit.decode(np.zeros(1, np.int64), int(one["bytes"]), one[column].reshape(1)).values())
        for one in events
    ]


def _runs(offsets: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
    """Return the active lanes' offsets as runs: first lane, lanes, first offset, step."""
    runs: list[list[int]] = []
    for lane in np.flatnonzero(offsets >= 0).tolist():
        offset = int(offsets[lane])
        last = runs[-1] if runs else None
        if last and lane == last[0] + last[1]:
            if last[1] == 1:
                last[3] = offset - last[2]
            if offset == last[2] + last[1] * last[3]:
                last[1] += 1
                continue
            if last[1] == 1:
                last[3] = 0
        runs.append([lane, 1, offset, 0])
    return [n for run in runs for n in run]


def _handed_on(
    steps: Sequence[WarpStep], arrays: Sequence[NamedArray]
) -> dict[int, tuple[list[int], list[int]]]:
    """Return for each phase the shared arrays that its barrier lets be read, and be overwritten."""
    reads: dict[int, set[int]] = defaultdict(set)
    writes: dict[int, set[int]] = defaultdict(set)
    for step in steps:
        if step.array >= 0 and arrays[step.array].shared:
            if step.kind != "write":
                reads[step.phase].add(step.array)
            if step.kind != "read":
                writes[step.phase].add(step.array)
    phases = {step.phase for step in steps}
    return {
        phase: (
            sorted(writes[phase] & reads[phase + 1]),
            sorted(reads[phase] & writes[phase + 1]),
        )
        for phase in phases
    }
