"""What a benchmark found, as it is kept in a file: times, and everything needed to compare them.

A record is one JSON file. Every time in it is in seconds, every rate in operations or bytes per
second, and each list of times is kept whole, so that later readers can ask other questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from minialex.errors import MinialexError
from minialex.files import atomic_write, make_folder
from minialex.plain_json import read_json, typed

FORMAT = "minialex-bench 2"
FILE = "record.json"
"""What a record is called in the folder that holds its plots too."""

Repetitions = list[list[float]]
"""Times in seconds: one list per repetition over all cases, in it one time per round."""


@dataclass
class Timing:
    """One contender in one case.

    Attributes
    ----------
    kind : "implementation" or "peer"
    times : seconds of a call, one list per repetition, in it one mean per round
        Empty where it was not timed: `reason` says why.
    cold : the same with the GPU's L2 cache emptied before each call; empty on a CPU
    error : float or None
        How far its result was from what it was compared with, relative to the size of that.
    reason : str
        Why there are no times: it is unavailable, skips this case, or gave a wrong result.
    failed : bool
        Whether `reason` is that the result was wrong, or that it raised an error.
    kernels : list of dict
        On a GPU: each kernel's name, registers, shared memory and occupancy.
    lines : int or None
        Lines of its source code; None for a peer, and for a whole network.
    """

    kind: str
    times: Repetitions = field(default_factory=list)
    cold: Repetitions = field(default_factory=list)
    error: float | None = None
    reason: str = ""
    failed: bool = False
    kernels: list[dict[str, Any]] = field(default_factory=list)
    lines: int | None = None

    @property
    def timed(self) -> bool:
        """Whether there is a time."""
        return any(self.times)

    @property
    def seconds(self) -> float:
        """The median time of a call."""
        return median(flat(self.times))


@dataclass
class BenchRow:
    """One case, with the timings of all its contenders.

    Attributes
    ----------
    op : str
        The op's name, or "step", "inference", "optimizer", "images", "loader".
    what : str
        Which part of it: "forward", "data gradient", "RMSprop", ...
    batch : int
        Images per call; 0 where the work does not depend on it.
    labels : list of str
        Where this case stands in the networks: "alexnet conv2d 2".
    work : list of (flops, bytes)
        One pair for a single op, one per op and pass for a whole network.
    per_step : int
        How often one training step of the first network named in `labels` does it.
    images : int
        Images per call, where images per second are worth knowing; else 0.
    timings : dict from the contender's name to Timing
    default : str
        Which of our implementations runs where none is chosen.
    """

    op: str
    what: str
    batch: int
    labels: list[str]
    work: list[tuple[int, int]]
    per_step: int
    images: int
    timings: dict[str, Timing]
    default: str = "plain"

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What identifies this row in a record."""
        return self.labels[0], self.op, self.what, self.batch

    @property
    def network(self) -> str:
        """The first network that has this case."""
        return self.labels[0].split()[0]

    @property
    def title(self) -> str:
        """The row's name for people, without the batch."""
        return f"{self.labels[0]} {self.what}"

    @property
    def full_title(self) -> str:
        """The row's name for people, with the batch."""
        return f"{self.title}, batch {self.batch}" if self.batch else self.title

    def __repr__(self) -> str:
        times = [f"{name} {1e3 * t.seconds:.3g} ms" for name, t in self.timings.items() if t.timed]
        return f"{self.full_title}: {', '.join(times) or 'not timed'}"

    @property
    def flops(self) -> int:
        """Floating-point operations of a call."""
        return sum(f for f, _ in self.work)

    @property
    def bytes(self) -> int:
        """The fewest bytes that a call must move."""
        return sum(b for _, b in self.work)


@dataclass
class Ceilings:
    """What the machine can do, measured in the same run, before each repetition.

    Attributes
    ----------
    gemm : list of float
        Operations per second in a large matrix product in float32.
    copy : list of float
        Bytes per second, read and written, in a large copy.
    busy_cores : list of float
        How many CPU cores other programs kept busy.
    """

    gemm: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)
    busy_cores: list[float] = field(default_factory=list)


@dataclass
class BenchRecord:
    """One run of the benchmark.

    Attributes
    ----------
    machine : dict
        CPU, cores, memory, system; on a GPU its name, driver and clocks. Never the host's name.
    versions, peers : dict from name to str
        Of this project and the libraries; of the peers, and in which mode each was used.
    unavailable : dict from peer to str
        Why a peer is in no case.
    threads : dict
        How many threads computed, on which cores, and the thread pools of the libraries.
    commit : str or None
        The revision of the source tree, with "+" where files were changed; None outside of one.
    date : str
        Universal time, ISO 8601.
    device : str
        "cpu" or "cuda:N".
    settings : dict
        Repetitions, rounds, precision, and the cases not reached in time.
    memory, imports : list of dict
        Peak memory of a training step and the time of an import, each in a new process.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    peers: dict[str, str]
    unavailable: dict[str, str]
    threads: dict[str, Any]
    commit: str | None
    date: str
    device: str
    settings: dict[str, Any]
    ceilings: Ceilings = field(default_factory=Ceilings)
    rows: list[BenchRow] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    imports: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        where = self.machine.get("gpu", {}).get("name") or self.machine.get("cpu", "")
        head = f"BenchRecord of {self.date} on {self.device} ({where}), median times"
        return "\n  ".join((head, *map(repr, self.rows)))

    @property
    def busy_cores(self) -> float:
        """How many CPU cores other programs kept busy: the most of all repetitions."""
        return max(self.ceilings.busy_cores, default=0.0)

    @property
    def failed(self) -> list[tuple[BenchRow, str]]:
        """The contenders that raised, or whose results were wrong."""
        return [(row, name) for row in self.rows for name, t in row.timings.items() if t.failed]


def flat(times: Repetitions) -> list[float]:
    """Return the times of all repetitions in one list."""
    return [t for repetition in times for t in repetition]


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    samples = list(values)
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return low, middle, high


def ratio(other: Timing, this: Timing) -> tuple[float, float, float]:
    """Return how many times as long `other` took: quartiles of the ratios of pairs.

    A pair is two times of the same round, taken one right after the other, so that whatever else
    the machine was doing slows both. Where one was timed once per repetition, being slow, every
    time of that repetition is paired with it.
    """
    pairs = [
        (t, o)
        for others, own in zip(other.times, this.times, strict=True)
        for t, o in (
            zip(others, own, strict=True) if len(others) == len(own) else product(others, own)
        )
    ]
    return quartiles(t / o for t, o in pairs)


def write(record: BenchRecord, path: Path) -> None:
    """Write a record to a file of its own, whole or not at all.

    Raises
    ------
    MinialexError
        If it cannot be written.
    """
    lines = json.dumps({"format": FORMAT} | asdict(record), indent=1, ensure_ascii=False)
    make_folder(path.parent)
    atomic_write(path, f"{lines}\n".encode())


def read(path: Path) -> BenchRecord:
    """Return the record in a file.

    Raises
    ------
    MinialexError
        If the file is missing, or is not a benchmark record of this format.
    """
    try:
        data = read_json(path)
    except OSError as error:
        raise MinialexError(f"cannot read {path}: {error.strerror}; give a record") from error
    except ValueError as error:
        raise MinialexError(f"{path} is not JSON: give a record of `minialex bench`") from error
    found = data.pop("format", None) if isinstance(data, dict) else None
    if found != FORMAT:
        raise MinialexError(
            f"{path} is no record in the format {FORMAT!r} (it says {found!r:.60}): measure again "
            "with `minialex bench`"
        )
    try:
        record: BenchRecord = typed(BenchRecord, data)
        for row in record.rows:
            _check(row)
    except ValueError as error:
        raise MinialexError(f"{path} is damaged ({error}): measure again") from error
    return record


def _check(row: BenchRow) -> None:
    """Raise ValueError unless the row has a name, and ratios of its times can be taken."""
    if not row.labels or not row.labels[0].strip():
        raise ValueError("a case has no label")
    timed = [t for timing in row.timings.values() for t in flat(timing.times + timing.cold)]
    if min(timed, default=1.0) <= 0:
        raise ValueError(f"{row.labels[0]!r:.60} took no time")
