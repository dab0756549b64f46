"""``minialex profile``: what it shows, and how it refuses what is not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from minialex import ops
from minialex.arrays import Device
from minialex.autograd import using
from minialex.bench import launch_timing, profiles
from minialex.bench.profiles import layer_labels
from minialex.errors import MinialexError
from minialex.study.profile import profiled
from minialex.study.profile.cases import default_implementation
from tests.capture_double import Gpu
from tests.cuda.tools import disassembles

TILED = "profile", "conv2d", "--emulate", "--implementation", "tiled"


@disassembles
def test_every_launch_line_by_line_and_what_slows_it_down(minialex):
    answer = minialex(*TILED, "--gpu", "A100")
    assert answer.status == 0
    taken, empty, *lines = answer.out.splitlines()
    assert (taken, empty) == ("implementations: conv2d=tiled; case 'small'", "")
    assert lines[0] == "conv2d_forward_tiled<float>: 2 blocks (2) of 16 x 16 threads"
    assert lines[1].startswith("  predicted on an A100, not measured: ")
    assert "32 registers, no spills, 2,048 bytes of shared memory; occupancy 100 %" in lines[2]
    assert lines[3].startswith("  bytes: registers ")
    (row,) = [line for line in lines if "tile_product.cuh:34" in line and "a_tile" in line][:1]
    assert row.split()[:5] == ["tile_product.cuh:34", "write", "4", "B:", "STS"]
    assert row.split()[6:] == ["32", "32.0", "1.00", "(1.00)"]
    assert any(
        line.startswith("uncoalesced: conv2d_tiled.cu:43 reading x touches 3.61 sectors")
        for line in lines
    )
    heads = [line.partition(":")[0] for line in lines if "threads" in line and " of " in line]
    assert heads == [
        "conv2d_forward_tiled<float>",
        "conv2d_data_gradient_tiled<float>",
        "conv2d_weight_gradient_tiled<float>",
        "conv2d_bias_gradient<float>",
    ]


def test_one_kernel_as_json(minialex):
    answer = minialex(*TILED, "--kernel", "conv2d_weight_gradient_tiled", "--json")
    assert answer.status == 0
    (launch,) = json.loads(answer.out)["launches"]
    assert launch["kernel"] == "conv2d_weight_gradient_tiled<float>"
    assert {"requests", "sectors", "wavefronts", "l1_hits"} <= launch["memory"][0].keys()


def test_a_layer_at_its_size_is_sampled_and_says_so(minialex):
    words = "relu", "--emulate", "--case", "alexnet relu 1", "--batch", 2, "--blocks", 5
    answer = minialex("profile", *words)
    assert answer.status == 0
    taken, _, head, *_ = answer.out.splitlines()
    assert taken == "implementations: relu=kernel; alexnet relu 1, batch 2"
    assert head.startswith("relu_forward<float>: 392 blocks (392) of 256 threads, 5 of them")


def test_another_implementation_is_profiled_where_one_is_named(minialex):
    words = "--gpu", "T4", "--use", "linear=naive", "--kernel", "linear_forward_naive"
    answer = minialex("profile", "linear", "--emulate", *words)
    assert answer.status == 0, answer.err
    assert answer.out.startswith("implementations: linear=naive; case ")


def test_by_default_it_is_what_the_gpu_runs():
    assert default_implementation("conv2d", "T4") == "implicit_gemm"
    assert default_implementation("conv2d", "RTX 3060") == "tf32x3"
    with using(precision="tf32"):
        assert default_implementation("conv2d", "RTX 3060") == "tf32"
    with using(conv2d="tiled"):
        assert default_implementation("conv2d", "H100") == "tiled"
    assert default_implementation("relu", "H100") == "kernel"


def test_a_training_step_launch_by_launch(minialex):
    # the whole of a step stands in tests/campaigns
    words = "--batch", 2, "--blocks", 1, "--kernel", "relu_forward"
    answer = minialex("profile", "alexnet-mini", "--emulate", *words)
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0] == "A training step of alexnet-mini, batch 2: predicted, not measured"
    assert lines[2].split()[:3] == ["kernel", "grid", "bound"]
    assert sum(line.startswith(" relu_forward<float>") for line in lines) == 7
    assert lines[-1].startswith("7 launches: predicted ")
    taken = "conv2d=tf32x3 relu=kernel max_pool2d=kernel adaptive_avg_pool2d=kernel dropout=kernel "
    others = "linear=tf32x3 cross_entropy=kernel rmsprop=kernel"
    assert lines[-2] == f"implementations: {taken}{others}"


def test_on_a_machine_with_a_gpu_every_launch_is_measured_too(minialex, monkeypatch):
    gpu = Gpu.installed(monkeypatch)
    for module, name, number in (
        *((profiles, name, 1) for name in ("WARM_UP_STEPS", "MEASURED_STEPS")),
        (launch_timing, "AHEAD_SIZE", 8),
    ):
        monkeypatch.setattr(module, name, number)
    words = "--batch", 2, "--blocks", 1, "--kernel", "relu_forward", "--gpu", "T4"
    answer = minialex("profile", "alexnet-mini", "--emulate", *words)
    assert answer.status == 0, answer.err
    assert gpu.launched.count("relu_forward") == 2 * 7
    # as profiled, though this GPU would by default take its tensor cores
    assert "conv2d_forward_implicit_gemm" in gpu.launched
    lines = answer.out.splitlines()
    assert lines[0].endswith("batch 2: predicted for T4, measured on A made-up GPU")
    rows = [line.split() for line in lines if line.startswith(" relu_forward<float>")]
    # the double's blocks take a microsecond
    assert [row[-1] for row in rows] == [row[1] for row in rows]
    assert lines[-1].startswith("measured on A made-up GPU: ")
    assert lines[-1].endswith(" for 7 of 7 launches")


def test_counts_are_shown_where_the_gpu_at_hand_cannot_run_what_was_counted(minialex, monkeypatch):
    with profiled() as found:
        ops.relu(np.ones(64, np.float32))

    def refuse(*args):
        raise MinialexError("conv2d_forward_tf32x3 needs sm_80")

    for name, value in (
        ("device", lambda name: Device("cuda", 0)),
        ("profile_step", lambda *args, **options: found),
        ("measure_step", refuse),
    ):
        monkeypatch.setattr(f"minialex.cli.profile.{name}", value)
    answer = minialex("profile", "alexnet", "--emulate")
    assert answer.status == 0
    assert "not measured on cuda:0: conv2d_forward_tf32x3 needs sm_80" in answer.err
    assert answer.out.splitlines()[-1].startswith("1 launch: predicted ")


def test_a_page(minialex, tmp_path):
    page = tmp_path / "relu.html"
    answer = minialex("profile", "relu", "--emulate", "--page", page)
    assert answer.status == 0
    assert f"wrote {page}: open it in a browser" in answer.err
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "relu_forward" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "--page '': name a file that ends in .html, such as page.html"),
        ("-", "--page -: name a file that ends in .html, such as page.html"),
        ("kernel.cu", "kernel.cu: name a file that ends in .html"),
        ("folder.html", "folder.html: it is a folder: choose another name"),
        ("missing/page.html", "missing/page.html: its folder does not exist: create it first"),
        ("/dev/stdout", "--page /dev/stdout: name a file that ends in .html"),
    ],
)
def test_where_no_page_can_be_is_said_before_anything_runs(
    minialex, tmp_path, monkeypatch, name, said
):
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    Path("kernel.cu").write_text("mine")
    monkeypatch.setattr("minialex.cli.profile.profile_case", None)
    answer = minialex("profile", "relu", "--emulate", "--page", name)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "kernel.cu"]
    assert Path("kernel.cu").read_text() == "mine"


def test_what_there_is(minialex):
    answer = minialex("profile", "--list")
    assert answer.status == 0
    assert "conv2d" in answer.out
    assert "alexnet-mini" in answer.out
    assert "RTX 4090" in answer.out
    answer = minialex("profile", "conv2d", "--list")
    assert [line.strip() for line in answer.out.splitlines() if line.startswith("  alexnet")] == (
        layer_labels("conv2d")
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name an op or a network, such as conv2d; --list names them all"),
        (("conv2d",), "a profile counts under emulation: add --emulate"),
        (("conv3d", "--emulate"), "unknown op or network 'conv3d': did you mean 'conv2d'?"),
        (("tanh", "--emulate"), "unknown op or network 'tanh'"),
        (("relu", "--emulate", "--gpu", "H300"), "unknown GPU 'H300'; known: T4, "),
        (("relu", "--emulate", "--blocks", "0"), "'0': use a whole number from 1, or all"),
        (("relu", "--emulate", "--batch", "8"), "name one by --case: 'alexnet relu 1', "),
        (
            ("relu", "--emulate", "--case", "no such"),
            "relu has no case 'no such': minialex profile",
        ),
        (
            ("alexnet", "--emulate", "--kernel", "relu_forwards"),
            "there is no kernel 'relu_forwards': did you mean 'relu_forward'?",
        ),
        (
            ("alexnet", "--emulate", "--kernel", "x"),
            "no kernel 'x': without --kernel all are shown",
        ),
        (
            ("relu", "--emulate", "--kernel", "gelu"),
            "no kernel 'gelu' is launched, but: relu_forward",
        ),
        (("linear", "--emulate", "--use", "gemm"), "--use gemm: unknown implementation 'gemm'"),
        (
            ("linear", "--emulate", "--use", "conv2d=tiled"),
            "--use conv2d=tiled: of an op alone, linear, it has no effect",
        ),
        (("linear", "--emulate", "--use", "plain"), "with CUDA kernels 'plain'; known: "),
        (
            ("linear", "--emulate", "--implementation", "tiled", "--use", "linear=naive"),
            "--use is not used with --implementation",
        ),
        (
            ("linear", "--emulate", "--gpu", "T4", "--precision", "tf32"),
            "needs tensor cores of sm_80 or later, and the emulated GPU is sm_75",
        ),
        (
            ("alexnet-mini", "--emulate", "--batch", "1", "--use", "plain"),
            "no kernel is launched; implementations: conv2d=plain ",
        ),
        (("relu", "--emulate", "--implementation", "tiled"), "unknown implementation of relu"),
        (("alexnet", "--emulate", "--case", "1"), "--case is not used with a network, alexnet"),
        (("alexnet", "--list"), "--list is for ops"),
        (("relu", "--list", "--kernel", "x"), "--kernel is not used with --list"),
        (
            ("relu", "--emulate", "--case", "alexnet relu 1", "--page", "x.html"),
            "--page shows a small case",
        ),
    ],
)
def test_what_is_refused(minialex, words, said):
    answer = minialex("profile", *words)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
