"""Tests left out by ``--one-in``: a share of those with parameters, by their names and a seed."""

from types import SimpleNamespace

import pytest

from tests.conftest import draw_tests

WITH, WITHOUT = 300, 20


def drawn(one_in, seed):
    """Return the names of the tests that are left, and of those that are not."""
    items = [SimpleNamespace(nodeid=f"test_many[{i}]", callspec=None) for i in range(WITH)]
    items += [SimpleNamespace(nodeid=f"test_{i}") for i in range(WITHOUT)]
    out = []
    options = {"one_in": one_in, "draw_seed": seed}
    hook = SimpleNamespace(pytest_deselected=lambda items: out.extend(items))
    draw_tests(SimpleNamespace(getoption=options.__getitem__, hook=hook), items)
    return {item.nodeid for item in items}, {item.nodeid for item in out}


@pytest.mark.parametrize("seed", ["", "a commit", "another"])
def test_a_third_is_left_and_what_has_no_parameters_stays(seed):
    left, out = drawn(3, seed)
    assert not left & out
    assert len(left | out) == WITH + WITHOUT
    assert {f"test_{i}" for i in range(WITHOUT)} <= left
    assert 80 <= len(left) - WITHOUT <= 120


def test_a_seed_draws_the_same_and_another_one_others():
    assert drawn(3, "a commit") == drawn(3, "a commit")
    assert drawn(3, "a commit")[0] != drawn(3, "another")[0]


def test_without_the_option_all_run():
    assert drawn(1, "") == (drawn(1, "a commit")[0], set())
    assert len(drawn(1, "")[0]) == WITH + WITHOUT
