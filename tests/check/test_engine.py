"""What autograd owes every op: it does, and it is noticed where it does not."""

import numpy as np
import pytest

from minialex.autograd import Tensor, deferred, graph, tensor
from minialex.check import Verdict, engine
from minialex.check.engine import CASES, Engine


def row_of(case, dtype="float64"):
    return engine.check(Engine(np.dtype(dtype)), case)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_engine_does_what_it_owes(case, dtype):
    row = row_of(case, dtype)
    assert row.verdict is Verdict.PASS, str(row)
    assert row.compared > 0


def test_names_of_cases_are_unique():
    assert len({case.name for case in CASES}) == len(CASES)


def failing():
    """Return the names of the cases that fail; one in which the engine raises does."""
    names = set()
    for case in CASES:
        try:
            wrong = row_of(case).verdict is Verdict.FAIL
        except Exception:
            wrong = True
        names |= {case.name} if wrong else set()
    return names


def overwriting(leaf, g):
    leaf.grad = g


def adding_in_place(node, grads):
    """Do as `graph._run_node` does, but add to an array that another node may hold."""
    gy = grads.pop(node)
    for edge, gx in zip(node.edges, node.vjp(gy, grads), strict=True):
        if edge is None or gx is None:
            continue
        if not isinstance(edge, graph.Node):
            graph.accumulate(edge, gx)
        elif edge in grads:
            grads[edge] += gx
        else:
            grads[edge] = gx


def keeping_the_last(node, grads):
    gy = grads.pop(node)
    for edge, gx in zip(node.edges, node.vjp(gy, grads), strict=True):
        if isinstance(edge, graph.Node):
            grads[edge] = gx
        elif edge is not None and gx is not None:
            graph.accumulate(edge, gx)


def offering_buffers_twice(node, i, waiting):
    edge = node.edges[i]
    return None if edge is None or isinstance(edge, graph.Node) else edge.grad_buffer


@pytest.mark.parametrize(
    ("module", "name", "fault", "noticed"),
    [
        (graph, "accumulate", overwriting, "a second backward adds"),
        (graph, "accumulate", overwriting, "a gradient in its buffer"),
        (graph, "_run_node", keeping_the_last, "branches of unequal length"),
        (graph, "_run_node", keeping_the_last, "graphs drawn at random"),
        (graph, "_run_node", adding_in_place, "a cotangent that two branches share"),
        (graph, "_run_node", adding_in_place, "hooks of a result"),
        (
            graph.Node,
            "_unused_buffer",
            offering_buffers_twice,
            "a backward that writes to the buffer itself",
        ),
        (graph, "after_hooks", lambda hooks, g: g, "hooks of a leaf"),
        (graph, "after_hooks", lambda hooks, g: g, "hooks before a buffer"),
        (
            deferred.DeferredGradient,
            "compute",
            lambda self, out: self.compute_rows(slice(1), out[:1]),
            "a deferred gradient",
        ),
        (Tensor, "backward", lambda self, *_, **__: None, "one leaf in two ops"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_noticed(monkeypatch, module, name, fault, noticed):
    monkeypatch.setattr(module, name, fault)
    if name == "accumulate":
        monkeypatch.setattr(tensor, name, fault)
    assert noticed in failing()


def test_what_differs_is_shown():
    found = engine._compare("gradient", np.array([1.0, 2.0]), [1, 3])
    assert found.verdict is Verdict.FAIL
    assert found.detail == ("got [1.0, 2.0], it must be [1, 3]",)
    assert engine._compare("gradient", None, [1]).detail == ("got none, it must be a gradient",)
    assert engine._compare("gradient", np.ones(1), None).verdict is Verdict.FAIL
    assert engine._compare("gradient", np.ones((1, 1)), [1]).verdict is Verdict.FAIL
