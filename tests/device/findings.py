"""What the parts of tests/device/first_contact.py have found, and the table that shows it."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minialex.study.launch_times import BATCH, FILE, FORMAT, grouped, total
from tests.device import launches
from tests.device.launches import Gpu


@dataclass(frozen=True)
class Findings:
    """The lines that parts have written so far.

    Attributes
    ----------
    lines : Path
        The file of JSON lines.
    is_emulated : bool
        Whether the times are those of an emulation.
    """

    lines: Path
    is_emulated: bool

    def found(self, part: str, key: str) -> list[dict[str, Any]]:
        """Return the lines of a part that have a key; a line cut short is none."""
        lines = self.lines.read_text(encoding="utf-8").splitlines() if self.lines.exists() else []
        rows = []
        for line in lines:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return [row for row in rows if row["part"] == part and key in row]

    def gpu(self) -> Gpu:
        """Return what floors and models are worked out for: this GPU, as far as it was measured."""
        gpu = Gpu()
        for found in self.found("facts", "machine"):
            there = found["machine"].get("gpu")
            if there:
                clock = re.match(r"([\d.]+) MHz", there["state under load"].get("clocks.sm", ""))
                gpu = replace(
                    gpu,
                    name=there["name"],
                    multiprocessors=there["multiprocessors"],
                    architecture=int(there["compute_capability"].replace(".", "")),
                    clock=1e6 * float(clock[1]) if clock else gpu.clock,
                )
        for found in self.found("facts", "copy"):
            gpu = replace(gpu, copy=found["copy"])
        return gpu

    def write_record(self, out: Path) -> None:
        """Write the record of the launches to the folder `out`, once there are some of a GPU."""
        about = self.found("facts", "machine")
        rows = self.rows()
        if self.is_emulated or not about or not rows:
            return
        facts = {k: v for one in self.found("facts", "part") for k, v in one.items()}
        kept = ("machine", "versions", "commit", "date", "copy", "gemm")
        record = {"format": FORMAT, **{name: facts.get(name) for name in kept}, "rows": rows}
        (out / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def rows(self) -> list[dict[str, Any]]:
        """Return every launch with its mode and batch, its time, its floor and its model."""
        gpu = self.gpu()
        rows = []
        for found in self.found("launches", "rows"):
            for row in found["rows"]:
                floor, binding = launches.floor(row, gpu)
                model = launches.model(row, gpu)
                rows.append(
                    {"mode": found["mode"], "batch": found["batch"]}
                    | row
                    | {"floor_us": 1e6 * floor, "bound": binding}
                    | {"model_us": None if model is None else 1e6 * model}
                )
        return rows

    def summary(self) -> list[str]:
        """Return what was found, as a short table."""
        rows, gpu = self.rows(), self.gpu()
        batches = sorted({row["batch"] for row in rows})
        shown = BATCH if BATCH in batches else next(iter(batches), 0)
        lines = [""]
        for check in self.found("smoke", "wrong"):
            lines.append(f"wrong: {check['check']}")
        for found in self.found("step", "unlike"):
            name, error = max(found["relative_error"].items(), key=lambda one: one[1])
            unlike = ", ".join(found["unlike"]) or "none"
            lines.append(
                f"{found['mode']}: gradients unlike the CPU's: {unlike}; {name} {error:.1e}"
            )
        if self.is_emulated:
            lines.append("times are those of an emulation, and mean nothing")
        for mode in dict.fromkeys(row["mode"] for row in rows):
            own = [r for r in rows if r["mode"] == mode and r["batch"] == shown]
            lines.append(f"{mode}, batch {shown}, us; model and floor for {gpu.name}")
            lines += table(own)
        for row in self.found("arrays", "layer"):
            lines.append(
                f"{row['layer']}, batch {row['batch']}, {row['implementation']}: "
                f"{row['forward_us']:.0f} us forward, {row['backward_us']:.0f} us backward"
            )
        for part, key in (("host", "step_ms"), ("graph", "replay_ms"), ("torch", "step_ms")):
            for row in self.found(part, key):
                how = [f"{row[k]}" for k in ("who", "mode") if k in row]
                if "tf32" in row:
                    how += ["bf16" if row["bf16"] else "TF32" if row["tf32"] else "strict"]
                lines.append(f"{part}: {', '.join(how)}, batch {row['batch']}: {row[key]:.2f} ms")
        lines += [
            f"graph: {r['mode']}: refused: {r['refused']}" for r in self.found("graph", "refused")
        ]
        return lines


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return launches as lines: time, model and floor in us, and the time over the floor."""
    lines = [_line("kernel", "what", "time", "model", "floor", "x floor")]
    for group in [*grouped(rows), total(rows, "all")]:
        model = "none" if group.model_us is None else f"{group.model_us:.1f}"
        times = f"{group.us / group.floor_us:.1f} {group.bound}" if group.floor_us else ""
        what = group.what or f"{group.launches} launches"
        figures = f"{group.us:.1f}", model, f"{group.floor_us:.1f}"
        lines.append(_line(group.kernel, what, *figures, times))
    return lines


def _line(kernel: str, what: str, taken: str, model: str, floor: str, times: str) -> str:
    return f"{kernel[:40]:<40} {what[:24]:<24} {taken:>10} {model:>9} {floor:>9}  {times}".rstrip()
