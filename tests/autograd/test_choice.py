"""Which implementation runs, and the record of what ran."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from minialex import Tensor, cuda, ops, record_calls, using
from minialex.arrays import CPU, Device
from minialex.autograd import (
    LATE_ROUTINES,
    OPS,
    ROUTINES,
    Cost,
    Implementation,
    Op,
    Routine,
    implementation_name,
    precision,
)
from minialex.autograd.choice import noted_choices
from minialex.cuda import where
from minialex.errors import MinialexError
from tests.autograd.leaves import close, number

# Implementations --------------------------------------------------------------------------------


def two_ways(make_op, name="two_ways"):
    """Return an op whose implementations say which of them ran."""
    other = Implementation(lambda x: (x + 10, ()), lambda gy, saved: (gy * 10,))
    return make_op(name, lambda x: (x + 1, ()), lambda gy, saved: (gy,), other=other)


def ran(op):
    return float(op(np.zeros(())).item())


def test_plain_runs_where_nothing_else_is_chosen(make_op):
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
        with using("plain"):
            assert ran(op) == 1
        with using(own="plain"):
            assert ran(op) == 1
    assert ran(op) == 1
    assert "emulator" in kernel.why_not(CPU)


def test_using_nests(make_op):
    op, neighbour = two_ways(make_op), two_ways(make_op, "neighbour")
    with using("other"), using(two_ways="plain"):
        assert (ran(op), ran(neighbour)) == (1, 10)
    with using(two_ways="other"), using("plain"):
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
        ({"nonsense": "plain"}, "unknown op 'nonsense'.*conv2d"),
        ({"conv2d": "nonsense"}, "unknown implementation of conv2d 'nonsense'.*plain"),
    ],
)
def test_using_refuses_what_is_not_there(choice, words):
    with pytest.raises(ValueError, match=words), using(**choice):
        pass


def test_using_refuses_an_implementation_that_no_op_has():
    with (
        pytest.raises(ValueError, match=r"unknown implementation 'nonsense'.*plain"),
        using("nonsense"),
    ):
        pass


def test_an_op_without_plain_is_refused():
    implementation = Implementation(lambda x: (x, ()), lambda gy, saved: (gy,))
    with pytest.raises(ValueError, match="'odd' has no implementation named 'plain'"):
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


# Precision --------------------------------------------------------------------------------------


def rungs(make_op):
    """Return an op with a rung for everything, and the name of the one that runs on a device."""
    op = two_ways(make_op)
    names = dict.fromkeys(("plain", "fused", "split", "rounded"), op.implementations["plain"])
    rounding = {"fp32": "split", "tf32": "rounded"}
    return replace(op, implementations=names, kernel="fused", tensor_cores=rounding)


@pytest.fixture
def capability(monkeypatch):
    """Return a function that says which GPU there is."""

    def set_to(sm):
        monkeypatch.setattr(where, "gpu_capability", lambda index: sm)
        return Device("cuda", 0)

    return set_to


def test_where_there_are_tensor_cores_fp32_is_computed_on_them(make_op, capability):
    op = rungs(make_op)
    for sm, name in (70, "fused"), (75, "fused"), (80, "split"), (90, "split"), (120, "split"):
        assert implementation_name(op, capability(sm)) == name
    # they know no doubles, and what has no floating-point type has no precision
    assert (
        implementation_name(op, capability(90), np.float64)
        == implementation_name(op, capability(90), None)
        == "fused"
    )


def test_the_emulator_is_faster_without_its_tensor_cores(make_op):
    op = rungs(make_op)
    with cuda.emulated():
        assert implementation_name(op, CPU) == "fused"
        with using(precision="tf32"):
            assert implementation_name(op, CPU) == "rounded"
    assert implementation_name(op, CPU) == "plain"


@pytest.mark.parametrize(("sm", "name"), [(75, "fused"), (80, "split"), (90, "split")])
def test_where_it_counts_the_emulator_takes_what_that_gpu_takes(make_op, sm, name):
    op = rungs(make_op)
    with cuda.emulated("counted", architecture=f"sm_{sm}"):
        assert implementation_name(op, CPU) == name
        assert implementation_name(op, CPU, np.float64) == "fused"
        with using(two_ways="rounded"):
            assert implementation_name(op, CPU) == "rounded"


def test_choices_are_noted_each_once_in_every_block_that_asks(make_op):
    op = two_ways(make_op)
    with noted_choices() as outer:
        implementation_name(op, CPU)
        with noted_choices() as inner, using(two_ways="other"):
            implementation_name(op, CPU)
            implementation_name(op, CPU)
    assert list(inner) == [("two_ways", "other")]
    assert list(outer) == [("two_ways", "plain"), ("two_ways", "other")]


def test_a_rung_that_is_named_wins_over_the_precision(make_op, capability):
    op, device = rungs(make_op), capability(90)
    assert precision() == "fp32"
    with using(precision="tf32"):
        assert (implementation_name(op, device), precision()) == ("rounded", "tf32")
        with using(two_ways="fused"):
            assert implementation_name(op, device) == "fused"
        with using("split"):
            assert (implementation_name(op, device), precision()) == ("split", "tf32")
        with using(precision="fp32"):
            assert implementation_name(op, device) == "split"


@pytest.mark.parametrize(
    ("sm", "what"), [(None, "cpu has none"), (75, r"cuda:0 is sm_75")], ids=["cpu", "sm_75"]
)
def test_tf32_is_refused_where_there_are_no_tensor_cores(make_op, capability, sm, what):
    device = CPU if sm is None else capability(sm)
    op = rungs(make_op)
    words = f"precision tf32 needs tensor cores of sm_80 or later, and {what}: use .*precision fp32"
    with using(precision="tf32"):
        with pytest.raises(MinialexError, match=words):
            implementation_name(op, device)
        # what multiplies nothing has one precision
        assert implementation_name(two_ways(make_op, "other"), device) in ("plain", "other")
        with using(two_ways="fused"):
            assert implementation_name(op, device) == "fused"


def test_the_emulated_gpu_may_be_one_without_tensor_cores():
    x, w = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with (
        cuda.emulated(architecture="sm_75"),
        using(precision="tf32"),
        pytest.raises(MinialexError, match=r"and the emulated GPU is sm_75: use .*precision fp32"),
    ):
        ops.linear(x, w)


def test_a_precision_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match=r"unknown precision 'fp8'; known: fp32, tf32, bf16"):
        using(precision="fp8").__enter__()


def test_no_op_may_be_called_precision():
    with pytest.raises(ValueError, match="cannot be named 'precision'"):
        Routine("precision", {"plain": None})


def test_every_routine_that_is_imported_late_is_known_before():
    importlib.import_module("minialex.train.step_state")
    rooms = {name: routine._defined_in() for name, routine in ROUTINES.items()}
    late = {n for n, room in rooms.items() if room.startswith(("minialex.data", "minialex.train"))}
    assert late == LATE_ROUTINES.keys()
    for name in late:
        with using(**{name: "plain"}):
            assert implementation_name(ROUTINES[name], CPU) == "plain"
