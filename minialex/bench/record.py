"""What a benchmark found, as it is kept in a file: times, and everything needed to judge them.

A record is one JSON file. Every time in it is in seconds, every rate in operations or bytes a
second, and each list of times is kept whole, so that a later reader can ask what this one did not.
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

FORMAT = "minialex-bench 1"
FILE = "record.json"
"""What a record is called in the folder that holds its pictures too."""

Sweeps = list[list[float]]
"""Times in seconds: one list for each sweep over all cases, one time in it for each round."""


@dataclass
class Timing:
    """One contender in one case.

    Attributes
    ----------
    kind : "implementation" or "peer"
    times : one list of seconds a sweep, one time a call and round
        Empty where it was not timed: `reason` says why.
    cold : the same with the GPU's L2 cache emptied before each call; empty on a CPU
    error : float or None
        How far its result was from what it was compared with, relative to the size of that.
    reason : str
        Why there are no times: it is not there, does not take this case, or gave a wrong result.
    wrong : bool
        Whether `reason` is that the result was wrong, or that it broke off.
    kernels : list of dict
        On a GPU: each kernel's name, registers, shared memory and occupancy.
    """

    kind: str
    times: Sweeps = field(default_factory=list)
    cold: Sweeps = field(default_factory=list)
    error: float | None = None
    reason: str = ""
    wrong: bool = False
    kernels: list[dict[str, Any]] = field(default_factory=list)

    @property
    def timed(self) -> bool:
        """Whether there is a time."""
        return any(self.times)

    @property
    def seconds(self) -> float:
        """The median time of a call."""
        return median(flat(self.times))


@dataclass
class Row:
    """One case, and everybody who took part in it.

    Attributes
    ----------
    op : str
        The op's name, or "step", "inference", "optimizer", "images", "loader".
    what : str
        Which part of it: "forward", "data gradient", "RMSprop", ...
    batch : int
        Images at once; 0 where images have no part in it.
    labels : list of str
        Where this case stands in the networks: "alexnet conv2d 2".
    parts : list of (flops, bytes)
        What it takes: one pair for a single op, one an op and pass for a whole network.
    count : int
        How often one training step of the first network named in `labels` does it.
    images : int
        How many images a call deals with, where images a second are worth knowing; else 0.
    timings : dict from the contender's name to Timing
    chosen : str
        Which of our implementations runs where nobody chooses.
    """

    op: str
    what: str
    batch: int
    labels: list[str]
    parts: list[tuple[int, int]]
    count: int
    images: int
    timings: dict[str, Timing]
    chosen: str = "plain"

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells this row from all others of a record."""
        return self.labels[0], self.op, self.what, self.batch

    @property
    def title(self) -> str:
        """The row's name for people, without the batch."""
        return f"{self.labels[0]} {self.what}"

    @property
    def full_title(self) -> str:
        """The row's name for people, with the batch."""
        return f"{self.title}, batch {self.batch}" if self.batch else self.title

    @property
    def flops(self) -> int:
        """Floating-point operations of a call."""
        return sum(f for f, _ in self.parts)

    @property
    def bytes(self) -> int:
        """The fewest bytes that a call must move."""
        return sum(b for _, b in self.parts)


@dataclass
class Ceilings:
    """What the machine can do, measured in the same run, before each sweep.

    Attributes
    ----------
    gemm : list of float
        Operations a second in a large matrix product in float32.
    copy : list of float
        Bytes a second, read and written, in a large copy.
    busy : list of float
        How many CPU cores other programs kept busy.
    """

    gemm: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)


@dataclass
class Record:
    """One run of the benchmark.

    Attributes
    ----------
    machine : dict
        CPU, cores, memory, system; on a GPU its name, driver and clocks. Never the host's name.
    versions, peers : dict from name to str
        Of this project and the libraries; of those it was compared with, and in which mode.
    absent : dict from peer to str
        Why a peer takes no part at all.
    threads : dict
        How many threads computed, on which cores, and the thread pools of the libraries.
    commit : str or None
        The revision of the source tree, with "+" where files were changed; None outside of one.
    date : str
        Universal time, ISO 8601.
    device : str
        "cpu" or "cuda:N".
    settings : dict
        Sweeps, rounds, and what was left out for want of time.
    memory, imports : list of dict
        Peak memory of a training step and the time of an import, each in a fresh process.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    peers: dict[str, str]
    absent: dict[str, str]
    threads: dict[str, Any]
    commit: str | None
    date: str
    device: str
    settings: dict[str, Any]
    ceilings: Ceilings = field(default_factory=Ceilings)
    rows: list[Row] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    imports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def busy(self) -> float:
        """How many CPU cores other programs kept busy: the most of all sweeps."""
        return max(self.ceilings.busy, default=0.0)

    @property
    def wrong(self) -> list[tuple[Row, str]]:
        """The contenders whose results were refused."""
        return [(row, name) for row in self.rows for name, t in row.timings.items() if t.wrong]


def flat(sweeps: Sweeps) -> list[float]:
    """Return the times of all sweeps in one list."""
    return [t for sweep in sweeps for t in sweep]


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    some = list(values)
    if len(some) == 1:
        return some[0], some[0], some[0]
    low, middle, high = quantiles(some, n=4, method="inclusive")
    return low, middle, high


def ratio(theirs: Timing, ours: Timing) -> tuple[float, float, float]:
    """Return how many times as long `theirs` took: quartiles of the ratios of pairs.

    A pair is two times of the same round, taken one right after the other, so that whatever else
    the machine was doing weighs on both. Where one was timed once a sweep, being slow, every time
    of that sweep makes a pair with it.
    """
    pairs = [
        (t, o)
        for them, us in zip(theirs.times, ours.times, strict=True)
        for t, o in (zip(them, us, strict=True) if len(them) == len(us) else product(them, us))
    ]
    return quartiles(t / o for t, o in pairs)


def write(record: Record, path: Path) -> None:
    """Write a record to a file of its own."""
    lines = json.dumps({"format": FORMAT} | asdict(record), indent=1, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines + "\n", encoding="utf-8")


def read(path: Path) -> Record:
    """Return the record in a file.

    Raises
    ------
    MinialexError
        If the file is missing, or is not a benchmark record of this format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MinialexError(f"cannot read {path}: {error.strerror}; give a record") from error
    except ValueError as error:
        raise MinialexError(f"{path} is not JSON: give a record of `minialex bench`") from error
    found = data.pop("format", None) if isinstance(data, dict) else None
    if found != FORMAT:
        raise MinialexError(
            f"{path} is no record in the format {FORMAT!r} (it says {found!r}): measure again "
            "with `minialex bench`"
        )
    try:
        return _record(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise MinialexError(f"{path} is damaged ({error}): measure again") from error


def _record(data: dict[str, Any]) -> Record:
    rows = [_row(row) for row in data.pop("rows")]
    return Record(ceilings=Ceilings(**data.pop("ceilings")), rows=rows, **data)


def _row(row: dict[str, Any]) -> Row:
    timings = {name: Timing(**t) for name, t in row.pop("timings").items()}
    parts = [(flops, nbytes) for flops, nbytes in row.pop("parts")]
    return Row(timings=timings, parts=parts, **row)
