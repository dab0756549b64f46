"""Put together what the parts of tests/device.sh left: one record of one device.

    python -m tests.device.record PARTS RESULTS emulated|cuda about      before the first part
    python -m tests.device.record PARTS RESULTS emulated|cuda NAME=OUTCOME...     after each

PARTS is the folder of what the parts wrote, and RESULTS that of the record, which is written anew
after each part, so that a run cut short leaves one. `kernels/README.md` reads it: see
``minialex.study.proofs``.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from minialex import arrays
from minialex.arrays import CPU
from minialex.bench import machine

EMULATOR = "emulator, checked mode"


def main(words: list[str]) -> int:
    """Write the record, say where, and return the exit status."""
    parts, results, where, *outcomes = words
    known = Path(parts) / "about.json"
    if outcomes == ["about"]:
        known.write_text(json.dumps(about(where == "emulated")), encoding="utf-8")
        return 0
    record = {
        **json.loads(known.read_text(encoding="utf-8")),
        "parts": dict(outcome.split("=", 1) for outcome in outcomes),
        **suite(Path(parts) / "suite.json"),
        "full_size": full_size(Path(parts) / "full_size.jsonl"),
    }
    if not record["tests"] and not record["full_size"]:
        # an earlier record stays
        print("nothing was tested, and nothing is recorded")
        return 0
    slug = re.sub(r"\W+", "-", record["device"].lower()).strip("-")
    path = Path(results) / f"{slug}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {record['tests']}, {len(record['kernels'])} kernels")
    return 0


def about(is_emulated: bool) -> dict[str, Any]:
    """Return what ran where and when."""
    device = CPU if is_emulated else arrays.device("cuda")
    there = machine.machine(device)
    return {
        "device": EMULATOR if is_emulated else there["gpu"]["name"],
        "emulated": is_emulated,
        "date": machine.now()[:10],
        "commit": machine.commit(),
        "machine": there,
        "versions": machine.versions(),
    }


def suite(path: Path) -> dict[str, Any]:
    """Return what became of the tests, and for each kernel of those that launched it."""
    if not path.exists():
        return {"tests": {}, "kernels": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def full_size(path: Path) -> dict[str, Any]:
    """Return verdicts by op, implementation and type, and in full the rows that did not pass."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    verdicts: dict[str, Counter[str]] = {}
    for row in rows:
        name = f"{row['op']} {row['forward']} {row['dtype']}"
        verdicts.setdefault(name, Counter())[row["verdict"]] += 1
    return {"verdicts": verdicts, "not_passed": [r for r in rows if r["verdict"] != "PASS"]}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
