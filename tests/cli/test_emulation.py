"""``--emulate``, ``--use`` and ``--stop-after``: the same networks on CUDA kernels, on the CPU."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minialex.cli.emulation import command_line
from minialex.cuda import edited, emulator
from minialex.weights import checkpoint
from tests.capture_double import Gpu
from tests.cli.conftest import TINY
from tests.cli.test_bad_input import refused


@pytest.fixture
def launches(monkeypatch):
    """Count what the emulator launches."""
    seen = []
    launch = emulator.launch

    def counting(plan, values):
        seen.append(plan.signature.name)
        launch(plan, values)

    monkeypatch.setattr(emulator, "launch", counting)
    return seen


def losses(out):
    return [float(loss) for loss in re.findall(r"\] loss: ([\d.]+)", out)]


def test_a_few_steps_on_kernels_give_the_losses_of_arrays(minialex, photos, launches):
    some = "--recipe", "images", "--stop-after", 2, "--log-every", 1
    arrays = minialex("train", photos, *TINY, *some, "--out", "arrays")
    assert not launches
    kernels = minialex("train", photos, *TINY, *some, "--out", "kernels", "--emulate")
    assert arrays.status == kernels.status == 0
    # one launch per step updates all parameters
    assert launches.count("rmsprop") == 2
    assert {"prepare", "conv2d_forward_implicit_gemm", "relu_backward"} <= set(launches)
    assert len(losses(kernels.out)) == 2
    # printed to a thousandth
    assert losses(kernels.out) == pytest.approx(losses(arrays.out), abs=1.1e-3)
    assert "on cpu by emulated CUDA kernels (fast)" in kernels.out
    assert "emulated" not in arrays.out
    assert "stopped after 2 batches" in kernels.out
    assert kernels.out.endswith("Go on with: minialex train --resume kernels --emulate\n")
    trained = [checkpoint.load(f"{run}/last.safetensors").tensors for run in ("arrays", "kernels")]
    for name, x in trained[0].items():
        np.testing.assert_allclose(trained[1][name], x, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_command_is_repeated_with_what_it_ran_on():
    again = command_line("train", Path("a b"), emulate="checked", use=("relu=plain", "tiled"))
    words = "--emulate", "checked", "--use", "relu=plain", "--use", "tiled"
    assert shlex.split(again) == ["minialex", "train", "a b", *words]
    assert command_line("train", emulate=None, use=()) == "minialex train"


def test_a_mode_that_is_misspelt(minialex, photos):
    answer = minialex("train", photos, "--emulate", "checkd")
    assert answer.status == 2
    assert "--emulate checkd: did you mean --emulate checked?" in answer.err


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_run_in_fewer_bits_goes_on_without_tensor_cores_in_fp32(minialex, photos, precision):
    words = "--precision", precision, "--stop-after", 1
    begun = minialex("train", photos, *TINY, *words, "--emulate", "--out", "run")
    assert begun.status == 0
    assert f"on cpu by emulated CUDA kernels (fast) in {precision};" in begun.out
    refused(minialex("train", "--resume", "run"), "emulate one (--emulate), or use precision fp32")
    ended = minialex("train", "--resume", "run", "--precision", "fp32")
    assert ended.status == 0
    assert f"precision {precision}, from here on cpu with" in " ".join(ended.out.split())
    assert f" in {precision};" not in ended.out


def test_a_run_that_was_stopped_ends_as_one_that_was_not(minialex, photos, run_folder):
    assert minialex("train", photos, *TINY, "--stop-after", 1, "--out", "stopped").status == 0
    answer = minialex("train", "--resume", "stopped")
    assert answer.status == 0
    assert "validation accuracy" in answer.out
    stopped, whole = (run_folder.parent / name for name in ("stopped", run_folder.name))
    last = "last.safetensors"
    assert (stopped / last).read_bytes() == (whole / last).read_bytes()


def test_evaluate_and_predict_on_kernels(minialex, photos, run_folder, launches):
    def answers(*more):
        evaluated = minialex("evaluate", run_folder, photos, "--all", "--json", *more)
        named = minialex("predict", run_folder, photos, "--json", *more)
        assert evaluated.status == named.status == 0
        lines = [json.loads(line) for line in named.out.splitlines()]
        chances = [guess["probability"] for line in lines for guess in line["guesses"]]
        return json.loads(evaluated.out)["accuracy"], chances

    accuracy, chances = answers()
    assert not launches
    assert answers("--emulate") == (accuracy, pytest.approx(chances, rel=1e-4))
    assert {"conv2d_forward_implicit_gemm", "max_pool2d_forward"} <= set(launches)


def test_use_chooses_the_rung(minialex, photos, launches):
    words = "--emulate", "--use", "conv2d=tiled", "--stop-after", 1
    assert minialex("train", photos, *TINY, *words).status == 0
    assert "conv2d_forward_tiled" in launches
    assert "conv2d_forward_implicit_gemm" not in launches


def test_checked_mode(minialex, run_folder, photos, launches):
    first = sorted(photos.rglob("*.png"))[0]
    answer = minialex("predict", run_folder, first, "--emulate", "checked", "--use", "conv2d=naive")
    assert answer.status == 0
    assert "conv2d_forward_naive" in launches


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--emulate", "--device", "cuda:0"), ["leave out --device cuda:0"]),
        (("--use", "conv2d=fast"), ["unknown implementation of conv2d 'fast'", "tiled"]),
        (("--use", "convolution=tiled"), ["unknown op 'convolution'", "conv2d"]),
        (("--use", "fast"), ["unknown implementation 'fast'", "tiled"]),
        (("--use", "conv2d=tiled"), ["conv2d_forward_tiled is a CUDA kernel", "--emulate"]),
    ],
)
def test_what_is_refused(minialex, photos, words, named):
    refused(minialex("train", photos, *TINY, *words), *named)


def test_folds_beside_one_another_are_not_emulated(minialex, photos):
    refused(minialex("kfold", photos, *TINY, "--emulate", "--jobs", 2), "leave out --jobs")


def test_without_a_compiler_it_says_what_to_install(minialex, photos, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    answer = minialex("train", photos, *TINY, "--emulate", "--stop-after", 1)
    refused(answer, "no-such-compiler", "set it to a C++ compiler")


def breaking_cupy():
    """Return a stand-in for CuPy whose compiler takes no kernel."""
    cupy = Gpu().cupy
    cupy.cuda.compiler = SimpleNamespace(CompileException=type("Refused", (Exception,), {}))

    def refuse(name):
        raise cupy.cuda.compiler.CompileException("prepare.cu(9): error: expected a ';'")

    cupy.RawModule = lambda **_: SimpleNamespace(get_function=refuse)
    return cupy


@pytest.mark.parametrize("where", ["--emulate", "--device=cuda:0"])
def test_a_kernel_that_does_not_compile(minialex, photos, monkeypatch, where):
    monkeypatch.setitem(sys.modules, "cupy", breaking_cupy())
    with edited("prepare.cu", "2 * x.blue", "2 * x.violet"):
        answer = minialex("train", photos, *TINY, where, "--stop-after", 1)
    assert answer.status == 2
    assert "Traceback" not in answer.err
    first, error = answer.err.splitlines()
    assert re.match(r"minialex: error: prepare.* does not compile", first)
    assert re.match(r"  prepare\.cu.* error: ", error)


def test_a_command_without_a_word(minialex):
    answer = minialex("evaluate")
    assert answer.status == 2
    assert "name a NETWORK" in answer.err
