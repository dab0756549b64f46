"""The process that takes steps, without the process: what it counts, and when."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minialex.arrays import CPU, Device
from minialex.bench import subprocess_probe as probe

STATUS = "Name:\tpython\nVmHWM:\t    7 kB\nVmRSS:\t    5 kB\n"


@pytest.fixture
def log(monkeypatch):
    """Note what the process would do; each look at its memory finds one byte more than before."""
    done = []

    def held(where):
        def look(library, peak):
            done.append(f"{where} {library} {'peak' if peak else 'now'}")
            return len(done)

        return look

    def step(who):
        return lambda task: done.append(f"{who}: {task}") or SimpleNamespace(run=run)

    def run():
        done.append("step")

    def find_peers(names, device, cores):
        if names == ["JAX"]:
            return [], {"JAX": "it is not installed"}
        return [SimpleNamespace(step=step(name)) for name in names], {}

    def network_task(network, batch, device):
        return network, batch, str(device)

    monkeypatch.setattr(probe, "_held_on_host", held("host"))
    monkeypatch.setattr(probe, "_held_on_gpu", held("gpu"))
    monkeypatch.setattr(probe, "device", {"cpu": CPU, "cuda": Device("cuda")}.__getitem__)
    monkeypatch.setattr(probe, "find_peers", find_peers)
    monkeypatch.setattr(probe, "network_task", network_task)
    monkeypatch.setattr(probe, "default_step", step("ours"))
    monkeypatch.setattr(probe.cached_networks, "clear_cache", lambda: done.append("clear"))
    return done


@pytest.mark.parametrize(
    ("library", "device", "who", "where"),
    [
        ("minialex", "cpu", "ours", "host"),
        ("PyTorch", "cpu", "PyTorch", "host"),
        ("minialex", "cuda", "ours", "gpu"),
    ],
)
def test_memory_is_taken_before_the_network_and_after_the_steps(
    log, monkeypatch, capsys, library, device, who, where
):
    monkeypatch.setattr(sys, "argv", ["-c", library, "alexnet-mini", "4", device])
    probe.child()
    task = ("alexnet-mini", 4, "cpu" if device == "cpu" else "cuda:0")
    assert log == [
        *(f"{where} {library} now", f"{who}: {task}", "clear", "step", "step", "step"),
        f"{where} {library} peak",
    ]
    assert json.loads(capsys.readouterr().out) == {"base": 1, "peak": len(log)}


def test_a_peer_that_is_missing_ends_the_process_with_the_reason(log, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c", "JAX", "alexnet-mini", "4", "cpu"])
    with pytest.raises(SystemExit, match="JAX: it is not installed"):
        probe.child()
    assert log == []


def test_a_process_holds_what_the_system_says(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda path: STATUS)
    assert probe._held_on_host("minialex", peak=True) == 7 * 1024
    assert probe._held_on_host("minialex", peak=False) == 5 * 1024
    assert probe.resident_bytes("VmSwap") == 0
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert probe.resident_bytes("VmRSS") == 0


def test_on_a_gpu_the_pools_are_asked(monkeypatch):
    pool = SimpleNamespace(total_bytes=lambda: 3)
    cuda = SimpleNamespace(max_memory_reserved=lambda: 7, memory_reserved=lambda: 5)
    modules = {
        "cupy": SimpleNamespace(get_default_memory_pool=lambda: pool),
        "torch": SimpleNamespace(cuda=cuda),
    }
    monkeypatch.setattr(importlib, "import_module", modules.__getitem__)
    assert [probe._held_on_gpu("minialex", peak) for peak in (True, False)] == [3, 3]
    assert [probe._held_on_gpu("PyTorch", peak) for peak in (True, False)] == [7, 5]


def test_import_times_are_medians_and_what_comes_after_numpy(monkeypatch):
    outputs = iter([f"{numpy} {ours}" for numpy, ours in zip("9153724", "2938475", strict=True)])
    monkeypatch.setattr(probe, "_output", lambda words, variables: next(outputs))
    assert probe.import_times() == [
        {"what": "import numpy", "seconds": 4.0},
        {"what": "import minialex, after it", "seconds": 5.0},
    ]
    assert next(outputs, None) is None


def test_imports_find_compiled_modules_and_the_first_does_not_count(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    folders, run = [], probe._output

    def output(words, variables):
        # what the process sees, and not what it is told alone
        words = [*words[:2], "import os, sys; print(sys.dont_write_bytecode, sys.pycache_prefix)"]
        writes, folder = run(words, variables).split()
        folders.append(folder)
        assert writes == "False"
        assert Path(folder).is_dir()
        return "9.0 9.0" if len(folders) == 1 else "0.5 0.25"

    monkeypatch.setattr(probe, "_output", output)
    monkeypatch.setattr(probe, "IMPORT_REPETITIONS", 3)
    assert [one["seconds"] for one in probe.import_times()] == [0.5, 0.25]
    assert len(set(folders)) == 1
    assert not Path(folders[0]).exists()
