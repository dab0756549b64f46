"""What was measured on a GPU gets into the documents by itself; here with made-up records."""

import json

import pytest

from minialex.bench import machine, report
from minialex.bench.record import write
from minialex.errors import MinialexError
from minialex.study import kernels, launch_times
from minialex.study.launch_times import FILE, read_launch_times
from minialex.study.proofs import FOLDER
from tests.bench.fake_records import record

GPU = {
    "name": "NVIDIA H200",
    "multiprocessors": 132,
    "compute_capability": "9.0",
    "state": {"driver_version": "580.95", "clocks.sm": "345 MHz"},
    "state under load": {
        "clocks.sm": "1755 MHz",
        "clocks.max.sm": "1980 MHz",
        "clocks.mem": "3201 MHz",
        "clocks.max.mem": "3201 MHz",
        "limited_by": "power cap",
    },
}
CLOCKS = "SM 1755 MHz of 1980 MHz, memory 3201 MHz of 3201 MHz; limited by: power cap"
ABOUT = {"machine": {"gpu": GPU}, "date": "2026-01-31T00:00:00+00:00", "commit": "0123456789ab"}
DOCUMENT = "<!-- bench:gpus -->\n<!-- /bench -->\n<!-- bench:launches -->\n<!-- /bench -->\n"


def launch(kernel, us, floor, model, what="n=9", flops=0, **changed):
    return {
        "mode": "fp32", "batch": 128, "kernel": kernel, "file": f"{kernel.split('_')[0]}.cu",
        "what": what, "flops": flops, "us": us, "floor_us": floor, "bound": "bytes",
        "model_us": model,
    } | changed  # fmt: skip


ROWS = [
    launch("relu_forward", 30.0, 20.0, 22.0),
    launch("linear_forward_naive", 900.0, 90.0, None, "9216 to 4096", 9, bound="arithmetic"),
    launch("relu_forward", 70.0, 40.0, 42.0),
    launch("relu_forward", 999.0, 1.0, 1.0, batch=32),
    launch("relu_forward", 999.0, 1.0, 1.0, mode="tf32x3"),
]


def write_launches(root, **changed):
    path = root / report.RESULTS / "gpu-first-contact" / FILE
    path.parent.mkdir(parents=True)
    data = {"format": launch_times.FORMAT, **ABOUT, "rows": ROWS} | changed
    path.write_text(json.dumps(data))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    # documents are looked at here, no plots
    monkeypatch.setattr(report, "_draw", lambda paths: None)
    (tmp_path / "README.md").write_text(DOCUMENT)
    (tmp_path / FOLDER).mkdir(parents=True)
    write(record(1, cases=2), tmp_path / report.RESULTS / "cpu" / "record.json")
    return tmp_path


def written(tree):
    assert report.main([], tree) == 0
    assert report.main(["--check"], tree) == 0
    return (tree / "README.md").read_text()


def test_where_nothing_was_measured_the_documents_say_so(tree):
    text = written(tree)
    assert "Not run on a GPU yet, and not measured.\n" in text
    assert "On a GPU: not measured.\n" in text
    assert "| not measured | " in kernels.page("", tree, compile_changed=False)


def test_launches_are_shown_beside_model_and_floor(tree):
    write_launches(tree)
    text = written(tree)
    assert "not measured" not in text
    assert "NVIDIA H200, fp32, batch 128, 2026-01-31:" in text
    assert "| relu_forward | 2 launches | 100.0 | 64.0 | 60.0 | 60% bytes |" in text
    row = "| linear_forward_naive | 9216 to 4096 | 900.0 | none | 90.0 | 10% arithmetic |"
    assert row in text
    assert "| all | 3 launches | 1000.0 | none | 150.0 | 15% arithmetic |" in text
    where = "`benchmarks/results/gpu-first-contact/launches.json`"
    about = f"| NVIDIA H200 | launches | 2026-01-31 | 0123456789ab | 580.95 | {CLOCKS} |"
    steps = "fp32: 1.00 ms in 3 launches, tf32x3: 1.00 ms in 1 launches"
    assert f"{about} alexnet, batch 128, on the GPU alone: {steps} | {where} |" in text


def test_launches_of_other_batches_alone_make_no_table(tree):
    write_launches(tree, rows=[row | {"batch": 32} for row in ROWS])
    assert "On a GPU: not measured.\n" in written(tree)


def test_a_kernels_time_stands_beside_it(tree):
    write_launches(tree)
    page = kernels.page("", tree, compile_changed=False)
    assert "| NVIDIA H200, 2026-01-31: 100 us in 2 launches, floor 60 us | " in page


def test_tests_and_benchmarks_of_a_gpu_are_listed_with_card_driver_clocks_and_revision(tree):
    counts = {"passed": 900, "failed": 1, "skipped": 0, "not_reached": 7}
    tests = {**ABOUT, "emulated": False, "device": "NVIDIA H200", "tests": counts, "kernels": {}}
    (tree / FOLDER / "nvidia-h200.json").write_text(json.dumps(tests))
    one = record(2, cases=3)
    one.machine, one.device, one.date = ABOUT["machine"] | {"cpu": "a"}, "cuda:0", ABOUT["date"]
    write(one, tree / report.RESULTS / "gpu-layers" / "record.json")
    text = written(tree)
    about = f"2026-01-31 | 0123456789ab | 580.95 | {CLOCKS}"
    counted = "900 passed, 1 failed, 0 skipped, 7 not_reached"
    where = "`tests/results/nvidia-h200.json`"
    assert f"| NVIDIA H200 | tests | {about} | {counted} | {where} |" in text
    timed = "3 times in 3 cases, 0 failed"
    where = "`benchmarks/results/gpu-layers/record.json`"
    assert f"| NVIDIA H200 | benchmark | {about} | {timed} | {where} |" in text


def test_what_ran_under_the_emulator_is_of_no_gpu(tree):
    tests = {**ABOUT, "emulated": True, "device": "emulator", "tests": {}, "kernels": {}}
    (tree / FOLDER / "emulator.json").write_text(json.dumps(tests))
    assert "Not run on a GPU yet, and not measured.\n" in written(tree)


@pytest.mark.parametrize(
    "changed", [{"format": "other"}, {"rows": [{}]}, {"machine": {}}, {"rows": [{"mode": "fp32"}]}]
)
def test_a_record_of_launches_that_is_none_is_named(tree, capsys, changed):
    write_launches(tree, **changed)
    with pytest.raises(MinialexError, match=r"gpu-first-contact/launches.json is no record of"):
        read_launch_times(tree)
    assert report.main([], tree) == 2
    assert kernels.main([], tree) == 2
    assert capsys.readouterr().out.count("launches.json is no record of") == 2


def test_a_record_of_tests_that_is_none_is_named(tree):
    (tree / FOLDER / "x.json").write_text('{"emulated": false}')
    with pytest.raises(MinialexError, match=r"x.json is no record of tests/device.sh"):
        report.stale(tree)


# ---- what nvidia-smi says -----------------------------------------------------------------------

SMI = """#!/bin/sh
case "$1" in
    *clocks_event_reasons*) echo "{new}"; exit {new_status} ;;
    *clocks_throttle_reasons*) echo "0x0000000000000024" ;;
    *) echo "NVIDIA H200, 580.95, 1755 MHz, 3201 MHz, 1980 MHz, 3201 MHz, 41, 690.12 W" ;;
esac
"""


class FakeCuda:
    """As much of CuPy as asks which card it is."""

    def __init__(self):
        self.cuda = self

    def Device(self, index):
        return type("Device", (), {"pci_bus_id": "0000:18:00.0"})


@pytest.mark.parametrize(
    ("answer", "status", "limited_by"),
    [
        ("0x0000000000000000", 0, "nothing"),
        ("0x0000000000000006", 0, "clocks set by hand, power cap"),
        ("[N/A]", 0, "power cap, temperature, by software"),
        ("Field is not a valid field to query.", 2, "power cap, temperature, by software"),
    ],
)
def test_clocks_are_shown_with_what_limits_them(tmp_path, monkeypatch, answer, status, limited_by):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI.replace("{new}", answer).replace("{new_status}", str(status)))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "module_of", lambda device: FakeCuda())
    state = machine.gpu_state(machine.Device("cuda"))
    assert state["limited_by"] == limited_by
    assert (state["clocks.sm"], state["clocks.max.sm"]) == ("1755 MHz", "1980 MHz")
    assert state["driver_version"] == "580.95"
