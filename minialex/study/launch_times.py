"""What each launch of a training step took on a GPU: ``benchmarks/results/*/launches.json``.

``tests/device/first_contact.py`` writes them, one per GPU. A row is one launch: mode, batch,
kernel, its sizes, the median of its times in microseconds, and beside it the times of a model and
of a lower bound (a roofline).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minialex.errors import MinialexError
from minialex.plain_json import read_json

FOLDER, FILE = "benchmarks/results", "launches.json"
FORMAT = "minialex-launches 1"
BATCH = 128
"""The batch size that documents show."""

Row = dict[str, Any]


@dataclass(frozen=True)
class LaunchTimes:
    """The launches of training steps on one GPU.

    Attributes
    ----------
    path : Path
        Of the record, in the source tree.
    machine : dict
        As in a record of the benchmark: the GPU with its driver, and clocks at rest and under load.
    date : str
        Universal time, ISO 8601.
    commit : str or None
    rows : list of dict
    """

    path: Path
    machine: dict[str, Any]
    date: str
    commit: str | None
    rows: list[Row]

    @property
    def gpu(self) -> dict[str, Any]:
        """The GPU."""
        found: dict[str, Any] = self.machine["gpu"]
        return found

    def of(self, mode: str, batch: int = BATCH) -> list[Row]:
        """Return the launches of one step, in order."""
        return [row for row in self.rows if (row["mode"], row["batch"]) == (mode, batch)]

    @property
    def modes(self) -> list[str]:
        """The modes, in order of appearance."""
        return list(dict.fromkeys(row["mode"] for row in self.rows))


def read_launch_times(root: Path) -> list[LaunchTimes]:
    """Return the records of a source tree, sorted by name.

    Raises
    ------
    MinialexError
        If one is not such a record.
    """
    found = []
    for path in sorted((root / FOLDER).glob(f"*/{FILE}")):
        try:
            data = read_json(path)
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r}")
            about = data["machine"], data["date"], data["commit"], data["rows"]
            one = LaunchTimes(path.relative_to(root), *about)
            # raises KeyError where something is missing
            kernel_times([one])
        except (ValueError, KeyError, TypeError) as error:
            raise MinialexError(
                f"{path.parent.name}/{FILE} is no record of tests/device/first_contact.py "
                f"({error!r}): remove it, or measure again"
            ) from error
        found.append(one)
    return found


@dataclass(frozen=True)
class Group:
    """Launches that are shown as one: a product's, or all others of one kernel.

    Attributes
    ----------
    what : str
        The sizes of a product; empty for the others.
    us, floor_us : float
        Sums over the launches, in microseconds.
    model_us : float or None
        The same of the model; None where one of them has none.
    bound : str
        Whether the longest of the floors is bound by arithmetic or by bytes.
    """

    kernel: str
    what: str
    launches: int
    us: float
    model_us: float | None
    floor_us: float
    bound: str


def grouped(rows: Iterable[Row]) -> list[Group]:
    """Return the launches of a step in groups, in order of appearance."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        # a product by itself, all else kernel by kernel
        alike.setdefault((row["kernel"], row["what"] if row["flops"] else ""), []).append(row)
    return [total(some, kernel, what) for (kernel, what), some in alike.items()]


def total(rows: list[Row], kernel: str, what: str = "") -> Group:
    """Return the sum of launches."""
    models = [row["model_us"] for row in rows]
    return Group(
        kernel,
        what,
        len(rows),
        us=float(sum(row["us"] for row in rows)),
        model_us=None if None in models else float(sum(models)),
        floor_us=float(sum(row["floor_us"] for row in rows)),
        bound=str(max(rows, key=lambda row: row["floor_us"])["bound"]),
    )


def kernel_times(records: Iterable[LaunchTimes]) -> dict[tuple[str, str], str]:
    """Return, by file and name, the time of a kernel in one training step on each GPU, as text."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        described: set[tuple[str, str]] = set()
        for mode in record.modes:
            own: dict[tuple[str, str], list[Row]] = {}
            for row in record.of(mode):
                own.setdefault((row["file"], row["kernel"]), []).append(row)
            # a kernel that runs in several modes is described for the first
            for kernel in own.keys() - described:
                taken = total(own[kernel], kernel[1])
                found.setdefault(kernel, []).append(
                    f"{record.gpu['name']}, {record.date[:10]}: {taken.us:.0f} us in "
                    f"{taken.launches} launches, floor {taken.floor_us:.0f} us"
                )
            described |= own.keys()
    return {kernel: "; ".join(said) for kernel, said in found.items()}
