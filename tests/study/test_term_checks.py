"""What terms are held to can fail: each check is shown something wrong."""

import dataclasses

import pytest

from minialex.check import CASES
from minialex.cuda.source import edited
from minialex.terms import TERMS
from tests.campaigns import explained_faults, writing_threads
from tests.cuda.zoo import Fault
from tests.study import term_checks
from tests.study.term_checks import (
    CaseOfTerms,
    faults_of_gradients,
    faults_of_numbers,
    faults_of_pokes,
)


@pytest.fixture
def linear():
    return CaseOfTerms.of("linear", next(c for c in CASES["linear"] if c.name == "31 to 33"))


@pytest.fixture
def short(monkeypatch):
    """Leave out the last term of the gradient of a linear layer's input."""
    right = TERMS["linear"]["gx"]

    def without_the_last(a, index, **params):
        formula = right(a, index, **params)
        return dataclasses.replace(formula, terms=formula.terms[:-1])

    monkeypatch.setitem(TERMS["linear"], "gx", without_the_last)


def test_nothing_is_wrong_with_what_is_right(linear):
    for check in faults_of_numbers, faults_of_gradients, faults_of_pokes:
        assert list(check(linear, 4)) == []


def test_a_term_that_is_left_out(linear, short):
    numbers = list(faults_of_numbers(linear, 2))
    implementations = {fault.split(": ")[0].split(", ")[-1] for fault in numbers}
    assert {"plain", "naive", "tiled", "register_blocked"} <= implementations
    assert all(": gx[" in fault for fault in numbers)
    assert all("by differences" in fault for fault in faults_of_gradients(linear, 2))
    assert list(faults_of_gradients(linear, 2))


def test_an_element_that_is_not_named(linear, short, monkeypatch):
    # one of 66 elements of gy
    monkeypatch.setattr(term_checks, "POKES", 60)
    faults = list(faults_of_pokes(linear, 6))
    assert faults
    assert all("changes gx[" in fault and "its terms say 0.0" in fault for fault in faults)


def test_a_kernel_that_reads_elsewhere():
    seed = next(s for s in range(2, 99, 4) if not writing_threads.faults_of(s))
    right = "sum += x[r * I + i] * w[o * I + i];"
    with edited("linear.cu", right, "sum += x[r * I + i] * w[o * I] + x[r * I] * w[o * I + i];"):
        found = [fault for s in range(seed, seed + 40, 4) for fault in writing_threads.faults_of(s)]
    assert any("the terms are another number" in fault for fault in found)
    assert any("gives other bits" in fault or "give other bits" in fault for fault in found)


def test_a_fault_that_changes_nothing(monkeypatch):
    line = "pack[k] = pack[k] < 0 ? 0 : pack[k];"
    none = Fault("none", "relu.cu", line, line + " ", "relu", "kernel")
    monkeypatch.setattr(explained_faults, "FAULTS", [none])
    assert explained_faults.attempt([0], None) == [
        "seed 0: relu kernel: none: no number is wrong by its terms"
    ]
