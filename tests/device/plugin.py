"""A plugin for pytest: says what became of the tests that launched each kernel, and ends in time.

    python -m pytest -p tests.device.plugin --record suite.json --seconds 200 ...

Convolution and linear layers come first. The record is written after every test, so that a run cut
short leaves one; with pytest-xdist the workers tell the process that writes it. A kernel that
faults leaves its process without a GPU: the run ends there, and says so.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minialex.cuda.fault import lost_context
from tests.device.launched import Kernel, launched_kernels

FIRST = "conv2d", "linear"
KERNELS, FAULT = "kernels", "fault"
"""What a report carries from the worker that ran the test, among its user properties."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, required=True, help="the file to write")
    parser.addoption("--seconds", type=float, required=True, help="no test begins after these")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Runner(time.monotonic() + config.option.seconds))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config.option.record))


class Runner:
    """Where tests run: chooses their order, watches what they launch, and knows when to end."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.seen: set[Kernel] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: not any(name in item.nodeid for name in FIRST))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        self.seen = set()
        return None if time.monotonic() < self.end else True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with launched_kernels() as self.seen:
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report: Any = yield
        report.user_properties.append((KERNELS, sorted(self.seen)))
        if report.failed and (fault := lost_context()):
            report.user_properties.append((FAULT, fault))
            item.session.shouldstop = f"{item.nodeid} left no GPU to go on with: {fault}"
        return report


class Recorder:
    """Counts outcomes: of all tests, and for each kernel of those that launched it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.collected = 0
        self.tests = Counter(passed=0, failed=0, skipped=0)
        self.kernels: dict[Kernel, Counter[str]] = {}
        self.faults: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected = max(self.collected, len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.collected = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        if FAULT in told:
            self.faults.append(f"{report.nodeid}: {told[FAULT]}")
        # a test that passed was set up and taken down as well: one report says so
        if report.when == "call" or report.outcome != "passed":
            self.tests[report.outcome] += 1
            for file, name in told.get(KERNELS, ()):
                counts = self.kernels.setdefault((file, name), Counter(passed=0, failed=0))
                counts[report.outcome] += 1
            self.write()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for fault in self.faults:
            terminalreporter.line(f"stopped, for the GPU was lost: {fault}", red=True)

    def pytest_sessionfinish(self) -> None:
        self.write()

    def write(self) -> None:
        not_reached = max(0, self.collected - self.tests.total())
        found: dict[str, Any] = {
            "tests": {**self.tests, "not_reached": not_reached},
            "kernels": {},
            "faults": self.faults,
        }
        for (file, name), counts in sorted(self.kernels.items()):
            found["kernels"][f"{file}: {name}"] = counts
        # whole at any time, whenever this is cut short
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(found), encoding="utf-8")
        os.replace(new, self.path)
