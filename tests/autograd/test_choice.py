"""Which implementation runs, and the record of what ran."""

import numpy as np
import pytest

from minialex import Tensor, cuda, ops, record_calls, using
from minialex.arrays import CPU
from minialex.autograd import OPS, Cost, Implementation, Op
from tests.autograd.leaves import close, number

# Implementations --------------------------------------------------------------------------------


def two_ways(make_op, name="two_ways"):
    """Return an op whose implementations say which of them ran."""
    other = Implementation(lambda x: (x + 10, ()), lambda gy, saved: (gy * 10,))
    return make_op(name, lambda x: (x + 1, ()), lambda gy, saved: (gy,), other=other)


def ran(op):
    return float(op(np.zeros(())).item())


def test_array_runs_where_nothing_else_is_chosen(make_op):
    assert ran(two_ways(make_op)) == 1


def test_using_chooses_for_one_op(make_op):
    op, neighbour = two_ways(make_op), two_ways(make_op, "neighbour")
    with using(two_ways="other"):
        assert (ran(op), ran(neighbour)) == (10, 1)
    assert ran(op) == 1


def test_using_chooses_for_all_ops_that_have_it(make_op):
    op = two_ways(make_op)
    with using("other"):
        assert ran(op) == 10
        assert (Tensor(np.ones(1)) + 1).item() == 2


def test_kernels_run_where_an_emulator_is_on(make_op):
    kernel = Implementation(lambda x: (x + 10, ()), lambda gy, saved: (gy,), why_not=cuda.why_not)
    op = make_op("own", lambda x: (x + 1, ()), lambda gy, saved: (gy,), kernel=kernel)
    with cuda.emulated():
        assert ran(op) == 10
        with using("array"):
            assert ran(op) == 1
        with using(own="array"):
            assert ran(op) == 1
    assert ran(op) == 1
    assert "emulator" in kernel.why_not(CPU)


def test_using_nests(make_op):
    op, neighbour = two_ways(make_op), two_ways(make_op, "neighbour")
    with using("other"), using(two_ways="array"):
        assert (ran(op), ran(neighbour)) == (1, 10)
    with using(two_ways="other"), using("array"):
        assert ran(op) == 1


def test_using_ends_when_an_error_leaves_it(make_op):
    op = two_ways(make_op)
    with pytest.raises(ZeroDivisionError), using("other"):
        raise ZeroDivisionError
    assert ran(op) == 1


def test_backward_runs_the_implementation_that_forward_ran(make_op):
    op, x = two_ways(make_op), number(0.0)
    with using("other"):
        y = op(x)
    y.backward()
    close(x.grad, 10)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"nonsense": "array"}, "no op named 'nonsense'.*conv2d"),
        ({"conv2d": "nonsense"}, "no implementation of conv2d named 'nonsense'.*array"),
    ],
)
def test_using_refuses_what_is_not_there(choice, words):
    with pytest.raises(ValueError, match=words), using(**choice):
        pass


def test_using_refuses_an_implementation_that_no_op_has():
    with (
        pytest.raises(ValueError, match=r"no implementation named 'nonsense'.*array"),
        using("nonsense"),
    ):
        pass


def test_an_op_without_array_is_refused():
    implementation = Implementation(lambda x: (x, ()), lambda gy, saved: (gy,))
    with pytest.raises(ValueError, match="'odd' has no implementation named 'array'"):
        Op("odd", {"tiled": implementation}, lambda shapes: Cost(0, 0))
    assert "odd" not in OPS


# Recording calls --------------------------------------------------------------------------------


def test_record_calls_lists_ops_in_order():
    x, w = Tensor(np.ones((2, 3))), Tensor(np.ones((4, 3)))
    with record_calls() as calls:
        ops.linear(x, w).relu()
    assert [c.op.name for c in calls] == ["linear", "relu"]
    assert calls[0].shapes == ((2, 3), (4, 3), None)
    assert calls[0].y.shape == (2, 4)
    assert calls[0].cost().flops == 2 * 2 * 3 * 4


def test_record_calls_ends_with_its_block_and_nests():
    x = Tensor(np.ones(2))
    with record_calls() as outer:
        x.exp()
        with record_calls() as inner:
            x.tanh()
    x.sqrt()
    assert [c.op.name for c in outer] == ["exp", "tanh"]
    assert [c.op.name for c in inner] == ["tanh"]


def test_costs_add_up():
    assert Cost(1, 2) + Cost(10, 20) == Cost(11, 22)
