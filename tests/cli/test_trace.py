"""``minialex trace``: what it shows of a thread, and how it refuses what is not there."""

import subprocess
import sys

import pytest

from minialex import cuda
from minialex.check import CASES
from tests.cli.test_bad_input import refused


def test_a_thread_of_the_tiled_convolution(minialex):
    answer = minialex("trace", "conv2d", "--implementation", "tiled", "--thread", "3,1")
    assert answer.status == 0
    head, *lines = answer.out.splitlines()
    assert head.startswith("conv2d_forward_tiled<float>, grid ")
    assert head.endswith("what thread (3, 1, 0) of block (0, 0, 0) does")
    # what it does stands below the line that does it
    barriers = [n for n, line in enumerate(lines) if "waits at the barrier" in line]
    assert barriers
    assert all(lines[n - 1].split(maxsplit=1)[1] == "__syncthreads();" for n in barriers)
    y = [line for line in lines if line.startswith("        writes  y[")]
    # filter 1, the fourth column
    assert [line.split(" = ")[1].split(":")[0] for line in y] == ["y[0, 1, 0, 3]"]
    assert lines[-1] == "        returns"
    # a pipe gets the trace alone
    assert "\x1b" not in answer.out
    assert "conv2d_weight_gradient_tiled" in answer.err


def test_a_kernel_of_backward_on_a_case_of_that_name(minialex):
    words = "--kernel", "relu_backward", "--case", "257", "--thread"
    answer = minialex("trace", "relu", *words, 65)
    # 257 elements are 64 vectors, and one that thread 64 has
    assert answer.status == 0
    assert answer.out.splitlines()[1:] == ["        returns"]
    answer = minialex("trace", "relu", *words, 64)
    assert "        reads   gy[256]: " in answer.out
    assert answer.err == ""


def test_a_kernel_that_goes_wrong_ends_in_an_error(minialex):
    with cuda.edited("relu.cu", "slice(n, begin_vectors(x", "slice(n + 1, begin_vectors(x"):
        answer = minialex("trace", "relu", "--thread", 0)
    assert answer.status == 2
    assert "out-of-bounds" in answer.err
    assert "vectors.cuh:" in answer.err


def test_the_list_of_ops(minialex):
    answer = minialex("trace", "--list")
    assert answer.status == 0
    assert answer.out.startswith("ops  adaptive_avg_pool2d, astype, avg_pool2d, conv2d, ")
    assert "softmax" in answer.out
    assert "tanh" not in answer.out
    answer = minialex("trace")
    assert answer.status == 2
    assert "name an op, such as conv2d; --list names them all" in answer.err


def test_the_list_of_what_there_is(minialex):
    answer = minialex("trace", "linear", "--implementation", "naive", "--list")
    assert answer.status == 0
    lines = answer.out.splitlines()
    rungs = "naive, tiled, register_blocked, tf32x3, tf32, multistage_tf32x3, multistage_tf32, bf16"
    assert lines[0].split(maxsplit=1)[1] == rungs
    assert "linear_forward_naive" in lines[2]
    assert "linear_weight_gradient_naive" in lines[3]
    assert lines[5:] == [f"  {case.name}" for case in CASES["linear"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exp"], "'exp'; known: "),
        (["conv2d", "--implementation", "plain"], "naive, tiled"),
        (["conv2d", "--implementation", "cudnn"], "naive, tiled"),
        (["relu", "--case", "none such"], "minialex trace relu --list"),
        (["relu", "--case", "shape (0, 3)"], "choose another --case"),
        (["relu", "--kernel", "softmax_forward"], "relu_forward, relu_backward"),
        (["relu", "--thread", "256"], "has no thread (256, 0, 0)"),
        (["relu", "--block", "1"], "of block (1, 0, 0)"),
    ],
)
def test_what_is_not_there(minialex, words, said):
    refused(minialex("trace", *words), said)


@pytest.mark.parametrize("given", ["x", "1,2,3,4", "-1", "1,", ""])
def test_what_is_no_index(minialex, given):
    answer = minialex("trace", "relu", f"--thread={given}")
    assert answer.status == 2
    assert f"{given!r} is not up to three indices" in answer.err


def test_a_reader_that_has_seen_enough():
    words = [sys.executable, "-m", "minialex", "trace", "conv2d", "--implementation", "tf32x3"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline().startswith("conv2d_")
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
