"""A plugin for pytest: says what became of the tests that launched each kernel, and ends in time.

    python -m pytest -p tests.device.plugin --record suite.json --seconds 200 ...

The record is written after every test, so that a run cut short leaves one.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.device.watching import Kernel, watched


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, required=True, help="the file to write")
    parser.addoption("--seconds", type=float, required=True, help="no test begins after these")


def pytest_configure(config: pytest.Config) -> None:
    recorder = Recorder(config.option.record, time.monotonic() + config.option.seconds)
    config.pluginmanager.register(recorder)


class Recorder:
    """Counts outcomes: of all tests, and for each kernel of those that launched it."""

    def __init__(self, path: Path, end: float) -> None:
        self.path, self.end = path, end
        self.tests = Counter(passed=0, failed=0, skipped=0, not_reached=0)
        self.kernels: dict[Kernel, Counter[str]] = {}
        self.seen: set[Kernel] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        self.seen = set()
        if time.monotonic() < self.end:
            return None
        self.tests["not_reached"] += 1
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with watched() as self.seen:
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # a test that passed was set up and taken down as well: one report says so
        if report.when == "call" or report.outcome != "passed":
            self.tests[report.outcome] += 1
            for kernel in self.seen:
                self.kernels.setdefault(kernel, Counter(passed=0, failed=0))[report.outcome] += 1
            self.write()

    def pytest_sessionfinish(self) -> None:
        self.write()

    def write(self) -> None:
        found: dict[str, Any] = {"tests": self.tests, "kernels": {}}
        for (file, name), counts in sorted(self.kernels.items()):
            found["kernels"][f"{file}: {name}"] = counts
        self.path.write_text(json.dumps(found))
