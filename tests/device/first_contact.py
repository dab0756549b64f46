"""The first minutes on a GPU: what it is, whether the kernels are right on it, and where time goes.

    python -m tests.device.first_contact                      5.5 minutes on the first GPU
    python -m tests.device.first_contact --minutes 3 facts smoke step
    DEVICE=emulated python -m tests.device.first_contact      what can be tried on a CPU, small

From the root of a source tree; Python with CuPy and what minialex itself needs. PyTorch and Nsight
Compute take part where they are. Each part is a process of its own, so that a kernel that faults
poisons no other part; they share the minutes. In OUT (benchmarks/results/gpu-first-contact) are
`first-contact.jsonl`, a line for each thing found, written as it is found; `device-contact.log`,
what the processes print; and `launches.json`, the times of all launches with the card that they
were taken on, which the documents take up. A table of them, each beside its model and its floor, is
printed at the end. Exit status 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minialex import arrays, emulated
from minialex.arrays import on_device
from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.study.launch_times import BATCH, FILE
from tests.device import launches
from tests.device.contact_parts import (
    LOST,
    MODES,
    PARTS,
    LostError,
    Setting,
    blame,
    profiled,
)
from tests.device.findings import Findings

OUT = "benchmarks/results/gpu-first-contact"
LINES, LOG = "first-contact.jsonl", "device-contact.log"
MINUTES = 5.5
WEIGHTS = {
    "facts": 15, "smoke": 55, "step": 25, "launches": 50, "arrays": 15, "host": 20, "graph": 20,
    "torch": 50, "ncu": 65, "suite": 15,
}  # fmt: skip
"""The parts in order, each with its share of the time; what one leaves goes to those after it."""
NEEDS_GPU = "graph", "torch", "ncu", "suite"
MIN_SECONDS_PER_PART = 10.0
MAX_SMOKE_PROCESSES = 8
SECTIONS = "SpeedOfLight", "MemoryWorkloadAnalysis", "WarpStateStats", "Occupancy"
REFUSED = "ERR_NVGPUCTRPERM"


class Contact:
    """One run: its parts, what they have found, and how much time is left."""

    def __init__(self, out: Path, minutes: float, parts: list[str], is_emulated: bool) -> None:
        self.out, self.parts, self.is_emulated = out, parts, is_emulated
        self.end = time.monotonic() + 60 * minutes
        out.mkdir(parents=True, exist_ok=True)
        # an emulated run writes no times of a GPU, and takes none away
        for name in (LINES, LOG) if is_emulated else (LINES, LOG, FILE):
            (out / name).unlink(missing_ok=True)
        self.at = Setting(out / LINES, is_emulated)
        self.findings = Findings(out / LINES, is_emulated)
        self.failed = False

    def run(self) -> int:
        """Run the parts, show what they found, and return the exit status."""
        for number, part in enumerate(self.parts):
            weights = [WEIGHTS[name] for name in self.parts[number:]]
            seconds = (self.end - time.monotonic()) * weights[0] / sum(weights)
            began = time.monotonic()
            if self.is_emulated and part in NEEDS_GPU:
                self.leave_out(part, "it needs a GPU")
            elif seconds < MIN_SECONDS_PER_PART:
                self.leave_out(part, "no time was left")
            else:
                getattr(self, part, self.plain)(part, seconds)
                self.say(part, seconds=round(time.monotonic() - began, 1))
            # after each part: a run that is cut short has a record too
            self.findings.write_record(self.out)
        for line in self.findings.summary():
            print(line)
        unlike = any(found["unlike"] for found in self.findings.found("step", "unlike"))
        return int(self.failed or unlike or bool(self.findings.found("smoke", "wrong")))

    def say(self, part: str, **facts: Any) -> None:
        """Add a line to what was found, and show it."""
        self.at.say(part, **facts)
        print(f"{part}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))

    def leave_out(self, part: str, why: str) -> None:
        """Say why a part was not run."""
        self.say(part, left_out=why)

    def plain(self, part: str, seconds: float) -> None:
        """Run a part in a process of its own."""
        with self.child(["--child", part]) as process:
            self.ended(part, self.waited(process, seconds))

    def smoke(self, part: str, seconds: float) -> None:
        """Run the checks in several processes; where a kernel takes one's GPU, another goes on."""
        end = time.monotonic() + seconds
        count = 1 if self.is_emulated else min(MAX_SMOKE_PROCESSES, max(1, threads.cores() // 2))
        with contextlib.ExitStack() as stack:
            words = [["--child", part, "--share", f"{i}/{count}"] for i in range(count)]
            running = [(w, stack.enter_context(self.child(w))) for w in words]
            while running:
                words_of, process = running.pop(0)
                code = self.waited(process, end - time.monotonic())
                if code == LOST:
                    share = int(words_of[3].split("/")[0])
                    start = max(
                        f["next"]
                        for f in self.findings.found("smoke", "next")
                        if f["share"] == share
                    )
                    again = [*words_of[:4], "--start", str(start)]
                    running.append((again, stack.enter_context(self.child(again))))
                    self.failed = True
                else:
                    self.ended(part, code)

    def torch(self, part: str, seconds: float) -> None:
        """Time PyTorch, where it is."""
        if find_spec("torch") is None:
            self.leave_out(part, "PyTorch is not installed")
        else:
            self.plain(part, seconds)

    def ncu(self, part: str, seconds: float) -> None:
        """Profile a launch per mode with Nsight Compute; if it may not, the suite has its time."""
        tool = shutil.which("ncu") or next(
            map(str, sorted(Path("/usr/local").glob("cuda*/bin/ncu"))), None
        )
        if tool is None:
            self.leave_out(part, "there is no ncu: the suite has its time")
            return
        end = time.monotonic() + seconds
        for mode, kernel, nth in self.to_profile():
            report = self.profile(tool, mode, kernel, nth, end - time.monotonic())
            if REFUSED in report:
                self.leave_out(part, f"{REFUSED}: counters may not be read; the suite has its time")
                return
            metrics = metrics_of(report)
            self.say(part, mode=mode, kernel=kernel, nth=nth, metrics=metrics or "none came back")
            self.failed |= not metrics

    def profile(self, tool: str, mode: str, kernel: str, nth: int, seconds: float) -> str:
        """Return what Nsight Compute says of the launch numbered `nth` of a kernel, in a step."""
        sections = [word for name in SECTIONS for word in ("--section", name)]
        words = [tool, "--csv", "--page", "details", *sections, "--target-processes", "all"]
        words += ["--kernel-name", kernel, "--launch-skip", str(nth), "--launch-count", "1"]
        words += [*_command(), "--profile", f"{mode}:{BATCH}", "--out", str(self.out)]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=max(1.0, seconds)
            )
        except subprocess.TimeoutExpired:
            return ""
        with (self.out / LOG).open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        return done.stdout + done.stderr

    def to_profile(self) -> list[tuple[str, str, int]]:
        """Return mode, kernel and which of its launches: the second convolution, and the worst."""
        chosen = [(mode, f"conv2d_forward_{MODES[mode]['conv2d']}", 1) for mode in MODES]
        gpu = self.findings.gpu()
        rows = [
            (row["us"] - 1e6 * launches.floor(row, gpu)[0], found["mode"], row)
            for found in self.findings.found("launches", "rows")
            if found["batch"] == BATCH
            for row in found["rows"]
        ]
        if rows:
            _, mode, row = max(rows, key=lambda one: one[0])
            chosen.append((mode, row["kernel"], row["nth"]))
        return list(dict.fromkeys(chosen))

    def suite(self, part: str, seconds: float) -> None:
        """Run as much of the suite for a GPU as there is time for."""
        environment = {
            **os.environ, "PYTHON": sys.executable, "ONLY": "suite", "OUT": str(self.out),
        }  # fmt: skip
        words = ["bash", "tests/device.sh", f"{seconds / 60:.2f}"]
        with self.child(words, environment, python=False) as process:
            self.ended(part, self.waited(process, seconds + 5))

    # ---- processes -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def child(
        self, words: list[str], environment: dict[str, str] | None = None, *, python: bool = True
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process, whose words go to the log, and end it with the block."""
        command = [*_command(), *words, "--out", str(self.out)] if python else words
        with (self.out / LOG).open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def waited(self, process: subprocess.Popen[bytes], seconds: float) -> int | None:
        """Return a process's exit status; None where it took longer than that and was ended."""
        try:
            return process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None

    def ended(self, part: str, code: int | None) -> None:
        """Say how a process ended, unless it ended well."""
        if code:
            self.say(part, failed=f"exit status {code}: see {LOG}")
        elif code is None:
            self.say(part, cut_short="its time was over")
        self.failed |= code != 0


def metrics_of(report: str) -> dict[str, str]:
    """Return the metrics of a report of Nsight Compute in CSV: names to values with their units."""
    start = report.find('"ID"')
    if start < 0:
        return {}
    rows = csv.DictReader(io.StringIO(report[start:]))
    return {
        f"{row['Section Name']}: {row['Metric Name']}": " ".join(
            filter(None, (row["Metric Value"], row["Metric Unit"]))
        )
        for row in rows
        if row.get("Metric Name") and row.get("Metric Value")
    }


def _command() -> list[str]:
    return [sys.executable, "-m", "tests.device.first_contact"]


def child(part: str, at: Setting) -> int:
    """Do a part in this process and return the exit status."""
    emulator = emulated() if at.emulated else contextlib.nullcontext()
    try:
        with emulator, on_device(at.device):
            PARTS[part](at)
    except LostError as error:
        at.say(part, lost=str(error))
        return LOST
    except Exception as error:
        at.say(part, failed=blame(error))
        raise
    return 0


def main(words: list[str]) -> int:
    """Do it and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(WEIGHTS)}")
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        help="for all parts together (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(os.environ.get("OUT", OUT)),
        help="the folder for what is found (default: %(default)s)",
    )
    for name in ("--child", "--profile", "--share", "--start"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    where = os.environ.get("DEVICE", "cuda")
    if where not in ("cuda", "emulated"):
        parser.error(f"DEVICE is {where!r}: use cuda or emulated")
    if not 0 < asked.minutes < math.inf:
        parser.error(f"--minutes is {asked.minutes}: use a number above 0, such as 5.5")
    if unknown := sorted(set(asked.parts) - WEIGHTS.keys()):
        parser.error(f"there is no part {unknown[0]!r}: use some of {', '.join(WEIGHTS)}")
    try:
        arrays.device("cpu" if where == "emulated" else "cuda")
    except MinialexError as error:
        print(f"nothing to meet: {error}", file=sys.stderr)
        return 2
    at = Setting(asked.out / LINES, where == "emulated")
    if asked.profile:
        mode, batch = asked.profile.split(":")
        profiled(at, mode, int(batch))
        return 0
    if asked.child:
        share, shares = map(int, (asked.share or "0/1").split("/"))
        at = replace(at, share=share, shares=shares, start=int(asked.start or 0))
        return child(asked.child, at)
    # ended from outside, it ends its parts too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parts = [part for part in WEIGHTS if part in asked.parts or not asked.parts]
    return Contact(asked.out, asked.minutes, parts, at.emulated).run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
