"""tests/device.sh: where it refuses, and that its record is one that kernels/README.md reads."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minialex import arrays, emulated, ops
from minialex.study.proofs import read_proofs
from tests import test_conformance
from tests.device import record
from tests.device.launched import launched_kernels

ROOT = Path(__file__).parent.parent
needs_no_gpu = pytest.mark.skipif(arrays.cuda_count() > 0, reason="here is a GPU")


SCRIPTS = "tests/device.sh", "benchmarks/device.sh"


def refusal(tmp_path, script=SCRIPTS[0], *words, **variables):
    done = subprocess.run(
        ["bash", ROOT / script, *words],
        env={**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path / "out"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_budget_that_is_no_number_is_refused(tmp_path, script):
    said = refusal(tmp_path, script, "soon")
    assert said == "MINUTES is 'soon': use a number, such as 8 or 5.5\n"
    assert refusal(tmp_path, script, MINUTES="-1").startswith("MINUTES is '-1': ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_folder_without_wheels_is_refused(tmp_path, script):
    said = refusal(tmp_path, script, DEVICE="emulated", WHEELS=str(tmp_path))
    assert said == f"WHEELS is '{tmp_path}': there is no wheel in it\n"


@needs_no_gpu
def test_without_a_gpu_nothing_is_measured(tmp_path):
    said = refusal(tmp_path, "benchmarks/device.sh")
    assert said.startswith("nothing to measure: no device 'cuda': ")


def test_times_of_an_emulation_are_kept_only_where_asked_for(tmp_path):
    said = refusal(tmp_path, "benchmarks/device.sh", DEVICE="emulated", OUT="")
    assert said == "DEVICE=emulated measures nothing worth keeping: say where to, with OUT\n"


SHARING = """
set -u
out=$1 name=tried minutes=1 python=false
source tests/device/parts.sh
begin
part first "$(share 10 40)" bash -c 'echo told; exit 3'
part slow 10 sleep 60
part left 9 true
share 30 30
echo "status $status; ${outcomes[*]}"
"""


def test_parts_share_what_is_left_and_say_how_they_ended(tmp_path):
    done = subprocess.run(
        ["bash", "-c", SHARING, "bash", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{hasty_timeout(tmp_path)}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "== first, 15 s at most: bash -c echo told; exit 3" in done.stdout
    ended = "first=failed (exit status 3) slow=cut short left=left out: no time was left"
    assert done.stdout.endswith(f"status 1; {ended}\n")
    # minutes are of all parts together, and the slow one was ended at once
    assert "\n60\n" in done.stdout or "\n59\n" in done.stdout
    log = (tmp_path / "device-tried.log").read_text()
    assert "told\n" in log
    assert "== slow: cut short" in log


def hasty_timeout(tmp_path):
    """Return a folder with a `timeout` that waits a tenth of a second for `sleep`."""
    tool = tmp_path / "bin" / "timeout"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/bash\n[ "$3" = sleep ] && set -- "$1" 0.1 sleep 60\nexec /usr/bin/timeout "$@"\n'
    )
    tool.chmod(0o755)
    return tool.parent


@needs_no_gpu
def test_without_a_gpu_it_refuses(tmp_path):
    said = refusal(tmp_path)
    assert said.startswith("nothing is tested: no device 'cuda': ")
    assert said.count("\n") == 1


def test_it_knows_two_devices(tmp_path):
    assert refusal(tmp_path, DEVICE="cpu") == "DEVICE is 'cpu': use cuda or emulated\n"


def test_a_bare_machine_is_told_what_is_missing(tmp_path):
    bare = tmp_path / "python"
    # no site-packages: what is not in the standard library is missing
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    said = refusal(tmp_path, PYTHON=str(bare))
    assert said.startswith("nothing is tested: pip install numpy pillow ")
    assert said.endswith(" pytest pytest-timeout hypothesis\n")


def test_the_tests_that_it_names_are_there():
    script = (ROOT / "tests" / "device.sh").read_text()
    names = re.findall(r"\$conformance::(\w+)", script)
    assert len(names) > 3
    assert [name for name in names if not hasattr(test_conformance, name)] == []
    paths = re.findall(r"(?<![\w/])tests/[\w/]+(?:\.py)?(?= |$)", script, re.MULTILINE)
    assert [path for path in paths if path.endswith(".py") and not (ROOT / path).exists()] == []


def test_launches_are_seen_where_something_judges_them():
    x = ops.relu
    with launched_kernels() as seen:
        with emulated("fast"):
            x([1.0, -1.0])
        assert seen == set()
        with emulated("checked"):
            x([1.0, -1.0])
    assert seen == {("relu.cu", "relu_forward")}


def test_the_record_says_what_was_tried(tmp_path):
    row = {"op": "relu", "forward": "kernel", "dtype": "float32", "verdict": "PASS"}
    rows = [row, row, row | {"verdict": "FAIL"}]
    counts = {"relu.cu: relu_forward": {"passed": 4, "failed": 1}}
    (tmp_path / "suite.json").write_text(json.dumps({"tests": {"passed": 4}, "kernels": counts}))
    lines = [*map(json.dumps, rows), '{"op": "cut sh']
    (tmp_path / "full_size.jsonl").write_text("\n".join(lines))
    results = tmp_path / "tests" / "results"
    results.mkdir(parents=True)
    assert record.main([str(tmp_path), str(results), "emulated", "about"]) == 0
    assert record.main([str(tmp_path), str(results), "emulated", "suite=passed"]) == 0
    said = json.loads((results / "emulator-checked-mode.json").read_text())
    assert said["full_size"]["verdicts"] == {"relu kernel float32": {"PASS": 2, "FAIL": 1}}
    assert said["full_size"]["not_passed"] == [rows[2]]
    assert said["parts"] == {"suite": "passed"}
    proof = read_proofs(tmp_path)["relu.cu", "relu_forward"]
    assert proof.emulated == f"{said['date']}: 4 passed, **1 failed**"
    assert proof.gpu == "not run on a GPU"


RIGHT = """
import pytest
from minialex import emulated, ops

@pytest.mark.parametrize("size", [1, 31])
def test_relu(size):
    with emulated("checked"):
        ops.relu([1.0] * size)
"""


def run_with_plugin(folder, options, capture=False):
    """Run the tests of a folder with the plugin, and return how that ended."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.device.plugin", "-p", "no:cacheprovider"]
        + [str(one) for one in options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=capture,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("seconds", "tests", "relu", "workers"),
    [
        ("100", {"passed": 2}, {"passed": 2, "failed": 0}, ()),
        ("0", {"not_reached": 2}, None, ()),
        ("100", {"passed": 2}, {"passed": 2, "failed": 0}, ("-n", "2")),
    ],
)
def test_the_plugin_counts_the_tests_that_launched_a_kernel(
    tmp_path, seconds, tests, relu, workers
):
    written = tmp_path / "suite.json"
    (tmp_path / "test_right.py").write_text(RIGHT)
    done = run_with_plugin(tmp_path, ["--record", written, "--seconds", seconds, *workers])
    said = json.loads(written.read_text())
    assert done.returncode == 0
    assert {name: n for name, n in said["tests"].items() if n} == tests
    assert said["kernels"].get("relu.cu: relu_forward") == relu


def test_a_failing_test_counts_against_the_kernels_that_it_launched(tmp_path):
    (tmp_path / "test_wrong.py").write_text(
        "from minialex import emulated, ops\n"
        "def test_wrong():\n"
        "    with emulated('checked'):\n"
        "        ops.relu([1.0])\n"
        "    assert False\n"
    )
    written = tmp_path / "suite.json"
    done = run_with_plugin(tmp_path, ["--record", written, "--seconds", "100"])
    assert done.returncode == 1
    counts = json.loads(written.read_text())["kernels"]
    assert counts == {"relu.cu: relu_forward": {"passed": 0, "failed": 1}}


LOSING = """
import sys, types
import pytest

class CUDARuntimeError(Exception):
    pass

def deviceSynchronize():
    raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

def lose():
    runtime = types.SimpleNamespace(
        deviceSynchronize=deviceSynchronize, CUDARuntimeError=CUDARuntimeError
    )
    cuda = types.SimpleNamespace(runtime=runtime, is_available=lambda: True)
    sys.modules["cupy"] = types.SimpleNamespace(cuda=cuda)

def test_plain():
    pass

@pytest.mark.parametrize("name", ["conv2d"])
def test_faulty(name):
    lose()
    assert False, "results of a GPU that faulted"

@pytest.mark.parametrize("number", range(9))
def test_later(number):
    assert False, "nothing counts any more"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "worker"])
def test_the_suite_ends_where_a_kernel_takes_the_gpu_from_it(tmp_path, workers):
    (tmp_path / "test_losing.py").write_text(LOSING)
    written = tmp_path / "suite.json"
    options = ["--record", written, "--seconds", "100", *workers]
    done = run_with_plugin(tmp_path, options, capture=True)
    assert done.returncode == 2
    fault = "test_losing.py::test_faulty[conv2d]: cudaErrorIllegalAddress: an illegal memory access"
    assert f"stopped, for the GPU was lost: {fault}" in done.stdout
    said = json.loads(written.read_text())
    # convolutions come first, so that this one was reached before all others
    assert said["tests"] == {"passed": 0, "failed": 1, "skipped": 0, "not_reached": 10}
    (told,) = said["faults"]
    assert told.startswith(fault)
