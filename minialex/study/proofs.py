"""What kernels were tested on: the records ``tests/results/*.json``, which tests/device.sh writes.

A record is of one device, the emulator included, and holds for every kernel how many tests that
launched it passed and failed:

    {"device": "NVIDIA H100", "emulated": false, "date": "2026-01-31", "commit": "0123abc", ...,
     "kernels": {"relu.cu: relu_forward": {"passed": 9, "failed": 0}}}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minialex.errors import MinialexError
from minialex.plain_json import read_json

FOLDER = "tests/results"


@dataclass(frozen=True)
class Proof:
    """On what one kernel was tested, as cells of a table."""

    emulated: str = "not recorded"
    gpu: str = "not run on a GPU"


def read_proofs(root: Path) -> dict[tuple[str, str], Proof]:
    """Return what the records of a source tree say of each kernel, by file and name.

    Raises
    ------
    MinialexError
        If a record is not one.
    """
    emulated: dict[tuple[str, str], list[str]] = {}
    gpu: dict[tuple[str, str], list[str]] = {}
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            record = read_json(path)
            there = emulated if record["emulated"] else gpu
            for name, counts in record["kernels"].items():
                file, _, kernel = name.partition(": ")
                there.setdefault((file, kernel), []).append(_said(record, counts))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MinialexError(
                f"{path.name} is no record of tests/device.sh ({error!r})"
            ) from error
    proofs = {}
    for kernel in emulated.keys() | gpu.keys():
        found = {
            name: "; ".join(there[kernel])
            for name, there in (("emulated", emulated), ("gpu", gpu))
            if kernel in there
        }
        proofs[kernel] = Proof(**found)
    return proofs


def _said(record: dict[str, Any], counts: dict[str, int]) -> str:
    where = record["date"] if record["emulated"] else f"{record['device']}, {record['date']}"
    passed, failed = counts["passed"], counts["failed"]
    return f"{where}: {passed} passed" + (f", **{failed} failed**" if failed else "")
