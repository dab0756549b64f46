"""The training step: the loop's bits, and what a GPU would capture of it and repeat."""

import re

import numpy as np
import pytest

from minialex import Tensor, arrays, cuda, models, ops, optim, using
from minialex.data import Batch, DataLoader, Digits, Subset, eval_transform
from minialex.nn import Dropout, Flatten, Linear, Sequential, layers
from minialex.optim import make_schedule
from minialex.philox import Generator
from minialex.train import replay
from minialex.train.step import TrainStep
from minialex.train.step_state import TABLE_STEPS, StepState
from tests.capture_double import Gpu, Stream

SIZE, CLASSES, IMAGES, BATCH = 32, 10, 22, 4
"""Six batches, the last of them smaller."""

OPTIMIZERS = {
    "rmsprop": lambda params: optim.RMSprop(params, 1e-3, momentum=0.5, weight_decay=1e-3),
    "sgd": lambda params: optim.SGD(params, 1e-2, momentum=0.5),
    "adam": lambda params: optim.Adam(params, 1e-3),
    "groups": lambda params: optim.Adam(layerwise(list(params)), 1e-3),
}


def layerwise(params):
    """Return two groups, so that a part of the network learns at a tenth."""
    return [{"params": params[:4], "lr": 1e-4}, {"params": params[4:], "betas": (0.8, 0.99)}]


@pytest.fixture
def gpu(monkeypatch):
    """The double of a GPU, on the rungs that the emulator runs fast."""
    with using(conv2d="implicit_gemm", linear="register_blocked"):
        yield Gpu.installed(monkeypatch)


schedule = make_schedule("cosine", total=6, warmup=2)


def made(optimizer="rmsprop", device="cpu", **options):
    model = models.alexnet("alexnet-mini", CLASSES, seed=1, dropout=0.5).to(device)
    options = {"schedule": schedule, "label_smoothing": 0.1} | options
    return TrainStep(model, OPTIMIZERS[optimizer](model.parameters()), **options)


def batches(device="cpu"):
    digits = Subset(Digits(), np.arange(IMAGES))
    loader = DataLoader(
        digits, BATCH, eval_transform(SIZE), device=arrays.device(device), workers=0
    )
    return list(loader.epoch(0))


def kept(step):
    """Return every number that a step changes."""
    arena = step.optimizer.arena
    flat = [arena.data, *arena.state.values(), step.state.totals]
    rates = [group["lr"] for group in step.optimizer.param_groups]
    return [arrays.to_numpy(a).copy() for a in flat], rates, step.optimizer.param_steps[:]


def assert_equal_bits(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1:] == other[1:]


def by_hand(optimizer):
    """Return what a loop written by hand leaves."""
    step = made(optimizer)
    model, update, generator = step.model, step.optimizer, step.model.generator
    loss_sum = right = 0
    for batch in batches():
        update.zero_grad()
        logits = model(Tensor(batch.images))
        loss = ops.cross_entropy(logits, batch.targets, label_smoothing=0.1)
        loss_sum += float(loss.data) * len(batch)
        right += int((logits.data.argmax(axis=1) == batch.targets).sum())
        loss.backward()
        update.scale_lr(schedule(update.steps))
        update.step()
    step.state.totals[...] = loss_sum, right
    return kept(step), generator.offset


@pytest.mark.parametrize(
    ("optimizer", "emulated"), [*((name, False) for name in OPTIMIZERS), ("groups", True)]
)
def test_it_has_the_bits_of_a_loop_by_hand(optimizer, emulated, request):
    if emulated:
        request.getfixturevalue("emulator")
    want, drawn = by_hand(optimizer)
    step = made(optimizer)
    for batch in batches():
        step(batch)
    assert_equal_bits(kept(step), want)
    assert step.model.generator.offset == drawn
    assert step.state.on_host() == (False, 6, drawn)
    assert step.uncaptured == "there is no GPU"


@pytest.fixture
def emulator():
    with cuda.emulated():
        yield


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


def tiny(kind, device="cpu", clip=0.0, **settings):
    """Return a step of one linear layer."""
    model = Sequential(Flatten(), Linear(12, 3, generator=Generator(1))).to(device)
    return TrainStep(model, kind(model.named_parameters(), **settings), clip=clip)


def tiny_batch(device="cpu"):
    images = np.random.default_rng(1).standard_normal((4, 3, 2, 2), np.float32)
    where = arrays.device(device)
    given = (arrays.to_device(a, where) for a in (images, np.arange(4) % 3))
    return Batch(*given, np.arange(4))


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


@pytest.mark.parametrize("key", ["lr", "initial_lr"])
def test_a_kernel_takes_a_rate_that_was_assigned(key, emulator):
    step = tiny(optim.SGD, lr=1.0)
    step.schedule = None if key == "lr" else make_schedule("constant", total=9)
    step(tiny_batch())
    before = step.optimizer.arena.data.copy()
    step.optimizer.param_groups[0][key] = 0.0
    step(tiny_batch())
    np.testing.assert_array_equal(step.optimizer.arena.data, before)


def test_a_clipped_step_is_a_shorter_one():
    """Of SGD without momentum the change is the gradient, whose norm was brought to the bound."""
    changes = {}
    for clip in 0.0, 1e-3, 1e6:
        step = tiny(optim.SGD, clip=clip, lr=1.0)
        before = step.optimizer.arena.data.copy()
        step(tiny_batch())
        changes[clip] = step.optimizer.arena.data - before
    np.testing.assert_array_equal(changes[1e6], changes[0.0])
    norm = np.linalg.norm(changes[0.0].astype(np.float64))
    assert norm > 0.1
    # what is added to the weights is rounded
    np.testing.assert_allclose(changes[1e-3], changes[0.0] * 1e-3 / norm, atol=1e-7)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_from_the_first_loss_that_is_not_finite_nothing_changes(device, request):
    if device == "cuda":
        request.getfixturevalue("gpu")
    step, given = made(device=device), batches(device)
    for batch in given[: replay.WARM_UP_STEPS + 1]:
        step(batch)
    assert not step.failed()
    before, drawn = kept(step), step.model.generator.offset
    images = arrays.to_numpy(given[0].images).copy()
    images[1, 2, 3, 4] = np.inf
    spoilt = Batch(arrays.to_device(images, step.device), given[0].targets, given[0].indices)
    for batch in spoilt, given[1], given[-1]:
        step(batch)
    assert step.failed()
    after = kept(step)
    assert_equal_bits((after[0][:-1], *after[1:]), (before[0][:-1], *before[1:]))
    assert step.model.generator.offset == drawn
    # until the caller goes on
    step.state.failed[...] = 0
    step.state.totals[...] = 0
    step(given[1])
    assert not step.failed()
    assert step.optimizer.steps == replay.WARM_UP_STEPS + 2
    assert not np.array_equal(kept(step)[0][0], before[0][0])


def test_the_table_of_rates_is_filled_a_thousand_steps_at_a_time():
    asked = []

    def rates(step):
        asked.append(step)
        return [(float(step), 1.0), (-float(step), 2.0)]

    state = StepState(arrays.CPU, 2)
    state.start(5, 7, rates)
    for step in range(5, TABLE_STEPS + 50):
        state.fill_table(step, rates)
        assert state.rates.tolist() == [[step, 1.0], [-step, 2.0]]
        state.advance(2)
    assert state.on_host() == (False, TABLE_STEPS + 50, 7 + 2 * (TABLE_STEPS + 45))
    assert len(asked) == 1 + 2 * TABLE_STEPS


def test_what_is_too_large_to_be_counted_is_refused():
    with pytest.raises(ValueError, match=r"counts up to 2\*\*53, but begins with 0 steps and"):
        StepState(arrays.CPU).start(0, 2**53, lambda step: [(0.0, 1.0)])


def test_a_rate_assigned_after_a_loss_that_is_not_finite_hides_nothing():
    step, given = made(schedule=None), batches()
    step(given[0])
    images = given[1].images.copy()
    images[0, 0, 0, 0] = np.nan
    step(Batch(images, given[1].targets, given[1].indices))
    step.optimizer.param_groups[0]["lr"] /= 2
    step(given[2])
    assert step.failed()
    assert step.optimizer.steps == 1


def test_an_optimizer_over_other_parameters_is_refused():
    other = models.alexnet("alexnet-mini", CLASSES)
    with pytest.raises(
        ValueError, match=r"none of the model's: make it over model\.parameters\(\)"
    ):
        TrainStep(made().model, optim.SGD(other.parameters()))


def test_several_random_generators_are_refused():
    model = models.alexnet("alexnet-mini", CLASSES)
    model.more = Dropout(0.5, Generator(3))
    with pytest.raises(ValueError, match="draw from 2 random generators, but one is counted"):
        TrainStep(model, optim.SGD(model.parameters()))
