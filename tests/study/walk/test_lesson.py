"""What a lesson shows: formulas with numbers that add up, and mistakes that are seen and named."""

import json

import numpy as np
import pytest

from minialex import Tensor
from minialex.autograd import OPS
from minialex.check import Verdict, gradcheck
from minialex.errors import MinialexError
from minialex.study.walk import BREAKS, NETWORKS, lesson, walk
from minialex.study.walk import lessons as module
from minialex.study.walk.formulas import FORMULAS
from minialex.study.walk.narration import conclusion
from minialex.study.walk.narration import states as told_states
from minialex.terms import TERMS
from tests.study.walk.told import given, sentences, text


def test_every_op_has_its_formula():
    own = {name for name, op in OPS.items() if op._defined_in().startswith("minialex.ops.")}
    assert set(FORMULAS) == own
    for formula in FORMULAS.values():
        assert len(formula.gradients) == len(formula.why)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_element_of_a_right_pass_is_what_its_terms_are(network):
    states = [state for state in told_states(given(network)) if state.kind == "give"]
    elements = [element for state in states for element in state.elements]
    assert len(elements) == sum(state.given.size for state in states) > 20
    assert not any("must be" in element for element in elements)


def test_an_op_without_terms_shows_its_numbers(monkeypatch):
    monkeypatch.delitem(TERMS, "relu")
    assert "gh[1, 0] = 0.3004\n" in text("skip")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_right_pass_is_backward_and_the_checker_agrees(network):
    found = given(network)
    assert found.agrees
    assert found.report.verdict is Verdict.PASS
    assert found.wrong() == ()
    compared = [finding.what for finding in found.report.findings]
    for name in found.leaves:
        assert f"gradient of {name}" in compared


WRONG = {
    ("skip", "order"),
    ("skip", "recursion"),
    ("skip", "overwrite"),
    ("shared", "overwrite"),
    ("broadcast", "overwrite"),
    *((network, "zeroing") for network in NETWORKS),
    ("skip", "transpose"),
    ("shared", "transpose"),
    ("skip", "relu"),
    ("shared", "relu"),
    ("conv", "relu"),
    ("conv", "col2im"),
}
HARMLESS = {
    *((network, how) for network in NETWORKS for how in ("order", "recursion")),
    ("conv", "overwrite"),
} - WRONG


@pytest.mark.parametrize(("network", "mistake"), sorted(WRONG))
def test_a_mistake_is_seen_and_the_checker_fails_it(network, mistake):
    found = given(network, mistake)
    assert found.broken_report.verdict is Verdict.FAIL
    assert found.report.verdict is Verdict.PASS
    for one in found.wrong():
        right, got = found.right.grads[one.name], found.broken.grads[one.name]
        assert (one.right, one.got) == (right[one.index], got[one.index])
        assert abs(one.right - one.got) == np.abs(right - got).max()
    failed = {f.what for f in found.broken_report.findings if f.verdict is Verdict.FAIL}
    assert failed == {f"gradient of {one.name}" for one in found.wrong()}
    lines = text(network, mistake)
    assert f"Broken on purpose ({mistake}): {BREAKS[mistake].about}." in lines
    assert BREAKS[mistake].why in lines
    assert "it must be = " in lines
    assert "FAIL gradient of " in lines
    assert lines.endswith("Of the right one it says PASS.")


@pytest.mark.parametrize(("network", "mistake"), sorted(HARMLESS))
def test_where_a_mistake_does_no_harm_it_is_said(network, mistake):
    found = given(network, mistake)
    assert found.wrong() == ()
    assert found.broken_report.verdict is Verdict.PASS
    assert sentences(network, mistake)[-1] == (
        f"Nothing goes wrong in this network: {BREAKS[mistake].harmless} here."
    )


@pytest.mark.parametrize(
    ("network", "mistake", "words"),
    [
        ("conv", "transpose", r"conv has weights of shape \(2, 8\): as they are not sq"),
        ("broadcast", "transpose", "broadcast has no linear to break: choose another"),
        ("broadcast", "relu", "broadcast has no relu to break: choose another"),
        ("skip", "col2im", "skip has no conv2d to break: choose another"),
        ("skips", None, "unknown network 'skips': did you mean 'skip'"),
        ("skip", "over", "unknown thing to break 'over'; known: order, "),
    ],
)
def test_what_cannot_be_broken_is_refused(network, mistake, words):
    with pytest.raises(MinialexError, match=words):
        lesson(network, mistake)


def test_every_pair_of_network_and_mistake_is_one_of_these():
    refused = {
        *(("conv", "transpose"), ("broadcast", "transpose"), ("broadcast", "relu")),
        *((network, "col2im") for network in NETWORKS if network != "conv"),
    }
    pairs = {(network, mistake) for network in NETWORKS for mistake in BREAKS}
    assert WRONG | HARMLESS | refused == pairs


def test_zeroing_doubles_and_the_transpose_is_one():
    found = given("skip", "zeroing")
    for name, right in found.right.grads.items():
        assert np.array_equal(found.broken.grads[name], 2 * right)
    found = given("skip", "transpose")
    assert np.allclose(found.broken.grads["w"], found.right.grads["w"].T, rtol=1e-12)


def test_the_checker_is_asked_about_the_walk():
    # were it asked about autograd, a broken walk would pass
    net = NETWORKS["skip"]
    leaves = [Tensor(a, requires_grad=True) for a in net.draw(0).values()]
    for mistake, verdict in ((None, Verdict.PASS), (BREAKS["order"], Verdict.FAIL)):
        checked = gradcheck(module._walked(net, mistake), tuple(leaves), raise_exception=False)
        assert checked.verdict is verdict
    assert all(t.grad is None for t in leaves)


def test_numbers_stand_in_the_formulas():
    for words in (
        "h = [[ 0.63, -1.93,  0.56],",
        "gs[1, 2] = g_loss 1/2 p[1, 2] - g_loss 1/2 = 1 * 0.5 * 0.1738 - 1 * 0.5 = -0.4131",
        "Part 2 of 2, added up: gh[1, 0] = 0.3004 + 0.3004 = 0.6007.",
        "gh[1, 0] = gr[1, 0] = 0.3004   (x is 0.04: the gate is open)",
        "gx[1, 1] = gh[1, 0] w[0, 1] + gh[1, 1] w[1, 1] + gh[1, 2] w[2, 1] = 0.6007 * 1.5 + ",
        "gb[0] = gh[0, 0] + gh[1, 0] = (-0.4766) + 0.6007 = 0.1241",
        "x.grad, w.grad and b.grad are, bit for bit, what loss.backward() leaves. h.grad, r.grad, "
        "s.grad and loss.grad are None: h.retain_grad() before backward() keeps one.",
    ):
        assert words in text("skip")
    said = text("broadcast")
    assert "gb = gy, summed over the axes along which it was broadcast   (a is m, " in said
    assert "g_total = g_loss 1/6 = 1 * 1/6 = 0.1667" in said


def test_each_mistake_is_told_where_it_happens():
    def one(mistake, words, network="skip"):
        assert sum(words in sentence for sentence in sentences(network, mistake)) == 1, words

    one("order", "gh, shape (2, 3), is not complete: 1 of 2 parts, from add (s).")
    one("order", "That is too late: h has run backward already.")
    one("recursion", "linear runs backward once more")
    one("overwrite", "It takes the place of what came before: gh[1, 2] = 0, not -0.4131 + 0")
    one("overwrite", "is only what came last, from relu (r), of 2 parts.")
    one("zeroing", "Added to what the step before left: gb[0] = 0.1241 + 0.1241 = 0.2483.")
    one("col2im", "x.grad[0, 0, 3, 3] is 0 and must be -1.581 (10 of 25", network="conv")
    said = text("skip", "relu")
    assert "      broken here: relu gives gx = gy everywhere\n" in said
    wanted = "gh[1, 2] = -0.4131, and must be 0: x is -1.16: the gate is shut"
    assert f"      {wanted}\n" in said


def test_a_walk_that_is_not_backward_would_be_said_not_to_be(monkeypatch):
    def other(*args, **how):
        return walk(*args, **how, replace={"relu": lambda node, gy: (gy,)})

    monkeypatch.setattr(module, "walk", other)
    found = lesson("skip")
    assert not found.agrees
    assert found.report.verdict is Verdict.FAIL
    said = "x.grad, w.grad and b.grad are not what loss.backward() leaves."
    assert conclusion(found).startswith(said)


def test_the_record_is_json_and_holds_the_numbers():
    found = lesson("shared", "overwrite", seed=4)
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["schema"] == 1
    assert (record["network"], record["seed"], record["break"]["name"]) == (
        "shared",
        4,
        "overwrite",
    )
    assert record["agrees_with_backward"] is True
    assert [v["name"] for v in record["values"]] == ["x", "w", "h", "r", "s", "loss"]
    assert record["right"]["grads"]["w"]["data"] == found.right.grads["w"].tolist()
    step = record["broken"]["steps"][-1]
    assert (step["op"], step["name"]) == ("linear", "h")
    (to_x, to_w) = step["contributions"]
    assert (to_x["to"], to_w["to"]) == ("x", "w")
    assert to_w["after"] == to_w["gradient"] == record["broken"]["grads"]["w"]
    assert to_w["before"]["shape"] == [3, 3]
    (wrong,) = record["wrong"]
    assert wrong["name"] == "w"
    assert (record["check"]["verdict"], record["broken_check"]["verdict"]) == ("PASS", "FAIL")
