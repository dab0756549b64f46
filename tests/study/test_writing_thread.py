"""The thread that wrote a number: found, its reads beside the factors, and its sum done again."""

import numpy as np
import pytest

from minialex.cuda.source import edited
from minialex.errors import MinialexError
from minialex.study import explain_run, run_op, writing_thread
from minialex.study.explanation_text import lines

CONV = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def conv(implementation):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s, np.float32) for s in ((2, 3, 9, 9), (20, 3, 3, 3), (20,)))
    gy = rng.standard_normal((2, 20, 5, 5), np.float32)
    return run_op("conv2d", x, w, b, gy=gy, implementation=implementation, **CONV)


def thread_of(run, which, index):
    found = explain_run(run, which, index)
    assert found.agrees
    return found, writing_thread(found)


@pytest.mark.parametrize("implementation", ["naive", "tiled"])
def test_the_thread_of_a_sum_in_one_thread(implementation):
    found, thread = thread_of(conv(implementation), "y", (1, 17, 0, 4))
    assert thread.kernel == f"conv2d_forward_{implementation}<float>"
    place = {"naive": ((3, 0, 0), (161, 0, 0)), "tiled": ((1, 1, 0), (13, 1, 0))}
    assert (thread.block, thread.thread) == place[implementation]
    assert (thread.writers, thread.written, thread.is_cut) == (1, 1, False)
    inside = {(c.array, c.index) for n, term in enumerate(found.formula.terms)
              for c in found.formula.cells_of(n) if term.note != "padding"}  # fmt: skip
    assert {(cell.array, cell.index) for cell in thread.factors} == inside
    assert thread.reads_the_factors
    assert thread.replay.value == found.ran
    assert thread.replay.order == "one product after another, in the order of its reads"
    said = "\n".join(lines(found, "y", 1, None, thread))
    assert "no other thread writes there" in said
    assert "all that count" in said
    assert "the same bits" in said


def test_a_weight_gradient_of_several_images_is_summed_up_image_by_image():
    run, orders = conv("naive"), []
    for k, l in np.ndindex(3, 3):
        found, thread = thread_of(run, "gw", (5, 2, k, l))
        assert thread.reads_the_factors
        assert thread.replay.value == found.ran
        orders.append(thread.replay.order)
    by_image = "each image summed up by itself, and then added"
    assert by_image in orders
    assert all(by_image in order for order in orders)


def test_what_an_earlier_launch_wrote_is_named():
    found, thread = thread_of(conv("im2col"), "gx", (1, 2, 4, 5))
    assert thread.kernel == "conv2d_col2im<float>"
    assert thread.made_before == {"patches": "conv2d_data_gradient_im2col"}
    assert not thread.reads_the_factors
    assert not thread.replay.same_bits
    assert "patches, which conv2d_data_gradient_im2col wrote" in "\n".join(
        lines(found, "gx", 1, None, thread)
    )


def test_what_stays_in_registers_is_not_guessed():
    found, thread = thread_of(conv("implicit_gemm"), "gw", (5, 2, 2, 0))
    assert not thread.replay.same_bits
    said = "\n".join(lines(found, "gw", 1, None, thread))
    assert "the order of its sum cannot be seen: " in said


def test_the_elements_of_other_threads_of_a_warp_are_counted():
    rng = np.random.default_rng(0)
    run = run_op(
        "softmax", rng.standard_normal((1, 10), np.float32), implementation="kernel", dim=1
    )
    _, thread = thread_of(run, "y", (0, 3))
    assert ([str(cell) for cell in thread.factors], len(thread.missing)) == (["x[0, 3]"], 9)
    assert thread.missing_in_block == 9


def test_a_gate_is_no_stranger():
    # a thread has a vector of numbers: here one
    x = np.float32([2])
    run = run_op("relu", x, implementation="kernel", gy=np.ones(1, np.float32))
    _, thread = thread_of(run, "gx", (0,))
    assert thread.reads_the_factors


def test_a_kernel_that_reads_other_elements_is_told_by_them():
    with edited(
        "linear.cu", "sum += x[r * I + i] * w[o * I + i];", "sum += x[r * I + i] * w[o + i * O];"
    ):
        rng = np.random.default_rng(0)
        x, w = (rng.standard_normal(shape, np.float32) for shape in ((4, 6), (5, 6)))
        run = run_op("linear", x, w, None, implementation="naive")
        found = explain_run(run, "y", (2, 1))
        assert not found.agrees
        thread = writing_thread(found)
    # elements 1, 6, 11, 16, 21 and 26 of w, of which 6 and 11 are in its row 1
    assert [str(cell) for cell in thread.missing[:2]] == ["w[1, 1]", "w[1, 2]"]
    assert [str(cell) for cell in thread.others[:2]] == ["w[0, 1]", "w[2, 4]"]
    assert "it does not read w[1, 1], w[1, 2]" in "\n".join(lines(found, "y", 1, None, thread))


def test_what_is_made_of_array_operations_has_no_thread():
    run = run_op("linear", np.ones((1, 2)), np.ones((1, 2)), None)
    with pytest.raises(MinialexError, match="no CUDA kernel wrote it: linear by plain"):
        writing_thread(explain_run(run, "y", (0, 0)))
