"""``minialex gradcheck``: what it prints, and what its exit status says."""

import json
import re
import subprocess
import sys

import pytest

from minialex import cuda
from minialex.autograd import OPS
from minialex.check import CASES, CaseFindings, CheckRun, Finding, Verdict
from tests.check import zoo


def lines_of(answer, op):
    return [line for line in answer.out.splitlines() if line.split()[:1] == [op]]


def test_one_line_for_each_type_and_a_count(minialex):
    answer = minialex("gradcheck", "--op", "exp", "--op", "relu")
    assert answer.status == 0
    assert [line.split()[:4] for line in lines_of(answer, "relu")[:4]] == [
        ["relu", name, dtype, str(kinds * len(CASES["relu"]))]
        for dtype in ("float64", "float32")
        for name, kinds in (("plain", 3), ("blocked", 4))
    ]
    compared = answer.out.split("compared:\n")[1].splitlines()
    named = [line.split(":")[0] for line in compared[:-1]]
    kinds = [f"of kind {kind}" for kind in ("values", "contract", "layouts", "sharing")]
    assert named == ["exp plain", "relu blocked", "relu plain", *kinds]
    assert "0 INCONCLUSIVE, 0 FAIL" in compared[-1]
    # no bar in a pipe
    assert answer.err == ""
    assert "\x1b" not in answer.out


def test_a_line_for_each_case(minialex):
    only = "--only", "values", "--only", "contract"
    answer = minialex("gradcheck", "--op", "exp", "--dtype", "float32", *only, "-v")
    shown = lines_of(answer, "exp")[:-1]
    expected = [(kind, case.name) for kind in only[1::2] for case in CASES["exp"]]
    for (kind, case), line in zip(expected, shown, strict=True):
        assert f"{kind:<8}  {case}: " in line


def test_json_is_an_object_a_line_after_the_environment(minialex):
    answer = minialex("gradcheck", "--op", "exp", "--dtype", "float64", "--json")
    first, *records = [json.loads(line) for line in answer.out.splitlines()]
    kinds = "values", "contract", "layouts"
    expected = [(kind, case.name) for kind in kinds for case in CASES["exp"]]
    assert [(r["kind"], r["case"]) for r in records] == expected
    assert {r["verdict"] for r in records} == {"PASS"}
    where = first["environment"]
    assert where["versions"].keys() >= {"minialex", "python", "numpy"}
    assert where["blas"]
    assert where["blas"][0].keys() >= {"library", "threads"}
    assert where["machine"].keys() >= {"cpu", "cores", "system"}
    assert (where["device"], where["emulate"]) == ("cpu", None)
    assert where["compiler"]
    assert where["time"].endswith("+00:00")


def test_the_environment_without_a_compiler(minialex, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    answer = minialex("gradcheck", "--op", "engine", "--json")
    assert answer.status == 0
    assert json.loads(answer.out.splitlines()[0])["environment"]["compiler"] is None


def test_a_failure_is_shown_in_full(minialex, monkeypatch):
    forward = OPS["exp"].implementations["plain"].forward
    monkeypatch.setitem(OPS, "exp", zoo.unlisted("exp", forward, lambda gy, saved: (0 * gy,)))
    what = "--op", "exp", "--op", "reshape", "--dtype", "float64"
    answer = minialex("gradcheck", *what, "--only", "values", "--only", "layouts")
    assert answer.status == 1
    # where numbers are wrong they are so in all layouts, too: that is counted, and told once
    assert answer.out.count("FAIL exp plain float64 on cpu, case '31'\n") == 1
    assert "FAIL exp plain float64 on cpu, layouts" not in answer.out
    layouts = re.search(r"^of kind layouts: \d+ PASS, (\d+) FAIL$", answer.out, re.MULTILINE)
    assert int(layouts[1]) > 0
    assert "FAIL" in lines_of(answer, "exp")[0]
    assert "PASS" in lines_of(answer, "reshape")[0]
    for words in (
        "worst at [",
        "got 0, it must be ",
        "first guess: it is zero everywhere",
        "it comes from",
    ):
        assert words in answer.out
    answer = minialex("gradcheck", *what, "--only", "values", "--json")
    assert answer.status == 1
    assert json.loads(answer.out.splitlines()[1])["verdict"] == "FAIL"


def test_what_is_inconclusive_is_shown_and_is_no_failure(minialex, monkeypatch):
    finding = Finding("output", Verdict.INCONCLUSIVE, 0.0, 1.0, 3, detail=("cannot tell",))
    monkeypatch.setattr(
        CheckRun, "run", lambda self: CaseFindings(self.pair, self.case.name, (finding,))
    )
    answer = minialex("gradcheck", "--op", "exp", "--dtype", "float32")
    assert answer.status == 0
    assert answer.out.count("cannot tell") == 3 * len(CASES["exp"])
    assert f"{3 * len(CASES['exp'])} INCONCLUSIVE, 0 FAIL" in answer.out


@pytest.mark.parametrize("mode", [["--emulate"], ["--emulate=checked"], ["--emulate", "fast"]])
def test_kernels_are_checked_under_the_emulator(minialex, mode):
    answer = minialex("gradcheck", *mode, "--op", "relu", "--implementation", "kernel")
    assert answer.status == 0
    assert lines_of(answer, "relu")[0].split()[1] == "kernel"


def test_emulation_is_checked_and_tells_what_a_gpu_does_not(minialex):
    with cuda.edited("relu.cu", "slice(n, begin_vectors(gy", "slice(n + 1, begin_vectors(gy"):
        answer = minialex("gradcheck", "--emulate", "--op", "relu")
    assert answer.status == 1
    assert "out-of-bounds" in answer.out
    assert "slices.cuh:" in answer.out


def test_mixed_pairs(minialex):
    what = "--op", "avg_pool2d", "--dtype=float32", "--only=values"
    answer = minialex("gradcheck", "--emulate", *what, "--mixed")
    names = {line.split()[1] for line in lines_of(answer, "avg_pool2d")[:9]}
    ours = "plain", "blocked", "kernel"
    assert names == {*ours, *(f"{a}>{b}" for a in ours for b in ours if a != b)}


def test_full_size(minialex):
    answer = minialex("gradcheck", "--full-size", "--op", "relu", "--dtype", "float32")
    assert answer.status == 0
    assert "adjoint" not in answer.err
    assert int(lines_of(answer, "relu")[2].split(";")[1].split()[0].replace(",", "")) > 200_000


def test_stopping(minialex, monkeypatch):
    def stop(trial):
        raise KeyboardInterrupt

    monkeypatch.setattr(CheckRun, "run", stop)
    answer = minialex("gradcheck", "--op", "relu")
    assert answer.status == 130
    assert answer.err.endswith("stopped\n")


def test_a_reader_that_has_seen_enough():
    words = [sys.executable, "-m", "minialex", "gradcheck", "--op", "exp", "--op", "sum", "-v"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline().startswith("op ")
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_pipe_gets_no_bar_where_colour_is_forced(monkeypatch, variable):
    """As in continuous integration."""
    monkeypatch.setenv(variable, "1")
    words = [sys.executable, "-m", "minialex", "gradcheck", "--op", "reshape", "--json"]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    assert {json.loads(line)["op"] for line in answer.stdout.splitlines()[1:]} == {"reshape"}
    assert answer.stderr == ""
