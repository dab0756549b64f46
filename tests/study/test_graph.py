"""Recorded graphs: nodes, edges and bytes, counted again by other means."""

import gc
import json
import tracemalloc

import numpy as np
import pytest

from minialex import nn, ops, using
from minialex.autograd import OPS, Tensor, no_grad, record_calls
from minialex.autograd.graph import ancestry
from minialex.models import alexnet
from minialex.nn.init import blank_weights
from minialex.ops.conv2d import blocked, winograd
from minialex.optim import SGD
from minialex.study.graph import EXTRA, INPUT, KINDS, OUTPUT, PARAMETER
from minialex.study.graph_recording import covered, record_graph

IMAGES = np.zeros((2, 3, 64, 64), np.float32)
TARGETS = np.zeros(2, np.int64)


def mini():
    with blank_weights():
        return alexnet("alexnet-mini", 10)


@pytest.fixture(scope="module")
def graph():
    return record_graph(mini(), IMAGES, TARGETS)


def saved_by_autograd(model):
    """Return every array that the nodes of a training step hold, as autograd has them."""
    loss = ops.cross_entropy(model(Tensor(IMAGES)), TARGETS)
    nodes = ancestry([loss.node])
    return loss, [(n, [a for a in n.saved if isinstance(a, np.ndarray)]) for n in nodes]


def test_ops_are_the_nodes_and_what_they_keep_is_what_they_saved(graph):
    _, nodes = saved_by_autograd(mini())
    assert [op.op for op in graph.ops] == [node.name for node, _ in nodes]
    assert [op.shape for op in graph.ops] == [node.shape for node, _ in nodes]
    for op, (_, saved) in zip(graph.ops, nodes, strict=True):
        assert [(a.shape, a.dtype) for a in op.kept] == [(a.shape, str(a.dtype)) for a in saved]
        assert [a.bytes for a in op.kept] == [a.nbytes for a in saved]


def test_every_byte_counts_once(graph):
    _, nodes = saved_by_autograd(mini())
    addresses = {(a.__array_interface__["data"][0], a.nbytes) for _, saved in nodes for a in saved}
    # no two arrays of this network overlap in part
    assert graph.kept_bytes == sum(size for _, size in addresses)
    assert sum(graph.kept_by_kind().values()) == graph.kept_bytes
    assert graph.kept_by_kind()[INPUT] == IMAGES.nbytes + TARGETS.nbytes
    weights = [p for name, p in mini().named_parameters() if name.endswith("weight")]
    assert graph.kept_by_kind()[PARAMETER] == sum(p.data.nbytes for p in weights)


class Reuse(nn.Module):
    """x is kept by several ops, as itself and as a view."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(np.ones((256, 1), np.float32))

    def forward(self, x):
        y = x * self.w
        return (y * y).sum() + (y.reshape(16, -1) * y.reshape(16, -1)).sum()


def test_an_array_that_several_nodes_keep_is_counted_by_the_oldest():
    graph = record_graph(Reuse(), np.ones((256, 64), np.float32))
    kept = [(op.title, a.what, a.counted) for op in graph.ops for a in op.kept]
    n = 256 * 64 * 4
    assert kept == [
        ("multiply", "input", n),
        ("multiply", "w", 1024),
        ("multiply, run 2", "output of multiply", n),
        ("multiply, run 2", "output of multiply", 0),
        ("multiply, run 3", "output of multiply", 0),
        ("multiply, run 3", "output of multiply", 0),
    ]
    assert graph.kept_bytes == 2 * n + 1024


def test_what_a_graph_counts_is_what_is_freed_with_it():
    model, x = Reuse(), Tensor(np.ones((256, 64), np.float32))
    expected = record_graph(model, x).kept_by_kind()
    tracemalloc.start()
    y = model(x)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    y.backward()
    model.w.grad = None
    gc.collect()
    freed = before - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # input and weights stay; nodes themselves take some kilobytes
    assert expected[OUTPUT] + expected[EXTRA] == 256 * 64 * 4
    assert freed == pytest.approx(256 * 64 * 4, abs=8192)


def test_a_view_keeps_the_whole_of_what_it_is_a_view_of():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(np.ones(4, np.float32))

        def forward(self, x):
            y = x * self.w
            return (y[:, :2] * y[:, :2]).sum()

    graph = record_graph(Part(), np.ones((8, 4), np.float32))
    (first, second) = graph.ops[3].kept
    assert (first.shape, first.bytes, first.counted) == ((8, 2), 8 * 4 * 4, 8 * 4 * 4)
    assert second.counted == 0


def test_parameters_in_an_optimizers_arena_count_alone():
    model = mini()
    before = record_graph(model, IMAGES, TARGETS)
    SGD(list(model.named_parameters()), 0.1)
    assert record_graph(model, IMAGES, TARGETS).kept_by_kind() == before.kept_by_kind()


def test_edges_lead_to_where_each_input_came_from(graph):
    assert {(e.op, e.source) for e in graph.edges if not e.from_leaf} == {
        (i, i - 1) for i in range(1, len(graph.ops))
    }
    leaves = {
        (graph.ops[e.op].title, e.position): graph.leaves[e.source]
        for e in graph.edges
        if e.from_leaf
    }
    assert leaves["features.3 conv2d", 1].name == "features.3.weight"
    assert leaves["classifier.6 linear", 2].name == "classifier.6.bias"
    image, targets = leaves["features.0 conv2d", 0], leaves["cross_entropy", 1]
    assert (image.name, image.requires_grad) == ("input", False)
    assert (targets.name, targets.requires_grad) == ("targets", False)
    assert graph.parameters == 463_562
    assert len(graph.leaves) == 2 + len(list(mini().parameters()))


def test_reuse_leaves_two_edges_from_one_source():
    graph = record_graph(Reuse(), np.ones((256, 64), np.float32))
    square = next(i for i, op in enumerate(graph.ops) if op.title == "multiply, run 2")
    edges = [e for e in graph.edges if e.op == square]
    assert [(e.position, e.source, e.from_leaf) for e in edges] == [(0, 0, False), (1, 0, False)]


def test_a_frozen_parameter_gets_no_gradient_and_saves_the_backward_half():
    model = mini()
    model.features[3].weight.requires_grad = False
    graph = record_graph(model, IMAGES, TARGETS)
    (frozen,) = [leaf for leaf in graph.leaves if leaf.name == "features.3.weight"]
    assert (frozen.parameter, frozen.requires_grad) == (True, False)
    assert graph.parameters == 463_562 - 64 * 32 * 25
    op = next(op for op in graph.ops if op.title == "features.3 conv2d")
    assert op.backward_flops == op.flops


def test_operations_are_those_of_the_ops(graph):
    with no_grad(), record_calls() as calls:
        ops.cross_entropy(mini()(Tensor(IMAGES)), TARGETS)
    assert [op.flops for op in graph.ops] == [call.cost().flops for call in calls]
    for op in graph.ops:
        if op.op == "linear":
            assert op.backward_flops == 2 * op.flops
    # of the image no gradient is wanted
    assert graph.ops[0].backward_flops == graph.ops[0].flops


def test_the_implementation_is_the_one_that_ran(graph):
    assert {op.implementation for op in graph.ops if op.op == "conv2d"} == {"auto: blocked"}
    with using("plain"):
        plain = record_graph(mini(), IMAGES, TARGETS)
    assert {op.implementation for op in plain.ops} == {"plain"}
    # plain keeps y where blocked keeps a bit per element
    relu, mask = (
        next(op for op in one.ops if op.title == "features.1 relu") for one in (plain, graph)
    )
    assert relu.kept[0].what == "output of features.1 relu"
    assert relu.counted == 32 * mask.counted == 2 * 32 * 32 * 32 * 4


@pytest.mark.parametrize(("saves", "chosen"), [(True, "winograd"), (False, "blocked")])
def test_of_auto_it_says_what_that_chose(monkeypatch, saves, chosen):
    monkeypatch.setattr(winograd, "saves_a_third", lambda _: saves)
    ran = []
    for one in winograd, blocked:
        forward = one.forward
        name = one.__name__.rpartition(".")[2]
        implementation = OPS["conv2d"].implementations[name]
        spied = lambda *xs, f=forward, n=name, **kw: (ran.append(n), f(*xs, **kw))[1]  # noqa: E731
        monkeypatch.setitem(vars(implementation), "forward", spied)
    graph = record_graph(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1)), np.zeros((1, 4, 9, 9), "f4"))
    assert graph.ops[0].implementation == f"auto: {chosen}"
    assert ran == [chosen]


def test_a_record_is_plain_json(graph):
    record = json.loads(json.dumps(graph.record()))
    assert record["kept_bytes"] == sum(op["counted"] for op in record["ops"])
    assert record["ops"][3]["kept"][1]["what"] == "features.3.weight"
    assert record["edges"][0] == {"op": 0, "position": 0, "source": 0, "from_leaf": True}
    assert {a["kind"] for op in record["ops"] for a in op["kept"]} == set(KINDS)


def test_a_module_with_backward_hooks_has_their_nodes():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    model[1].register_full_backward_hook(lambda *_: None)
    graph = record_graph(model, np.ones((1, 3), np.float32))
    assert [op.op for op in graph.ops].count("hook") == 2
    assert {op.implementation for op in graph.ops if op.op == "hook"} == {""}


def test_no_graph_is_said_to_be_none():
    with no_grad(), pytest.raises(ValueError, match="no graph was recorded"):
        record_graph(mini(), IMAGES)


def test_overlapping_extents_count_once():
    assert covered([(0, 4), (2, 6), (10, 12), (10, 12), (11, 11)]) == 8
    assert covered([]) == 0
