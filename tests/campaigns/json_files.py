"""What runs and benchmarks write as JSON, damaged and edited, with checksums that are right.

Each of five kinds of file takes every fifth seed.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minialex.bench import record as bench
from minialex.kfold import fold_records
from minialex.kfold.fold_records import FoldRecord, read_plan, read_record
from minialex.plain_json import field_types
from minialex.train.given import make_settings
from minialex.train.metrics import MetricsRecord, read_metrics
from minialex.train.run import read_runtime_settings
from minialex.train.settings import RUNTIME_SETTINGS
from tests.bench.fake_records import record
from tests.campaigns.fuzz import files
from tests.campaigns.mutations import damage, edited

SETTINGS = make_settings(out="runs/x").to_json()
FOLD = {"format": fold_records.FORMAT, "fold": 1, "k": 3, "checkpoint": "fold-1/last.safetensors"}
FOLD |= {"train_images": 20, "images": 8, "correct": 6}
FOLD |= {"accuracy": 75.0, "top5_accuracy": 100.0, "loss": 0.5}
LINE = {"split": "val", "epoch": 1, "step": 8, "loss": 0.5, "accuracy": None, "lr": 0.1}
LINE |= {"images_per_second": 100.0}
TABLES: dict[str, Any] = {
    "settings.json": {"settings": SETTINGS, "versions": {"python": "3.11"}},
    "kfold.json": {
        "format": fold_records.FORMAT,
        "k": 3,
        "settings": SETTINGS,
        "images": {"all": [[12, "0123456789abcdef", "fedcba9876543210"]] * 2},
        "engine": "cpu with 2 cores",
    },
    "fold-1/fold.json": FOLD,
    "metrics.jsonl": LINE,
    "record.json": {"format": bench.FORMAT, **asdict(record(2, cases=2))},
}
KINDS = list(TABLES)
RECORDS = (bench.BenchRecord, bench.BenchRow, bench.Timing, bench.Ceilings)


def prepare() -> None:
    """Work out the types of fields, which is done once; see that undamaged files are read."""
    for kind in (*RECORDS, FoldRecord, MetricsRecord):
        field_types(kind)
    for name in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(undamaged(name))
            wrong = read(Path(folder) / "x", (name, None))
            assert wrong is None, f"before any damage: {wrong}"


SIGNED = ("kfold.json", "fold-1/fold.json")


def signed(text: str) -> bytes:
    """Return a JSON text with a checksum that is right, where it can have one."""
    try:
        table = json.loads(text)
        checksum = zlib.crc32(json.dumps(table).encode())
        return (json.dumps({**table, "crc32": checksum}, indent=1) + "\n").encode()
    except (ValueError, TypeError, RecursionError):
        return text.encode()


def undamaged(name: str) -> bytes:
    """Return what a file of this name holds."""
    text = json.dumps(TABLES[name])
    return signed(text) if name in SIGNED else (text + "\n").encode()


def make(draw: random.Random, path: Path) -> tuple[str, bytes | None]:
    """Write one file; returns its name, and what was in it before it was damaged, if it was."""
    name = draw.choice(KINDS)
    table, sign = TABLES[name], name in SIGNED
    if draw.random() < 0.4:
        whole = undamaged(name)
        content, before = damage(draw, whole), whole
    else:
        text, before = edited(draw, table), None
        content = signed(text) if sign and draw.random() < 0.9 else (text + "\n").encode()
    file = path.parent / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return name, before if sign else None


def read(path: Path, made: tuple[str, bytes | None]) -> str | None:
    """Read it; returns what is wrong with what was read, or None."""
    (name, before), folder = made, path.parent
    content = (folder / name).read_bytes()
    if name == "fold-1/fold.json":
        found = asdict(read_record(folder, 1))
        exact = 100 * found["correct"] / found["images"]
        wrong = found["accuracy"] != exact or not found["fold"] == 1 <= found["k"]
    elif name == "kfold.json":
        settings, k = read_plan(folder)
        found = {"k": k, "settings": settings.to_json()}
        # which folder it is is known, whatever the file says
        del found["settings"]["out"]
        wrong = type(k) is not int or k < 2
    elif name == "settings.json":
        found = {"settings": read_runtime_settings(folder)}
        wrong = not found["settings"].keys() <= RUNTIME_SETTINGS
    elif name == "metrics.jsonl":
        found = [asdict(one) for one in read_metrics(folder)]
        wrong = any(type(one["epoch"]) is not int for one in found)
    else:
        read_back = bench.read(folder / name)
        found = asdict(read_back)
        wrong = any(
            t.timed and not t.seconds > 0 for row in read_back.rows for t in row.timings.values()
        )
    if wrong:
        return f"{name} was taken for {found!r:.300}"
    if before is not None and content != before:
        return f"{name} was damaged, and was taken"
    return None if _says(content, found) else f"{name} was read as {found!r:.300}"


def _says(content: bytes, found: Any) -> bool:
    """Whether a file says what was found in it, or leaves it out; NaN is null."""
    if isinstance(found, list):
        lines = [json.loads(line) for line in content.split(b"\n")[:-1]]
        return len(lines) == len(found) and all(map(_agrees, lines, found))
    return _agrees(json.loads(content), found)


def _agrees(said: Any, found: Any) -> bool:
    if isinstance(found, dict):
        return isinstance(said, dict) and all(
            _agrees(said[key], x) for key, x in found.items() if key in said
        )
    if isinstance(found, list | tuple):
        return len(said) == len(found) and all(map(_agrees, said, found))
    if isinstance(found, float) and math.isnan(found):
        return said is None
    return bool(said == found)


CAMPAIGN = files(__name__, "files of JSON", count=50_000, short=150, batch=5000)
