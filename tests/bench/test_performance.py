"""The record of predicted steps and its page: sums, what is out of date, parts, bad words."""

from dataclasses import replace

import numpy as np
import pytest

from minialex import Tensor, ops
from minialex.bench import performance, predicted_steps
from minialex.bench.performance import PAGE, main, named_steps, page
from minialex.bench.performance_picture import PICTURE, picture
from minialex.bench.performance_tables import (
    KIND_NAMES,
    PRECISION,
    PYTORCH,
    TABLES,
    by_kind,
    gains,
    grouped,
    headline,
    kind,
    launches,
    layers_of,
    summary,
)
from minialex.bench.predicted_steps import (
    BATCHES,
    MODES,
    RECORD,
    PredictedLaunch,
    PredictedStep,
    digest_today,
    predict_step,
    read_steps,
    write_steps,
)
from minialex.cuda import source
from minialex.cuda.emulator.named import array_parameters
from minialex.cuda.observe import wrapped_launches
from minialex.study.profile import profiled
from tests.cuda import bfloat16_runs
from tests.cuda.tools import ROOT, disassembles

FORWARD = PredictedLaunch(
    "conv2d_forward_tf32<8>", "conv2d_tensor_core.cu", "conv2d 1", "9 x 2", "issue", 70, 40
)
COPY = PredictedLaunch(
    "conv2d_channels_last<0>", "conv2d_channels_last.cu", "", "64", "launch", 3, 0.07
)
RELU = PredictedLaunch("relu_forward<float>", "relu.cu", "", "512", "memory", 19, 17)
DROPOUT = PredictedLaunch("dropout<float>", "dropout.cu", "", "288", "launch", 2.8, 0.8)
LINEAR = PredictedLaunch(
    "linear_forward_tf32<4>", "linear_tensor_core.cu", "linear 1", "8", "memory", 54, 52
)
LOSS = PredictedLaunch(
    "cross_entropy_forward<float>", "cross_entropy.cu", "", "32", "launch", 3.6, 0.1
)
BACK = PredictedLaunch(
    "linear_data_gradient_tf32<4>", "linear_tensor_core.cu", "linear 1", "8", "L1", 50, 40
)
RELU_BACK = PredictedLaunch("relu_backward<float>", "relu.cu", "", "512", "memory", 27, 25)
GRADIENT = PredictedLaunch(
    "conv2d_weight_gradient_tf32<8>", "conv2d_tensor_core.cu", "conv2d 1", "9", "L1", 90, 30
)
UPDATE = PredictedLaunch("rmsprop<float>", "rmsprop.cu", "", "59,669", "memory", 572, 570)
LAUNCHES = [
    *(COPY, COPY, FORWARD, RELU, DROPOUT, LINEAR, LOSS),
    *(BACK, DROPOUT, RELU_BACK, COPY, GRADIENT, UPDATE),
]  # fmt: skip
IMPLEMENTATIONS = {
    "relu": "kernel",
    "dropout": "kernel",
    "cross_entropy": "kernel",
    "rmsprop": "kernel",
}


def made_up(batch, mode, launches=LAUNCHES):
    """Return a step as today's code would have it."""
    step = PredictedStep(batch, mode, IMPLEMENTATIONS | MODES[mode], "12.9", "", list(launches))
    return replace(step, code=digest_today(step))


def every_step():
    slower = [
        replace(one, us=2 * one.us, file=one.file.replace("tensor_core", "implicit_gemm"))
        for one in LAUNCHES
        if one.layer != "linear 1"
    ]
    at_32 = {mode: made_up(32, mode, slower if mode == "fp32" else LAUNCHES) for mode in MODES}
    return {(n, mode): replace(step, batch=n) for n in BATCHES for mode, step in at_32.items()}


@pytest.fixture
def tree(tmp_path):
    """Return a source tree whose record and page are today's."""
    for name in ("docs", "benchmarks/results"):
        (tmp_path / name).mkdir(parents=True)
    steps = every_step()
    write_steps(tmp_path / RECORD, steps)
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    (tmp_path / PAGE).write_text(page(text, steps), encoding="utf-8")
    return tmp_path


def rows_of(table):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def test_a_record_comes_back_as_it_was(tmp_path):
    assert read_steps(tmp_path / "none.json") == {}
    write_steps(tmp_path / "record.json", every_step())
    assert read_steps(tmp_path / "record.json") == every_step()


@pytest.mark.parametrize("text", ["", "[]", '{"format": "minialex-predicted-steps 0"}'])
def test_what_is_no_record_is_refused(tree, text, capsys):
    (tree / RECORD).write_text(text)
    assert main([], tree) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no record of python -m minialex.bench.performance" in line


def test_check_passes_what_is_up_to_date(tree, capsys):
    assert main(["--check"], tree) == 0
    assert capsys.readouterr() == ("", "")


def test_check_catches_a_changed_page_and_changes_nothing(tree, capsys):
    text = (tree / PAGE).read_text()
    changed = text.replace("| `tf32` |", "| `tf16` |")
    (tree / PAGE).write_text(changed)
    assert main(["--check"], tree) == 1
    assert capsys.readouterr().out == (
        "docs/performance.md: out of date: python -m minialex.bench.performance\n"
    )
    assert (tree / PAGE).read_text() == changed


def test_what_is_kept_by_hand_may_change(tree):
    (tree / PAGE).write_text((tree / PAGE).read_text() + "\nA version more.\n")
    assert main(["--check"], tree) == 0


@pytest.mark.parametrize(
    ("file", "line", "modes"),
    [
        ("relu.cu", "template <typename T>\n__global__ void relu_forward", set(MODES)),
        ("conv2d_implicit_gemm.cu", '#include "conv2d_implicit_gemm.cuh"', {"fp32"}),
    ],
)
def test_check_names_what_was_predicted_with_other_code(tree, file, line, modes, capsys):
    with source.edited(file, line, f"struct More;\n{line}"):
        assert main(["--check"], tree) == 1
    said = capsys.readouterr().out
    found = {mode for mode in MODES for n in BATCHES if f" {mode} at batch {n}" in said}
    assert found == modes


def test_check_names_a_step_that_is_missing(tree, capsys):
    steps = read_steps(tree / RECORD)
    del steps[128, "tf32"]
    write_steps(tree / RECORD, steps)
    assert main(["--check"], tree) == 1
    said = capsys.readouterr().out
    assert "what was predicted of tf32 at batch 128 is out of date" in said
    assert "docs/performance.md: out of date" in said


def test_a_comment_more_makes_nothing_due(tree):
    with source.edited("relu.cu", "relu_forward(const", "/* more */ relu_forward(const"):
        assert main(["--check"], tree) == 0


def test_an_implementation_that_is_gone_is_due():
    step = made_up(32, "tf32")
    gone = replace(step, implementations=step.implementations | {"relu": "gone"})
    assert digest_today(gone) != step.code
    assert digest_today(replace(step, launches=[replace(RELU, file="gone.cu")])) != step.code


@pytest.fixture
def predicted(monkeypatch):
    """Predict at once what is made up, and note which steps are."""
    asked = []

    def at_once(function, items, description):
        asked.extend(items)
        return [(made_up(*item, LAUNCHES[2:]), 1.0) for item in items]

    monkeypatch.setattr(performance, "in_parallel", at_once)
    monkeypatch.setattr(performance.nvrtc, "why_missing", lambda: "")
    monkeypatch.setattr(performance.disassembly, "why_missing", lambda: "")
    return asked


def test_a_part_is_predicted_and_the_rest_is_kept(tree, predicted, capsys):
    before = read_steps(tree / RECORD)
    old = {key: replace(step, code="old") for key, step in before.items()}
    write_steps(tree / RECORD, old)
    assert main(["tf32", "128"], tree) == 0
    assert predicted == [(128, "tf32")]
    after = read_steps(tree / RECORD)
    assert after.pop((128, "tf32")) == made_up(128, "tf32", LAUNCHES[2:])
    assert after == {key: step for key, step in old.items() if key in after}
    assert "tf32 at batch 128: " in capsys.readouterr().err
    assert (tree / PICTURE).stat().st_size > 0
    assert page((tree / PAGE).read_text(), read_steps(tree / RECORD)) == (tree / PAGE).read_text()


def test_what_is_up_to_date_is_not_predicted_again(tree, predicted):
    assert main([], tree) == 0
    assert predicted == []
    (tree / RECORD).unlink()
    assert main([], tree) == 0
    assert sorted(predicted) == sorted((n, m) for n in BATCHES for m in MODES)


def test_without_a_compiler_it_says_so(tree, monkeypatch, capsys):
    (tree / RECORD).unlink()
    monkeypatch.setattr(performance.nvrtc, "why_missing", lambda: "it is not here")
    assert main(["tf32", "32"], tree) == 2
    assert capsys.readouterr().err == "error: no prediction of 1 step: it is not here\n"


@pytest.mark.parametrize("words", [["tf33"], ["64"], ["--check", "tf32"], ["--chekc"], [""]])
def test_bad_words_are_refused_in_one_line(tree, words, capsys):
    assert main(words, tree) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: unknown mode or batch")


def test_elsewhere_than_in_a_source_tree_it_says_so(tmp_path, predicted, capsys):
    assert main(["--check"], tmp_path) == 2
    assert "run it from the root of a source tree" in capsys.readouterr().err


def test_words_name_modes_and_batches():
    assert named_steps(["32", "tf32", "fp32"]) == [(32, "fp32"), (32, "tf32")]
    assert {batch for batch, _ in named_steps(["tf32"])} == set(BATCHES)
    assert len(named_steps([])) == len(BATCHES) * len(MODES)


def test_the_summary_has_the_sums_of_the_rows():
    steps = every_step()
    del steps[1024, "tf32"]
    found = {(int(row[0]), row[1].strip("`")): row[2:] for row in rows_of(summary(steps))}
    for key, step in steps.items():
        us, floor = (
            sum(getattr(one, what) for one in step.launches) for what in ("us", "floor_us")
        )
        ms, floor_ms, rate, number = found[key][:4]
        assert float(ms) == pytest.approx(us / 1e3, abs=0.006)
        assert float(floor_ms) == pytest.approx(floor / 1e3, abs=0.006)
        assert float(rate.replace(",", "")) == pytest.approx(1e6 * key[0] / us, rel=0.006)
        assert int(number) == len(step.launches)
    assert found[1024, "tf32"][0] == "none"
    assert [cell for cell in found[1024, "tf32"] if cell] == ["none", "32", "19"]
    # of the same precision, and PyTorch's time over ours
    low, high = PYTORCH["FP32"].eager[128]
    ours = steps[128, "tf32x3"].us / 1e3
    assert found[128, "tf32x3"][4:6] == [
        f"{low:g}-{high:g}",
        f"{low / ours:.2f}-{high / ours:.2f}",
    ]
    assert found[128, "tf32"][6] == "3"


def test_kinds_and_groups_add_up_to_the_step():
    step = made_up(128, "tf32")
    for parts in (by_kind(step).values(), [(g.us, g.floor_us) for g in grouped(step)]):
        assert sum(us for us, _ in parts) == pytest.approx(step.us)
        assert sum(floor for _, floor in parts) == pytest.approx(step.floor_us)
    assert [kind(one) for one in (COPY, FORWARD, LINEAR, RELU, UPDATE, LOSS)] == [
        *("operands rewritten", "convolution products", "linear products"),
        *("ReLU", "optimizer", "other"),
    ]
    assert sum(len(group.launches) for group in grouped(step)) == len(LAUNCHES)


def test_a_launch_that_is_no_product_belongs_to_the_layer_beside_it():
    assert layers_of(LAUNCHES) == [
        *("conv2d 1", "conv2d 1", "conv2d 1", "conv2d 1", "linear 1", "linear 1", "loss"),
        *("linear 1", "linear 1", "conv2d 1", "conv2d 1", "conv2d 1", "update"),
    ]


def test_the_fastest_of_each_precision_comes_first():
    steps = every_step()
    for mode in "tf32x3", "tf32":
        faster = [replace(one, us=one.us / 2) for one in LAUNCHES]
        steps[128, mode] = replace(steps[128, mode], launches=faster)
    said = headline(steps)
    assert "by `tf32x3`" in said
    assert "by `tf32`" in said
    assert "multistage" not in said
    assert "by `bf16`" in said
    low, high = PYTORCH["BF16"].compiled[128]
    ours = steps[128, "bf16"].us / 1e3
    assert said.endswith(
        f"{low:g}-{high:g} ms (estimate), {low / ours:.2f}-{high / ours:.2f} times ours."
    )
    assert set(PRECISION.values()) == set(PYTORCH)
    assert "conv2d_weight_gradient_tf32<8>" in gains(every_step())


@pytest.mark.parametrize("name", TABLES)
def test_a_record_without_steps_has_tables(name):
    assert "nan" not in TABLES[name]({})
    picture({})


def test_every_launch_is_on_the_page():
    steps = every_step()
    text = launches(steps)
    assert text.count("<details>") == text.count("</details>") == len(steps)
    assert text.count("`rmsprop<float>`") == len(steps)
    assert len(KIND_NAMES) == len(set(KIND_NAMES))


def test_a_marker_that_names_no_table_is_refused(tree, capsys):
    (tree / PAGE).write_text("<!-- performance:sumary -->\n<!-- /performance -->\n")
    assert main(["--check"], tree) == 2
    assert "unknown table 'sumary': did you mean 'summary'?" in capsys.readouterr().err


def small_step(network, batch, *, gpu):
    """Profile a convolution and ReLU, forward and backward, a few blocks of each launch."""
    rng = np.random.default_rng(batch)
    x = Tensor(rng.standard_normal((batch, 3, 40, 40), np.float32), requires_grad=True)
    w = Tensor(rng.standard_normal((8, 3, 3, 3), np.float32), requires_grad=True)
    with profiled(gpu, max_blocks=2) as profile:
        y = ops.max_pool2d(ops.relu(ops.conv2d(x, w)), kernel_size=3, stride=2)
        y.backward(np.ones_like(y.data))
    return profile


@disassembles
def test_a_step_is_predicted_and_what_is_not_written_is_filled(monkeypatch):
    monkeypatch.setattr(predicted_steps, "profile_step", small_step)
    monkeypatch.setattr(predicted_steps, "_product_layers", lambda: {(8, 3, 3, 3): "conv2d 1"})
    written = {}

    def noted(launch):
        def run(plan, values):
            launch(plan, values)
            arrays = (a for p, a in array_parameters(plan, values) if not p.const)
            written[plan.signature.name] = [a.copy() for a in arrays]

        return run

    with wrapped_launches(noted):
        step = predict_step(9, "fp32")
    assert step.implementations["conv2d"] == "implicit_gemm"
    assert step.code == digest_today(step)
    assert step.launches[0].layer == "conv2d 1"
    assert all(one.us > 2 for one in step.launches)
    # half of what is there is above zero, and a window has nine elements
    (y,) = written["relu_forward"]
    assert 0.45 < np.mean(y > 0) < 0.55
    assert y.min() == 0
    (argmax,) = (a for a in written["max_pool2d_forward"] if a.dtype == np.uint8)
    assert np.unique(argmax).tolist() == list(range(9))
    assert all(np.isfinite(a).all() for arrays in written.values() for a in arrays)


@disassembles
def test_activations_of_bfloat16_are_filled():
    rng = np.random.default_rng(3)
    x, w = (rng.standard_normal(s, np.float32) for s in ((512, 64), (1024, 64)))
    with (
        wrapped_launches(predicted_steps._with_filled_outputs),
        profiled("H100", max_blocks=1),
    ):
        y, _ = bfloat16_runs.LINEAR.forward(x.astype(bfloat16_runs.BFLOAT16), w)
    y = y.astype(np.float32)
    assert np.isfinite(y).all()
    assert 0.45 < np.mean(y > 0) < 0.55
    assert 0.4 < np.mean(y == 0) < 0.55
