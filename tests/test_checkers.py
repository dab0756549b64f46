"""The comparison of four gradient checkers: what can be asked without the other three."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.campaigns.checkers import __main__ as command
from tests.campaigns.checkers import op_mutants, record, suites
from tests.campaigns.checkers.four import (
    NAMES,
    PASSED,
    RAISED,
    UNDECIDED,
    WRONG,
    Function,
    ask,
)
from tests.campaigns.checkers.op_mutants import EQUIVALENT, FAILED

ROOT = Path(__file__).parents[1]
PACKAGES = {"PyTorch": "torch", "JAX": "jax", "autograd": "autograd"}


def squares(slope=2.0, x=(1.0, -2.0, 3.0)):
    return Function(lambda x: x * x, lambda gy, x: [gy * slope * x], (np.array(x),))


@pytest.mark.parametrize("name", NAMES)
def test_each_checker_tells_right_from_wrong(name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason="python -m tests.campaigns.checkers needs it")
    assert ask(name, squares()).verdict == PASSED
    assert ask(name, squares(2.1)).verdict == WRONG


def test_what_cannot_be_told_and_what_raises_are_no_accusations():
    def refuse(x):
        raise IndexError("no such axis")

    constant = Function(np.ones_like, lambda gy, x: [0 * gy], (np.ones(3),))
    assert ask("minialex", constant).verdict == UNDECIDED
    said = ask("minialex", Function(refuse, lambda gy, x: [gy], (np.ones(3),)))
    assert (said.verdict, said.words) == (RAISED, "IndexError: no such axis")


def test_the_owner_of_a_function_is_asked_in_its_own_way():
    def refuse():
        raise AssertionError("wrong by my own book")

    own = Function(np.square, lambda gy, x: [gy * 2 * x], (np.ones(3),), {"minialex": refuse})
    said = ask("minialex", own)
    assert (said.verdict, said.words) == (WRONG, "AssertionError: wrong by my own book")


def mutants_of(op):
    backward = op_mutants.Backward(op)
    text = backward.text.encode()
    return backward, {(text[m.start : m.end].decode(), m.new) for m in backward.mutants()}


def test_every_token_of_a_backward_is_mutated_and_of_what_it_calls():
    _, relu = mutants_of("relu")
    assert {("y == 0", "y != 0"), ("y", "gy"), ("gy", "y"), ("0", "(1)")} <= relu
    backward, lrn = mutants_of("local_response_norm")
    assert [f.name for f in backward.functions] == ["backward", "window_sum"]
    assert {("size // 2", "(size) * (2)"), ("-beta - 1", "(-beta) + (1)"), ("s", "x")} <= lrn
    _, conv = mutants_of("conv2d")
    assert {("s.KH", "s.KW"), ("(0, 2, 3)", "(0, 2, )"), ("s.ph", "s.pw")} <= conv


def test_of_a_mutant_that_changes_a_gradient_somewhere_checkers_are_asked_there(monkeypatch):
    monkeypatch.setattr(op_mutants, "NAMES", ("minialex",))
    rows = list(op_mutants.tried("relu", seed=0))
    assert len(rows) == len(op_mutants.Backward("relu").mutants())
    left_out = [row["left out"] for row in rows if "left out" in row]
    assert left_out == [FAILED, FAILED, FAILED, EQUIVALENT, FAILED]
    asked = [said for row in rows for said in row.get("said", ())]
    assert {said["minialex"] for said in asked} == {WRONG}
    assert {said["input"] for said in asked} == {0, 1, 2}


def test_what_a_suite_hands_over_becomes_arrays_of_real_numbers():
    leaves = [np.float32(1.5), np.array([1, 2]), np.array([1 + 2j]), "text", 3.0]
    reals, rebuilt = suites.as_reals(leaves)
    assert [x.tolist() for x in reals] == [1.5, [1.0], [2.0], 3.0]
    assert {x.dtype.name for x in reals} == {"float64"}
    one, whole, number, text, two = rebuilt([10.0, np.array([3.0]), np.array([4.0]), 20.0])
    assert (one, whole.tolist(), number.tolist(), text, two) == (10, [1, 2], [3 + 4j], "text", 20)


def test_tests_are_chosen_that_reach_the_checker_by_whatever_helper():
    text = (
        "def helper(f): check_grads(f, (1.0,), 1)\n"
        "class Cases:\n"
        "  def testDirect(self): jtu.check_grads(f)\n"
        "  def testByHelper(self): helper(f)\n"
        "  def testOther(self): other(f)\n"
    )
    assert suites.tests_that_check(text) == ["testByHelper", "testDirect"]


def test_the_page_shows_the_record(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert CliRunner().invoke(command.main, ["--check"]).exit_code == 0


def test_a_page_of_another_record_is_stale(monkeypatch, tmp_path):
    made = json.loads((ROOT / command.RECORD).read_text())
    made["mutants"]["ops"]["relu"]["asked"] += 1
    (tmp_path / "record.json").write_text(json.dumps(made))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(command, "RECORD", tmp_path / "record.json")
    result = CliRunner().invoke(command.main, ["--check"])
    assert result.exit_code == 1
    assert "python -m tests.campaigns.checkers" in result.output


def test_a_suite_that_is_not_there_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "PEERS", ())
    result = CliRunner().invoke(command.main, ["--autograd", str(tmp_path)])
    assert result.exit_code == 2
    assert "--autograd has to be the path of a checkout of autograd" in result.output


def test_survivors_are_named_with_what_each_checker_said():
    said = dict.fromkeys(NAMES, WRONG) | {"PyTorch": PASSED}
    rows = [
        {
            "op": "relu",
            "mutant": "minialex/ops/relu/plain.py:9: 0 -> 1",
            "said": [said | {"input": 0}],
        },
        {"op": "relu", "mutant": "minialex/ops/relu/plain.py:9: y -> gy", "left out": "equivalent"},
    ]
    made = record.mutants_record(rows, [], seed=0)
    assert (made["ops"]["relu"]["asked"], len(made["missed"])) == (1, 1)
    text = record.page({"mutants": made})("<!-- checkers:survivors -->\n<!-- /checkers -->")
    assert "None survives minialex." in text
    assert "- relu/plain.py:9, `0 -> 1`, usual inputs: minialex wrong, PyTorch passed" in text
