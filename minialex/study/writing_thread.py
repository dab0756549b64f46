"""The thread of a CUDA kernel that wrote a number, and the numbers that it read for that.

    run = run_op("conv2d", x, w, None, implementation="tiled", stride=(1, 1), ...)
    found = writing_thread(explain_run(run, "y", (0, 17, 0, 4)))
    print(found.kernel, found.block, found.thread, found.reads_the_factors)

The kernels run again, in the emulator: once to see who writes there, and once more to see what all
threads of that block do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array, extent_of
from minialex.cuda import emulated
from minialex.cuda.emulator import Recording
from minialex.cuda.emulator import interface as i
from minialex.cuda.emulator.named import array_parameters
from minialex.cuda.observe import LaunchFunction, wrapped_launches
from minialex.cuda.plan import Dim3, LaunchPlan
from minialex.errors import MinialexError
from minialex.study.explanation import Explanation, cell_record, finite
from minialex.study.op_run import OpRun
from minialex.study.replay import Replay, replayed
from minialex.study.thread_reads import ThreadRead, reads_of
from minialex.terms import Cell

Launched = tuple[LaunchPlan, tuple[Any, ...]]

_Origin = tuple[str, Array, int]
"""An array of the formula, and the element of it that an argument begins at."""


@dataclass(frozen=True)
class WritingThread:
    """Who wrote a number, and from what.

    Attributes
    ----------
    kernel : str
        With its template arguments.
    launches : tuple of str
        The kernels that were launched up to this one, in order.
    grid, block_size, block, thread : tuple of three ints
        Of the launch, and who in it.
    writers : int
        How many threads wrote there; this is the last one.
    reads : int
        How many numbers it read to compute with.
    through_shared : int
        How many of those in shared memory.
    uncertain : int
        How many of those may come from one of several elements with the same bits.
    computed : int
        How many are neither elements of arrays nor zero: threads had computed them.
    factors, others, missing : tuple of Cell
        The factors of the formula that it read, other elements that it read, and factors that it
        did not read. Gates, and what is read beside a zero that stands for padding, are neither.
    missing_in_block : int
        How many of the missing ones other threads of its block read, from which it may have them:
        none where it neither reads shared memory nor exchanges numbers within its warp.
    written : int
        How many elements of arrays it wrote in all.
    made_before : dict of str to str
        Arrays that it read which are no inputs, with the kernel that wrote them.
    is_cut : bool
        Whether the block did more than is recorded.
    replay : Replay
        What its reads give, added up in their order.
    """

    kernel: str
    launches: tuple[str, ...]
    grid: Dim3
    block_size: Dim3
    block: Dim3
    thread: Dim3
    writers: int
    reads: int
    through_shared: int
    uncertain: int
    computed: int
    factors: tuple[Cell, ...]
    others: tuple[Cell, ...]
    missing: tuple[Cell, ...]
    missing_in_block: int
    written: int
    made_before: dict[str, str]
    is_cut: bool
    replay: Replay

    @property
    def reads_the_factors(self) -> bool:
        """Whether it read the factors of the formula, and nothing beside them."""
        return not (self.missing or self.others or self.made_before or self.computed)

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        simple = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("factors", "others", "missing", "replay")
        }
        cells = {
            name: [cell_record(cell) for cell in getattr(self, name)]
            for name in ("factors", "others", "missing")
        }
        replay = {
            "value": None if self.replay.value is None else finite(self.replay.value),
            "same_bits": self.replay.same_bits,
            "order": self.replay.order,
        }
        return simple | cells | {"reads_the_factors": self.reads_the_factors, "replay": replay}


def writing_thread(explanation: Explanation) -> WritingThread:
    """Find the thread that wrote a number.

    Parameters
    ----------
    explanation : Explanation
        Of a number that an implementation in CUDA kernels made.

    Raises
    ------
    MinialexError
        If no kernel wrote it.
    EmulationError
        If a kernel does what it must not.
    """
    run = explanation.run
    if run is None:
        raise MinialexError(f"{explanation.maker}: follow one of them to find a thread")
    search = _Search(run, explanation)
    launch, who, writers = search.last_writer()
    recording = search.recorded(launch, block=who[0])
    return search.described(launch, recording, who, writers)


def thread_of(explanation: Explanation) -> WritingThread | None:
    """Return the thread that wrote a number; None where its implementation has no CUDA kernels."""
    run = explanation.run
    if run is None or not run.is_in_kernels:
        return None
    return writing_thread(explanation)


class _Search:
    """Runs of one op in which launches are counted, and one of them is looked at."""

    def __init__(self, run: OpRun, explanation: Explanation) -> None:
        self.run, self.explanation = run, explanation
        self.launched: list[Launched] = []
        self.again = self._run(lambda launch: self._kept(launch))
        array = self.again.array(explanation.which)
        steps = zip(explanation.index, array.strides, strict=True)
        self.address = array.__array_interface__["data"][0] + sum(n * step for n, step in steps)

    def _kept(self, launch: LaunchFunction) -> LaunchFunction:
        def kept(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
            # as long as the arrays are held, no other is where one of them was
            self.launched.append((plan, values))
            launch(plan, values)

        return kept

    def _run(self, wrap: Callable[[LaunchFunction], LaunchFunction]) -> OpRun:
        with wrapped_launches(wrap):
            return self.run.by(self.run.implementation)

    def _parameter(self, n: int) -> tuple[str, int] | None:
        """Return the parameter of launch `n` that has the number in it, and where in it."""
        for parameter, array in array_parameters(*self.launched[n]):
            start, stop = extent_of(array)
            if start <= self.address < stop:
                return parameter.name, (self.address - start) // array.itemsize
        return None

    def last_writer(self) -> tuple[int, tuple[Dim3, Dim3], int]:
        """Return the last launch that wrote the number, who did, and how many did in it."""
        for n in reversed(range(len(self.launched))):
            parameter = self._parameter(n)
            if parameter is None:
                continue
            events = self.recorded(n, watch=parameter).events
            writes = events[np.isin(events["kind"], (i.WRITE, i.ATOMIC))]
            who = list(dict.fromkeys((_triple(e["block"]), _triple(e["thread"])) for e in writes))
            if who:
                return n, who[-1], len(who)
        run = self.run
        raise MinialexError(
            f"no CUDA kernel wrote it: {run.op.name} by {run.implementation} makes it of array "
            "operations"
        )

    def recorded(self, n: int, **how: Any) -> Recording:
        """Run the op again and record launch number `n`."""
        found: list[Recording] = []
        count = iter(range(len(self.launched)))
        if "block" in how:
            how["every_thread"] = True

        def wrap(launch: LaunchFunction) -> LaunchFunction:
            def one(plan: LaunchPlan, values: tuple[Any, ...]) -> None:
                if next(count) != n:
                    launch(plan, values)
                    return
                with emulated("traced", write=lambda line: None, **how) as emulation:
                    launch(plan, values)
                found.extend(emulation.recordings)

            return one

        self._run(wrap)
        return found[0]

    def described(
        self, n: int, recording: Recording, who: tuple[Dim3, Dim3], writers: int
    ) -> WritingThread:
        """Return what is known of the thread that wrote the number."""
        reads = reads_of(recording, who[1])
        origins = self._origins(n)
        cells = [_element(origins, read.array, read.element) for read in reads]
        of_formula = {(cell.array, cell.index): cell for cell in _factors(self.explanation)}
        gates = {(cell.array, cell.index): cell for cell in self.explanation.formula.gates}
        met = {(c.array, c.index): c for c in cells if c is not None}
        idle = dict.fromkeys(_beside_zeros(reads, cells))
        missing = tuple(cell for key, cell in of_formula.items() if key not in met)
        return WritingThread(
            kernel=recording.kernel,
            launches=tuple(plan.signature.name for plan, _ in self.launched[: n + 1]),
            grid=recording.grid,
            block_size=recording.block,
            block=who[0],
            thread=who[1],
            writers=writers,
            reads=len(reads),
            through_shared=sum(read.through_shared for read in reads),
            uncertain=sum(read.candidates > 1 for read in reads),
            computed=sum(not read.candidates and read.bits != 0 for read in reads),
            factors=tuple(cell for key, cell in met.items() if key in of_formula),
            others=tuple(cell for key, cell in met.items() if key not in of_formula | gates | idle),
            missing=missing,
            missing_in_block=(
                _read_in_block(origins, recording, missing) if _exchanges(recording, who[1]) else 0
            ),
            written=_written(recording, who[1]),
            made_before=self._made_before(n, origins, recording, reads),
            is_cut=recording.total > len(recording.events),
            replay=replayed(self.explanation, reads, cells),
        )

    def _origins(self, n: int) -> list[_Origin | None]:
        """Return where each array of a launch lies in those of the formula, in their order."""
        known = [
            (name, one, extent_of(one))
            for name, one in self.again.arrays().arrays.items()
            if one is not None and one.flags.c_contiguous
        ]
        found: list[_Origin | None] = []
        for _, array in array_parameters(*self.launched[n]):
            start = extent_of(array)[0]
            within = (
                (name, one, (start - first) // one.itemsize)
                for name, one, (first, stop) in known
                if first <= start < stop and one.itemsize == array.itemsize
            )
            found.append(next(within, None))
        return found

    def _made_before(
        self,
        n: int,
        origins: Sequence[_Origin | None],
        recording: Recording,
        reads: Iterable[ThreadRead],
    ) -> dict[str, str]:
        """Return the arrays that were read and are no inputs, and which kernel made them."""
        arguments = array_parameters(*self.launched[n])
        found = {}
        for number in sorted({read.array for read in reads if read.array >= 0}):
            if number < len(arguments) and origins[number] is None:
                found[recording.arrays[number].name] = self._maker(n, arguments[number][1])
        return found

    def _maker(self, n: int, array: Array) -> str:
        """Return the kernel that was given an array to write to before launch `n`, or this one."""
        start, stop = extent_of(array)
        for plan, values in reversed(self.launched[:n]):
            for parameter, other in array_parameters(plan, values):
                first, past = extent_of(other)
                if not parameter.const and start < past and first < stop:
                    return plan.signature.name
        return "this kernel, or array operations"


def _element(origins: Sequence[_Origin | None], array: int, element: int) -> Cell | None:
    """Return an element of a launch's array as one of the formula's arrays, if it is one."""
    # what a recording has beyond the launch's arguments is in shared memory
    origin = origins[array] if 0 <= array < len(origins) else None
    if origin is None:
        return None
    name, one, first = origin
    index = tuple(int(k) for k in np.unravel_index(first + element, one.shape))
    return Cell(name, index, float(one[index]))


def _read_in_block(
    origins: Sequence[_Origin | None], recording: Recording, missing: Sequence[Cell]
) -> int:
    """Return how many of the factors that the thread did not read its block did."""
    if not missing:
        return 0
    events = recording.events
    read = events[(events["kind"] == i.READ) & (events["array"] >= 0)]
    there: set[tuple[str, tuple[int, ...]]] = set()
    for number in np.unique(read["array"]).tolist():
        width = recording.arrays[number].bytes
        mine = read[read["array"] == number]
        spans = np.unique(np.stack([mine["offset"], mine["bytes"]], 1), axis=0).tolist()
        for offset, size in spans:
            for element in range(offset // width, (offset + size) // width):
                cell = _element(origins, number, element)
                if cell is not None:
                    there.add((cell.array, cell.index))
    return sum((cell.array, cell.index) in there for cell in missing)


def _factors(explanation: Explanation) -> Iterable[Cell]:
    """Yield the elements that the number is made of: behind open gates, and not beside padding."""
    formula = explanation.formula
    for n, term in enumerate(formula.terms):
        cells = list(formula.cells_of(n))
        if not term.shut and not any(cell.is_outside for cell in cells):
            yield from cells


def _beside_zeros(
    reads: Sequence[ThreadRead], cells: Sequence[Cell | None]
) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Yield the elements that are read beside a zero that stands for one outside an array."""
    is_zero = [read.through_shared and not read.candidates and not read.bits for read in reads]
    for n, cell in enumerate(cells):
        if cell is not None and any(is_zero[max(n - 1, 0) : n + 2]):
            yield cell.array, cell.index


def _exchanges(recording: Recording, thread: Dim3) -> bool:
    """Return whether a thread may have numbers from others of its block."""
    events = recording.events
    mine = events[(events["thread"] == thread).all(axis=1)]
    shared = np.array([array.shared for array in recording.arrays], bool)
    reads = mine[(mine["kind"] == i.READ) & (mine["array"] >= 0)]
    return bool((mine["kind"] == i.WARP).any() or shared[reads["array"]].any())


def _written(recording: Recording, thread: Dim3) -> int:
    """Return how many elements of arrays that are not shared a thread wrote."""
    events = recording.events
    mine = (events["thread"] == thread).all(axis=1) & np.isin(events["kind"], (i.WRITE, i.ATOMIC))
    return sum(
        int(events["bytes"][mine & (events["array"] == n)].sum()) // array.bytes
        for n, array in enumerate(recording.arrays)
        if not array.shared
    )


def _triple(numbers: Any) -> Dim3:
    x, y, z = (int(n) for n in numbers)
    return x, y, z
