"""What a forward and a backward may name among their keywords, refused when an op is registered."""

import numpy as np
import pytest

from minialex import Tensor
from minialex.autograd import OPS, ROUTINES, Cost, Implementation, Op


def forward(x, *, scale=2.0):
    return x * scale, ()


def backward(gy, saved, *, scale):
    return (gy * scale,)


def misspelt(gy, saved, *, scale, need=(), output=()):
    return (gy * scale,)


def by_position(gy, saved, scale, need=()):
    return (gy * scale,)


def with_others(gy, saved, *, need=(), **params):
    return (gy * params["scale"],)


@pytest.mark.parametrize("wrong", [misspelt, by_position, with_others])
def test_a_misspelt_request_of_a_backward_is_refused(make_op, wrong):
    words = (
        "op 'double': backward of 'plain' has a keyword 'need', which is never passed; "
        "known: may_defer, needs, out, scale"
    )
    with pytest.raises(ValueError, match=f"^{words}$"):
        make_op("double", forward, wrong)
    assert "double" not in OPS
    assert "double" not in ROUTINES


def test_a_keyword_of_an_input_is_refused(make_op):
    with pytest.raises(ValueError, match="backward of 'plain' has a keyword 'x'"):
        make_op("double", forward, lambda gy, saved, *, scale, x=None: (gy,))


def test_another_implementation_is_looked_at_too(make_op):
    tiled = Implementation(lambda x, *, scale, kept=True: (x, ()), backward)
    words = (
        "forward of 'tiled' has a keyword 'kept', which is never passed; known: keep, scale, shadow"
    )
    with pytest.raises(ValueError, match=f"^op 'double': {words}$"):
        make_op("double", forward, backward, tiled=tiled)


def test_a_misspelt_request_of_the_plain_forward_is_refused(make_op):
    words = "backward of 'plain' does not take the parameter 'kep' of the op"
    with pytest.raises(ValueError, match=f"^op 'double': {words}"):
        make_op("double", lambda x, *, kep=True: (x, ()), lambda gy, saved: (gy,))


def test_a_misspelt_request_of_the_plain_forward_is_no_parameter_where_cost_names_those():
    words = (
        "forward of 'plain' has a keyword 'kep', which is never passed; known: keep, scale, shadow"
    )

    def asks(x, *, scale, kep=True):
        return x * scale, ()

    with pytest.raises(ValueError, match=f"^op 'double': {words}$"):
        Op("double", {"plain": Implementation(asks, backward)}, lambda s, *, scale: Cost(1, 4))


def test_what_takes_all_parameters_by_another_name_is_taken(make_op):
    tiled = Implementation(lambda x, **params: (x, ()), lambda gy, saved, *, needs, **params: (gy,))
    op = make_op("double", forward, backward, tiled=tiled)
    assert op.implementations["tiled"].takes == {"needs"}


def test_requests_are_passed(make_op):
    told = {}

    def forward(x, *, keep):
        told["keep"] = keep
        return x * 1, ()

    def backward(gy, saved, *, needs, out, may_defer):
        told.update(needs=needs, out=out, may_defer=may_defer)
        return (gy,)

    op, x = make_op("told", forward, backward), Tensor(np.ones(2))
    op(x)
    assert told == {"keep": False}
    x.requires_grad = True
    op(x).backward(np.ones(2))
    assert told == {"keep": True, "needs": (True,), "out": (None,), "may_defer": (False,)}
