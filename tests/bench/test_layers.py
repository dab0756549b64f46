from math import prod

import numpy as np
import pytest

from minialex import models
from minialex.autograd import Tensor, no_grad, record_calls
from minialex.bench.layer_cases import layer_cases
from minialex.bench.layers import DATA, FORWARD, WEIGHT, draw, layer_work, layers, network_work

MINI = "alexnet-mini"


def layer(network, label):
    return next(one for one in layers(network) if one.label == f"{network} {label}")


def test_every_convolution_and_fully_connected_layer_is_found():
    found = [one.label for one in layers("alexnet-2012") if one.op.name in ("conv2d", "linear")]
    convolutions = [f"alexnet-2012 conv2d {i}" for i in range(1, 6)]
    assert found == convolutions + [f"alexnet-2012 linear {i}" for i in range(1, 4)]


def test_shapes_are_known_at_any_batch():
    conv2 = layer("alexnet", "conv2d 2")
    assert conv2.inputs_at(7) == ((7, 64, 27, 27), (192, 64, 5, 5), (192,))
    assert conv2.output_at(7) == (7, 192, 27, 27)
    assert conv2.parameters == (1, 2)
    loss = layer("alexnet", "cross_entropy 1")
    assert loss.inputs_at(7) == ((7, 1000), (7,), None)
    assert loss.output_at(7) == ()


@pytest.mark.parametrize("network", models.VARIANTS)
def test_shapes_at_a_batch_are_those_of_the_network_run_on_it(network):
    model, size = models.alexnet(network), models.VARIANTS[network].image_size
    with no_grad(), record_calls() as calls:
        model(Tensor(np.zeros((3, 3, size, size), np.float32)))
    ran = [(c.op.name, c.shapes, c.y.shape) for c in calls]
    for one in layers(network):
        if one.op.name != "cross_entropy":
            assert (one.op.name, one.inputs_at(3), one.output_at(3)) in ran


def test_layers_that_compute_nothing_are_left_out():
    assert {"reshape", "flatten"} & {one.op.name for one in layers("alexnet")} == set()


def test_inference_drops_nothing_and_has_no_loss():
    names = {one.op.name for one in layers("alexnet", training=False)}
    assert {"dropout", "cross_entropy"} & names == set()


def test_layers_that_do_the_same_work_are_one_case():
    cases = layer_cases(["alexnet", "alexnet-2012"], 4, {"linear"})
    assert len(cases) == 9
    assert cases[0].labels == ("alexnet linear 1", "alexnet-2012 linear 1")
    relu = layer_cases(["alexnet"], 4, {"relu"})
    twice = next(c for c in relu if "alexnet relu 4" in c.labels and c.what == FORWARD)
    assert (twice.labels, twice.per_step) == (("alexnet relu 4", "alexnet relu 5"), 2)


def test_no_step_needs_the_gradient_of_the_image():
    counts = {(c.labels[0], c.what): c.per_step for c in layer_cases([MINI], 2, {"conv2d"})}
    assert counts[f"{MINI} conv2d 1", DATA] == 0
    assert counts[f"{MINI} conv2d 1", WEIGHT] == counts[f"{MINI} conv2d 2", DATA] == 1


def test_work_of_a_convolution():
    conv1, N = layer("alexnet", "conv2d 1"), 2
    x, w, y = N * 3 * 227 * 227, 64 * 3 * 11 * 11, N * 64 * 56 * 56
    macs = y * 3 * 11 * 11
    for what in (FORWARD, DATA, WEIGHT):
        flops, _ = layer_work(conv1, what, N)
        assert flops == 2 * macs + y
    assert layer_work(conv1, FORWARD, N)[1] == 4 * (x + w + 64 + y)
    assert layer_work(conv1, DATA, N)[1] == 4 * (y + w + x)
    assert layer_work(conv1, WEIGHT, N)[1] == 4 * (y + x + w + 64)


def test_work_of_a_layer_without_weights_counts_what_forward_saved():
    pool, N = layer("alexnet", "max_pool2d 1"), 5
    x, y = N * 64 * 56 * 56, N * 64 * 27 * 27
    # one byte per argmax within its window
    assert layer_work(pool, DATA, N)[1] == 4 * (y + x) + y


def test_the_work_of_a_step_adds_up_to_three_forward_passes_less_one_gradient():
    contractions = [one for one in layers("alexnet") if one.parameters]
    forward = sum(layer_work(one, FORWARD, 1)[0] for one in contractions)
    first = layer_work(contractions[0], DATA, 1)[0]
    others = sum(
        layer_work(one, what, 1)[0]
        for one in layers("alexnet")
        if not one.parameters
        for what in one.passes
    )
    assert sum(f for f, _ in network_work("alexnet", 1, True)) == 3 * forward - first + others
    assert forward == pytest.approx(2 * 0.714e9, rel=0.01)


def test_inputs_are_drawn_as_the_layer_takes_them():
    rng = np.random.default_rng(0)
    x, targets, w = draw(layer("alexnet", "cross_entropy 1"), 6, rng)
    assert (x.dtype, targets.dtype.kind, w) == (np.float32, "i", None)
    assert targets.min() >= 0
    assert targets.max() < 1000
    x, w, b = draw(layer(MINI, "conv2d 2"), 6, rng, np.float64)
    assert {a.dtype for a in (x, w, b)} == {np.dtype(np.float64)}
    # outputs about 1, so that nothing grows or vanishes
    assert w.std() * np.sqrt(prod(w.shape[1:])) == pytest.approx(1, rel=0.05)
