"""tests/device/first_contact.py, as far as it can be tried without a GPU."""

import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from minialex import using
from minialex.arrays import Device, array_module
from minialex.study.launch_times import FILE
from tests.capture_double import Gpu
from tests.device import contact_parts, first_contact, launches
from tests.device.contact_parts import Setting, blame, graph
from tests.device.first_contact import LINES, Contact, metrics_of

ROOT = Path(__file__).parent.parent
CUDA = Device("cuda")


def lines_of(folder):
    return [json.loads(line) for line in (folder / LINES).read_text().splitlines()]


def test_the_parts_that_need_no_gpu_run_under_the_emulator(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.device.first_contact", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "DEVICE": "emulated"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for line in lines_of(tmp_path):
        found.setdefault(line.pop("part"), {}).update(line)
    assert list(found) == list(first_contact.WEIGHTS)
    assert found["smoke"]["checked"] >= 5
    assert found["smoke"]["bad"] == 0
    steps = {line["mode"]: line for line in lines_of(tmp_path) if "unlike" in line}
    assert list(steps) == ["fp32", "tf32"]
    assert steps["fp32"]["loss"] == pytest.approx(steps["fp32"]["cpu"], rel=1e-5)
    for line in steps.values():
        assert line["unlike"] == []
        # of 16 parameters and the loss
        assert len(line["relative_error"]) == 17
    # in TF32 a gradient is off by more than is allowed elsewhere
    assert max(steps["tf32"]["relative_error"].values()) > contact_parts.MAX_RELATIVE_ERROR
    kernels = {row["kernel"] for row in found["launches"]["rows"]}
    assert kernels >= {"conv2d_weight_gradient_implicit_gemm", "rmsprop", "cross_entropy_forward"}
    assert all(row["us"] > 0 for row in found["launches"]["rows"])
    assert found["arrays"]["implementation"] == "tf32"
    assert found["host"]["step_ms"] >= found["host"]["python_ms_in_a_row"] > 0
    for part in first_contact.NEEDS_GPU:
        assert found[part] == {"left_out": "it needs a GPU"}
    assert "times are those of an emulation, and mean nothing" in done.stdout
    assert "linear_forward_register_blocked          576 to 256" in done.stdout
    # times of an emulation are no record
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("words", "device", "said"),
    [
        (["all"], "emulated", "there is no part 'all': use some of facts, smoke, "),
        ([], "gpu", "DEVICE is 'gpu': use cuda or emulated"),
    ],
)
def test_bad_input_is_refused(tmp_path, monkeypatch, capsys, words, device, said):
    monkeypatch.setenv("DEVICE", device)
    with pytest.raises(SystemExit) as refused:
        first_contact.main([*words, "--out", str(tmp_path / "out")])
    assert refused.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---- floors and models ---------------------------------------------------------------------------

GPU = launches.Gpu(multiprocessors=10, clock=1e9, copy=1e12, architecture=90)


def launch(**changed):
    row = {
        "kernel": "conv2d_forward_implicit_gemm", "file": "conv2d_implicit_gemm.cu",
        "type": "float", "rows": 16, "what": "64x27x27 to 192, 5x5", "grid": [25, 1, 1],
        "block": [256], "depth": 1600, "bytes": 1_000_000, "flops": 10**10, "nth": 0,
    }  # fmt: skip
    return row | changed


def test_a_floor_is_the_longer_of_arithmetic_and_bytes():
    # 128 multiplications and additions on each of 10 multiprocessors in each of 1e9 clocks
    assert launches.floor(launch(), GPU) == (pytest.approx(10**10 / 2.56e12), "arithmetic")
    assert launches.floor(launch(flops=0), GPU) == (1e-6, "bytes")
    assert launches.floor(launch(flops=10**5), GPU) == (1e-6, "bytes")


def test_three_products_of_tensor_cores_make_one_and_of_bfloat16_numbers_half_of_one():
    on_tensor_cores = launch(kernel="conv2d_forward_tf32x3")
    seconds, bound = launches.floor(on_tensor_cores, GPU)
    assert (seconds, bound) == (pytest.approx(3 * 10**10 / (2 * 1024 * 10 * 1e9)), "arithmetic")
    seconds, _ = launches.floor(launch(kernel="conv2d_forward_bf16"), GPU)
    assert seconds == pytest.approx(10**10 / (2 * 2048 * 10 * 1e9))
    # of an architecture whose rate is not known, bytes alone say something
    unknown = launches.Gpu(multiprocessors=10, clock=1e9, copy=1e12, architecture=86)
    assert launches.floor(on_tensor_cores, unknown) == (1e-6, "bytes")


def test_a_model_goes_wave_by_wave():
    # 25 blocks on 10 multiprocessors that hold two each: a wave of twenty, and one of five
    steps = 1600 / 8 + 4
    waves = sum(steps * blocks * 8 / 4 * 721 / 0.8 for blocks in (2, 1))
    assert launches.model(launch(), GPU) == pytest.approx(waves / 1e9 + 2e-6)
    assert launches.model(launch(flops=0), GPU) == pytest.approx(3e-6)
    assert launches.model(launch(kernel="conv2d_forward_naive"), GPU) is None


# ---- what was found ------------------------------------------------------------------------------


@pytest.fixture
def contact(tmp_path):
    return Contact(tmp_path, 1.0, ["facts", "launches"], is_emulated=False)


def tell(contact, rows):
    state = {"clocks.sm": "1500 MHz", "driver_version": "580.1"}
    gpu = {
        "name": "NVIDIA H200", "multiprocessors": 132, "compute_capability": "9.0",
        "state under load": state,
    }  # fmt: skip
    contact.at.say("facts", machine={"gpu": gpu}, versions={}, commit="0123abc")
    contact.at.say("facts", date="2026-01-31T00:00:00+00:00")
    contact.at.say("facts", copy=4.3e12)
    contact.at.say("launches", mode="fp32", batch=128, rows=rows)


def test_launches_are_kept_with_the_card_and_its_clocks(contact):
    tell(contact, [launch(us=500.0), launch(kernel="relu_forward", flops=0, what="n=9", us=4.0)])
    assert contact.findings.gpu() == launches.Gpu("NVIDIA H200", 132, 1.5e9, 4.3e12, 90)
    contact.findings.write_record(contact.out)
    kept = json.loads((contact.out / FILE).read_text())
    assert kept["machine"]["gpu"]["name"] == "NVIDIA H200"
    assert (kept["date"], kept["commit"]) == ("2026-01-31T00:00:00+00:00", "0123abc")
    assert [row["us"] for row in kept["rows"]] == [500.0, 4.0]
    assert kept["rows"][1]["floor_us"] == pytest.approx(1e6 * 1e6 / 4.3e12)
    assert kept["rows"][1]["bound"] == "bytes"
    shown = contact.findings.summary()
    assert "fp32, batch 128, us; model and floor for NVIDIA H200" in shown
    assert any(line.startswith("relu_forward") and line.endswith("17.2 bytes") for line in shown)


def test_a_line_that_was_cut_short_takes_no_other_with_it(contact):
    tell(contact, [launch(us=500.0)])
    with contact.at.out.open("a") as file:
        file.write('{"part": "launches", "rows": [{"ker')
    assert len(contact.findings.rows()) == 1


def test_the_worst_launch_is_profiled_beside_the_second_convolution(contact):
    worst = launch(kernel="linear_forward_naive", us=1000.0, nth=2, flops=0)
    tell(contact, [launch(us=50.0), worst])
    assert contact.to_profile() == [
        ("fp32", "conv2d_forward_implicit_gemm", 1),
        ("tf32x3", "conv2d_forward_tf32x3", 1),
        ("multistage_tf32x3", "conv2d_forward_multistage_tf32x3", 1),
        ("tf32", "conv2d_forward_tf32", 1),
        ("multistage_tf32", "conv2d_forward_multistage_tf32", 1),
        ("bf16", "conv2d_forward_bf16", 1),
        ("fp32", "linear_forward_naive", 2),
    ]


REPORT = """loss 6.9
==PROF== Connected to process 7
"ID","Process ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"
"0","7","conv2d","GPU Speed Of Light Throughput","SM Frequency","Ghz","1.53"
"0","7","conv2d","Occupancy","Achieved Occupancy","%","24.8"
"""


def test_a_report_of_the_profiler_is_read():
    assert metrics_of(REPORT) == {
        "GPU Speed Of Light Throughput: SM Frequency": "1.53 Ghz",
        "Occupancy: Achieved Occupancy": "24.8 %",
    }
    assert metrics_of("==ERROR== nothing") == {}


def profiler(tmp_path, monkeypatch, words):
    tool = tmp_path / "bin" / "ncu"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{words}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


def test_what_the_profiler_says_is_kept(contact, tmp_path, monkeypatch):
    profiler(tmp_path, monkeypatch, REPORT)
    contact.ncu("ncu", 30.0)
    told = contact.findings.found("ncu", "metrics")
    assert [line["mode"] for line in told] == list(contact_parts.MODES)
    assert told[0]["metrics"]["Occupancy: Achieved Occupancy"] == "24.8 %"
    assert not contact.failed


def test_counters_that_may_not_be_read_are_told_in_one_line(contact, tmp_path, monkeypatch):
    profiler(tmp_path, monkeypatch, "==ERROR== ERR_NVGPUCTRPERM - no permission to read counters")
    contact.ncu("ncu", 30.0)
    assert [line["left_out"] for line in contact.findings.found("ncu", "left_out")] == [
        "ERR_NVGPUCTRPERM: counters may not be read; the suite has its time"
    ]


# ---- processes -----------------------------------------------------------------------------------


@pytest.fixture
def acting(contact, tmp_path, monkeypatch):
    """A function that has other code act in place of the parts."""

    def use(code):
        script = tmp_path / "act.py"
        say = f"open({str(contact.at.out)!r}, 'a').write(json.dumps(line) + '\\n')"
        script.write_text(f"import json, sys, time\ndef say(**line):\n    {say}\n{code}")
        monkeypatch.setattr(first_contact, "_command", lambda: [sys.executable, str(script)])
        monkeypatch.setattr(first_contact.threads, "cores", lambda: 2)
        return contact

    return use


def test_where_a_kernel_takes_the_gpu_the_checks_go_on_behind_it(acting):
    contact = acting(
        "if '--start' not in sys.argv:\n"
        "    say(part='smoke', share=0, next=5)\n"
        "    sys.exit(3)\n"
        "say(part='smoke', words=sys.argv[1:5], start=sys.argv[6])\n"
    )
    contact.smoke("smoke", 20.0)
    (told,) = contact.findings.found("smoke", "words")
    assert told["start"] == "5"
    assert told["words"] == ["--child", "smoke", "--share", "0/1"]
    assert contact.failed


def test_a_part_whose_time_is_over_leaves_what_it_has_found(acting):
    contact = acting("say(part='host', step_ms=1)\ntime.sleep(60)")
    contact.plain("host", 1.0)
    assert [line["step_ms"] for line in contact.findings.found("host", "step_ms")] == [1]
    assert contact.findings.found("host", "cut_short")
    assert contact.failed


def test_a_check_that_loses_the_gpu_is_the_last_of_its_process(tmp_path, monkeypatch):
    answers = iter(["", "cudaErrorIllegalAddress: an illegal memory access was encountered"])
    monkeypatch.setattr(contact_parts, "lost_context", lambda: next(answers))
    at = Setting(tmp_path / LINES, True)
    assert first_contact.child("smoke", at) == contact_parts.LOST
    counted, lost = lines_of(tmp_path)
    assert (counted["checked"], counted["next"]) == (2, 2)
    assert lost["lost"].startswith("linear blocked float32, values, case ")
    assert lost["lost"].endswith("an illegal memory access was encountered")


# ---- graphs --------------------------------------------------------------------------------------


class OnGpu(Setting):
    """The part on a GPU, with the small network of the emulated one."""

    device = Device("cuda", 0)
    network, batches, modes = "alexnet-mini", (2,), ("fp32",)
    clock = types.SimpleNamespace(time_round=lambda run: run() or 0.25)


@pytest.mark.parametrize(
    ("use", "found"),
    [
        ({}, {"failed": False, "steps": 7, "replay_ms": 250.0}),
        ({"dropout": "plain"}, {"refused": "dropout cannot be captured (a number for the host: "}),
    ],
    ids=["captured", "refused"],
)
def test_a_step_is_captured_and_replayed_or_what_refuses_is_told(monkeypatch, tmp_path, use, found):
    double = Gpu.installed(monkeypatch)
    double.cupy.cuda.runtime.deviceSynchronize = lambda: None
    at = OnGpu(tmp_path / "found.jsonl", emulated=False)
    with using(**use):
        graph(at)
    (told,) = [json.loads(line) for line in at.out.read_text().splitlines()]
    refused = told.pop("refused", "")
    assert refused.startswith(found.pop("refused", ""))
    assert bool(refused) == bool(use)
    assert told == {"part": "graph", "mode": "fp32", "batch": 2} | found
    # the first steps of all, those that warm up, and the replays
    assert [g.launches for g in double.graphs] == [0 if use else 2]


def test_a_refusal_is_told_with_the_line_of_ours_that_it_came_from():
    with pytest.raises(TypeError) as raised:
        array_module([1])
    assert blame(raised.value).startswith("TypeError: expected a NumPy or CuPy array, got list at")
    assert re.search(r"arrays\.py:\d+: raise TypeError\(", blame(raised.value))
