"""The provenance of a record, of a machine made up for it."""

import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import minialex
from minialex.arrays import CPU, Device
from minialex.bench import machine

# user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
STAT = "cpu  {user} 20 30 7000 800 4 5 6 900 900\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


@pytest.fixture
def files(monkeypatch):
    """Have files of the system hold what is put in here; others cannot be read."""
    there = {}

    def read_text(path, **_):
        if str(path) not in there:
            raise FileNotFoundError(path)
        return there[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    return there


def test_cores_that_others_keep_busy_are_counted_without_waiting_and_idling(files, monkeypatch):
    files["/proc/stat"] = STAT.format(user=10)
    monkeypatch.setattr(machine.os, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)

    def sleep(seconds):
        # what guests take is part of user, and iowait is idle
        user = 10 + round(150 * seconds)
        files["/proc/stat"] = STAT.format(user=user).replace("7000 800", "9000 999")

    monkeypatch.setattr(machine.time, "sleep", sleep)
    assert machine._busy_time() == (10 + 20 + 30 + 4 + 5 + 6) / 100
    assert machine.busy_cores() == pytest.approx(1.5)
    assert machine.busy_cores(4.0) == pytest.approx(1.5 * (4 - 1) / 4)
    # a counter that went back
    assert machine.busy_cores(0.1) == 0
    files.clear()
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)
    assert machine.busy_cores() == 0


def test_a_machine_is_described_by_what_its_system_says(files, monkeypatch):
    files["/proc/cpuinfo"] = "processor : 0\nmodel name\t: A CPU: fast\nmodel name\t: Another\n"
    sizes = {"SC_PHYS_PAGES": 3 << 18, "SC_PAGE_SIZE": 4096, "SC_CLK_TCK": 100}
    monkeypatch.setattr(machine.os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine.threads, "cores", lambda: 7)
    described = {"cpu": "A CPU: fast", "cores": 7, "memory_gib": 3.0, "system": "Linux x86_64"}
    assert machine.machine(CPU) == described
    monkeypatch.setattr(machine, "gpu", lambda device: {"name": f"of {device}"})
    assert machine.machine(Device("cuda", 1)) == described | {"gpu": {"name": "of cuda:1"}}
    files.clear()
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.os, "sysconf_names", {})
    unknown = machine.machine(CPU)
    assert (unknown["cpu"], unknown["memory_gib"]) == ("x86_64", 0)


class FakeCupy:
    """As much of CuPy as describes a card, and notes what it has to do."""

    float32 = "float32"

    def __init__(self):
        self.cuda = self.runtime = self
        self.log = []

    def __call__(self, index):
        return nullcontext()

    Device = __call__

    def getDeviceProperties(self, index):
        assert index == 1
        return {
            "name": b"a card", "multiProcessorCount": 132, "major": 9, "minor": 0,
            "totalGlobalMem": 5 << 29, "l2CacheSize": 5 << 19,
        }  # fmt: skip

    def driverGetVersion(self):
        return 13000

    def runtimeGetVersion(self):
        return 12090

    def ones(self, shape, dtype):
        self.log.append((shape, dtype))
        return "a"

    def empty_like(self, a):
        return "out"

    def matmul(self, a, b, out):
        self.log.append(f"{a} {b} {out}")

    def get_current_stream(self):
        return self

    def synchronize(self):
        self.log.append("wait")


def test_a_card_is_described_at_rest_and_at_work(monkeypatch):
    fake = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", fake)

    def state(device):
        fake.log.append("state")
        return {"state": len(fake.log)}

    monkeypatch.setattr(machine, "gpu_state", state)
    assert machine.gpu(Device("cuda", 1)) == {
        **{"name": "a card", "multiprocessors": 132, "compute_capability": "9.0"},
        **{"memory_gib": 2.5, "l2_mib": 2.5, "cuda_driver": 13000, "cuda_runtime": 12090},
        **{"state": {"state": 1}, "state under load": {"state": 3 + machine.LOAD_CALLS}},
    }
    # while it is at work, not after it
    side = machine.LOAD_MATRIX_SIDE
    products = ["a a out"] * machine.LOAD_CALLS
    assert fake.log == ["state", ((side, side), "float32"), *products, "state", "wait"]


def test_what_limits_the_clocks_has_a_name_for_every_bit():
    assert machine.clock_limits(0) == "nothing"
    assert machine.clock_limits(0x1) == "nothing to do"
    assert machine.clock_limits(0x2 | 0x8) == "clocks set by hand, hardware slowdown"
    assert machine.clock_limits(0x4 | 0x10) == "power cap, sync boost"
    assert machine.clock_limits(0x20 | 0x40) == "temperature, by software, temperature, by hardware"
    assert machine.clock_limits(0x80 | 0x100 | 0x200) == "power brake, display clocks"


def test_without_the_drivers_tool_clocks_are_not_known(monkeypatch):
    card = type("Card", (), {"pci_bus_id": "0"})()
    cupy = type("Cupy", (), {"Device": staticmethod(lambda index: card)})()
    cupy.cuda = cupy
    monkeypatch.setattr(machine, "module_of", lambda device: cupy)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.gpu_state(Device("cuda")) == {}
    monkeypatch.setattr(machine.shutil, "which", lambda name: name)

    def hangs(command, *, timeout, **_):
        raise machine.subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(machine.subprocess, "run", hangs)
    assert machine.gpu_state(Device("cuda")) == {}


def test_a_revision_may_be_named_by_the_environment_and_needs_git_otherwise(monkeypatch):
    monkeypatch.setenv("COMMIT", "abc+")
    assert machine.commit() == "abc+"
    monkeypatch.delenv("COMMIT")
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.commit() is None


def test_versions_and_times_are_those_of_now():
    found = machine.versions()
    assert (found["minialex"], found["numpy"]) == (minialex.__version__, np.__version__)
    assert list(found)[:2] == ["minialex", "python"]
    assert all(found.values())
    then = datetime.fromisoformat(machine.now())
    assert then.microsecond == 0
    assert timedelta(0) <= datetime.now(UTC) - then < timedelta(minutes=1)
