"""What a GPU would capture of a training step and repeat, on the double of one."""

import re

import numpy as np
import pytest

from minialex import Tensor, cuda, models, ops, optim, using
from minialex.data import Batch
from minialex.nn import layers
from minialex.train import replay
from minialex.train.step import TrainStep
from tests.capture_double import Stream
from tests.train.steps import assert_equal_bits, batches, kept, made, tiny, tiny_batch


@pytest.mark.parametrize(
    ("optimizer", "clip"), [("rmsprop", 0.5), ("groups", 0.0)], ids=["clipped", "groups"]
)
def test_a_graph_repeats_the_step_and_not_its_numbers(optimizer, clip, gpu):
    """Streams of dropout, learning rates and counts go on from replay to replay."""
    with cuda.emulated():
        on_cpu = made(optimizer, clip=clip)
        for batch in batches():
            on_cpu(batch)
    step = made(optimizer, "cuda", clip=clip)
    for batch in batches("cuda"):
        step(batch)
    assert step.uncaptured == ""
    # the first few run as they are, and so does the smaller last one
    assert [graph.launches for graph in gpu.graphs] == [6 - replay.WARM_UP_STEPS - 1]
    assert_equal_bits(kept(step), kept(on_cpu))
    assert step.state.on_host() == on_cpu.state.on_host()
    assert step.model.generator.offset == on_cpu.model.generator.offset


def test_masks_differ_from_replay_to_replay(gpu):
    """On the same images and weights the loss changes by dropout alone."""
    step = made("sgd", "cuda", schedule=None)
    step.optimizer.param_groups[0]["lr"] = 0.0
    batch, totals = batches("cuda")[0], []
    for _ in range(replay.WARM_UP_STEPS + 4):
        step(batch)
        totals.append(float(step.state.totals[0]))
    losses = np.diff(totals)
    assert gpu.graphs[0].launches == 4
    assert len(set(losses.round(9))) == len(losses)


NETWORKS = sorted(models.VARIANTS)


@pytest.mark.parametrize("variant", NETWORKS)
def test_the_whole_step_of_every_network_is_captured(variant, gpu, monkeypatch):
    """At its full size: what is captured is not computed."""
    monkeypatch.setattr(replay, "WARM_UP_STEPS", 0)
    monkeypatch.setattr(layers, "he_normal", lambda shape, *_: np.zeros(shape, np.float32))
    model = models.alexnet(variant, 1000, dropout=0.5).to("cuda")
    step = TrainStep(model, optim.RMSprop(model.parameters(), momentum=0.9))
    size = models.VARIANTS[variant].image_size
    images = gpu.cupy.zeros((2, 3, size, size), np.float32)
    targets = gpu.cupy.zeros(2, np.int64)
    gpu.computes = False
    step(Batch(images, targets, np.arange(2)))
    assert step.uncaptured == ""
    [graph] = gpu.graphs
    assert graph.launches == 1
    assert len(gpu.launched) > 40
    assert {"rmsprop", "tally", "advance", "dropout", "cross_entropy_backward"} <= set(gpu.launched)


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"conv2d": "plain"}, r"^conv2d cannot be captured \(cuBLAS's matmul"),
        ({"dropout": "plain"}, r"^dropout cannot be captured \(a number for the host"),
        ({"rmsprop": "plain"}, r"^rmsprop runs as array operations"),
    ],
)
def test_what_cannot_be_captured_is_named_and_runs_as_it_is(choice, named, gpu, monkeypatch):
    told = []
    with using(**choice):
        step = made(device="cuda", tell=told.append)
        for batch in batches("cuda"):
            step(batch)
    assert sum(graph.launches for graph in gpu.graphs) == 0
    assert re.search(named, step.uncaptured)
    assert told == [
        f"steps are not captured as a CUDA graph: {step.uncaptured}; "
        "their launches run one by one, which is slower for small batches"
    ]
    # to have tried it leaves nothing behind
    monkeypatch.setattr(replay, "WARM_UP_STEPS", 99)
    with using(**choice):
        never_tried = made(device="cuda")
        for batch in batches("cuda"):
            never_tried(batch)
    assert never_tried.uncaptured == ""
    assert_equal_bits(kept(step), kept(never_tried))


def test_a_setting_that_changes_is_captured_anew(gpu):
    step = made(device="cuda", schedule=None)
    batch = batches("cuda")[0]
    for _ in range(replay.WARM_UP_STEPS + 1):
        step(batch)
    step.optimizer.param_groups[0]["lr"] /= 2
    step(batch)
    assert [graph.launches for graph in gpu.graphs] == [2]
    step.optimizer.param_groups[0]["momentum"] = 0.25
    step(batch)
    step.model.eval()
    step(batch)
    assert [graph.launches for graph in gpu.graphs] == [2, 1, 1]
    with cuda.emulated():
        on_cpu = made(schedule=None)
        batch = batches()[0]
        for _ in range(replay.WARM_UP_STEPS + 1):
            on_cpu(batch)
        on_cpu.optimizer.param_groups[0]["lr"] /= 2
        on_cpu(batch)
        on_cpu.optimizer.param_groups[0]["momentum"] = 0.25
        on_cpu(batch)
        on_cpu.model.eval()
        on_cpu(batch)
    assert_equal_bits(kept(step), kept(on_cpu))


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ({}, "the network cannot be captured (the capture is void)"),
        # what went wrong first is named
        ({"linear": "plain"}, "linear cannot be captured (cuBLAS's matmul"),
    ],
)
def test_a_capture_that_is_void_is_told(choice, why, gpu, monkeypatch):
    end = Stream.end_capture

    def void(stream):
        end(stream)
        raise RuntimeError("the capture is void\nand more of it")

    monkeypatch.setattr(Stream, "end_capture", void)
    with using(**choice):
        step, batch = tiny(optim.SGD, "cuda", lr=0.1), tiny_batch("cuda")
        for _ in range(replay.WARM_UP_STEPS + 2):
            step(batch)
    assert step.uncaptured.startswith(why)
    assert "more" not in step.uncaptured
    assert step.optimizer.steps == replay.WARM_UP_STEPS + 2


@pytest.mark.parametrize("where", ["module", "parameter"])
def test_steps_with_a_hook_run_as_they_are(where, gpu):
    step, batch, seen = tiny(optim.SGD, "cuda", lr=0.1), tiny_batch("cuda"), []
    layer = step.model[1]
    for _ in range(replay.WARM_UP_STEPS + 1):
        step(batch)
    if where == "module":
        handle = layer.register_full_backward_hook(lambda *_: seen.append(1))
    else:
        handle = layer.weight.register_hook(lambda g: seen.append(1))
    with handle:
        step(batch)
    assert len(seen) == 1
    step(batch)
    assert len(seen) == 1
    assert [graph.launches for graph in gpu.graphs] == [2]
    with cuda.emulated():
        on_cpu = tiny(optim.SGD, lr=0.1)
        for _ in range(replay.WARM_UP_STEPS + 3):
            on_cpu(tiny_batch())
    assert_equal_bits(kept(step), kept(on_cpu))


def uneven_steps(device, take):
    """Take two steps of Adam with a frozen bias, and four without; returns the step."""
    step = tiny(optim.Adam, device, lr=0.1)
    for i in range(6):
        step.optimizer.params[1].requires_grad = i >= 2
        take(step, tiny_batch(device))
    return step


def taken_by_hand(step, batch):
    step.optimizer.zero_grad()
    logits = step.model(Tensor(batch.images))
    loss = ops.cross_entropy(logits, batch.targets)
    step.state.totals += float(loss.data) * 4, (logits.data.argmax(1) == batch.targets).sum()
    loss.backward()
    step.optimizer.step()


def test_parameters_that_took_fewer_steps_of_adam_are_not_captured(gpu):
    step = uneven_steps("cuda", TrainStep.__call__)
    assert step.uncaptured == "1.bias took 1 of 3 steps, which adam corrects for one by one"
    with cuda.emulated():
        by_hand = uneven_steps("cpu", taken_by_hand)
    assert_equal_bits(kept(step), kept(by_hand))
    assert step.optimizer.param_steps == [6, 4]
