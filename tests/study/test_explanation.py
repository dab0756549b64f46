"""One number, taken apart: its terms, what ran, differences, and what a network calls it."""

import json
import math

import numpy as np
import pytest

from minialex import Tensor, nn, ops
from minialex.errors import MinialexError
from minialex.study import NetworkRun, difference_of, explain, explain_run, run_op
from minialex.study.explanation_text import lines

CONV = {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


@pytest.fixture
def conv():
    """Return a convolution of 2 images forward and back."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s, np.float32) for s in ((2, 2, 5, 4), (3, 2, 3, 3), (3,)))
    gy = rng.standard_normal((2, 3, 3, 4), np.float32)
    return run_op("conv2d", x, w, b, gy=gy, **CONV)


def test_a_number_of_a_convolution_is_bias_and_taps(conv):
    found = explain_run(conv, "y", (1, 2, 0, 1))
    x, w, b = conv.inputs
    products = [
        float(w[2, c, k, l]) * float(x[1, c, k - 1, l])
        for c in range(2)
        for k in range(1, 3)
        for l in range(3)
    ]
    want = math.fsum([float(b[2]), *products])
    assert found.exact == pytest.approx(want, rel=1e-15)
    assert found.agrees
    assert found.digits > 6
    notes = [term.note for term in found.formula.terms]
    assert (notes.count("bias"), notes.count("padding"), len(notes)) == (1, 6, 19)
    text = "\n".join(lines(found, "y[1, 2, 0, 1]", 3))
    assert "6 of 19 are padding" in text
    assert "and 16 smaller terms, " in text
    assert f"added up without rounding: {want:.12g}" in text


def test_an_index_from_the_end_is_the_same_number(conv):
    assert explain_run(conv, "gw", (-1, 1, 0, -2)).index == (2, 1, 0, 1)


@pytest.mark.parametrize("which", ["gx", "gw", "gb"])
def test_differences_of_the_forward_pass_are_a_witness_of_gradients(conv, which):
    index = tuple(n - 1 for n in conv.array(which).shape)
    found = explain_run(conv, which, index)
    difference = difference_of(found)
    assert difference.agrees
    assert difference.digits > 9
    # the terms of another element are not what they say
    other = explain_run(conv, which, (0,) * len(index))
    assert abs(other.exact - difference.value) > 1e3 * difference.uncertainty


def test_a_mistake_in_backward_and_terms_alike_is_seen_by_differences(conv, monkeypatch):
    from minialex.terms import TERMS

    right = TERMS["conv2d"]["gw"]
    monkeypatch.setitem(TERMS["conv2d"], "gw", lambda a, i, **p: right(a, i[:2] + i[:1:-1], **p))
    flipped = {"gw": np.swapaxes(conv.gradients["gw"], 2, 3)}
    run = type(conv)(**{**vars(conv), "gradients": conv.gradients | flipped})
    found = explain_run(run, "gw", (1, 0, 0, 2))
    assert found.agrees
    difference = difference_of(found)
    assert not difference.agrees
    assert difference.digits < 3


def test_differences_say_that_there_is_a_kink():
    run = run_op("relu", np.zeros(3, np.float32), gy=np.ones(3, np.float32))
    assert difference_of(explain_run(run, "gx", (1,))).is_kink


def test_what_is_no_gradient_has_no_differences(conv):
    assert repr(conv) == "OpRun(conv2d by plain: y, gx, gw, gb)"
    assert repr(explain_run(conv, "gb", (1,))).startswith("Explanation(gb[1] of conv2d, by plain: ")
    with pytest.raises(MinialexError, match="gradient of an input of one op"):
        difference_of(explain_run(conv, "y", (0, 0, 0, 0)))


class Twice(nn.Module):
    """A layer whose output is used twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        h = self.layer(ops.reshape(x, (len(x.data), -1)))
        return h + ops.relu(h)


@pytest.fixture
def run():
    rng = np.random.default_rng(1)
    model = Twice()
    model.layer.weight.data[...] = rng.standard_normal((3, 4), np.float32)
    return NetworkRun.of(model, rng.standard_normal((1, 1, 2, 2), np.float32), label=1)


def test_a_gradient_that_several_uses_give_is_their_sum(run):
    found = run.explain("layer.grad[0]")
    assert found.maker == "the sum over its 2 uses"
    assert [part.maker for part in found.parts] == ["add, by plain", "relu, by blocked"]
    assert found.exact == pytest.approx(sum(part.ran for part in found.parts))
    assert found.agrees
    name, part = run.follow(found, 2)
    assert name == "gx of relu, by blocked"
    assert part is found.parts[1]


def test_factors_are_taken_apart_down_to_pixels(run):
    found, names = run.explain("logits[2]"), []
    for n in (1, 4):
        name, found = run.follow(found, n)
        names.append(name)
    assert names == ["layer[0, 2]", "reshape[0, 2]"]
    assert [str(cell) for cell in found.formula.cells()] == ["x[0, 0, 1, 0]"]
    assert found.ran == run.values["image"].data[0, 0, 1, 0]
    with pytest.raises(MinialexError, match=r"term 1 is .*: pixels, parameters and known numbers"):
        run.follow(found, 1)
    with pytest.raises(MinialexError, match="there is no term 2: there are 1, from 1"):
        run.follow(found, 2)


def test_each_factor_of_a_term_can_be_taken_apart(run):
    found = run.explain("layer.weight.grad[2, 3]")
    assert [str(term) for term in found.formula.terms] == ["gy[0, 2] x[0, 3]"]
    assert run.follow(found, 1)[0] == run.follow(found, 1, 1)[0] == "layer.grad[0, 2]"
    assert run.follow(found, 1, 2)[0] == "reshape[0, 3]"
    with pytest.raises(
        MinialexError, match=r"no factor 3 in term 1: gy\[0, 2\] x\[0, 3\] has 2 el"
    ):
        run.follow(found, 1, 3)
    image = run.explain("layer[2]")
    with pytest.raises(MinialexError, match=r"factor 2 of term 2 is w\[2, 0\]: a pixel, a param"):
        run.follow(image, 2, 2)


def test_the_loss_and_its_gradient(run):
    p = np.exp(run.values["logits"].data[0].astype(float))
    p /= p.sum()
    loss = run.explain("loss[]")
    assert loss.exact == pytest.approx(-math.log(p[1]), rel=1e-6)
    assert run.explain("logits.grad[1]").exact == pytest.approx(p[1] - 1, rel=1e-5)
    found = run.explain("logits.grad[0]")
    assert found.exact == pytest.approx(p[0], rel=1e-5)
    # its first factor, the gradient of the loss, is made of nothing
    assert run.follow(found, 1)[0] == "logits[0, 0]"


def test_explain_by_another_implementation():
    rng = np.random.default_rng(1)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), rng.random((1, 1, 2, 2), "f")
    found = explain(model, images, "1.weight.grad[2, 3]", label=0, implementation="naive")
    assert found.maker == "linear, by naive"
    assert found.agrees


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("layer", "'layer' names no number"),
        ("layer[1,2,3]", "layer has shape (1, 3): it has no element [1, 2, 3]"),
        ("layer[7]", "has shape (1, 3): it has no element [0, 7]"),
        ("layer[1.5]", "'layer[1.5]' names no number"),
        ("layer[1-2]", "an index is whole numbers between commas"),
        ("leyer[1]", "unknown layer or parameter 'leyer'"),
        ("image[0,0,0]", "image[0, 0, 0] is a pixel"),
        ("loss.grad[]", "loss.grad[] is 1: backward begins with it"),
        ("layer.weight.grad[3,0]", "layer.weight has shape (3, 4): it has no element [3, 0]"),
        ("layer.weight[0,0]", "is a parameter"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_line(run, target, said):
    with pytest.raises(MinialexError) as caught:
        run.explain(target)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_op_without_terms_is_named():
    from minialex.autograd import OPS, Implementation, Op

    op = Op("cube", {"plain": Implementation(lambda x: (x**3, ()), lambda gy, saved: (gy,))})
    try:
        run = run_op("cube", np.ones(2, np.float32))
        with pytest.raises(MinialexError, match="op 'cube' has no terms: add them"):
            explain_run(run, "y", (0,))
    finally:
        del OPS[op.name]


def test_what_it_writes_is_json_and_holds_the_formula(conv):
    record = json.loads(json.dumps(explain_run(conv, "y", (0, 0, 0, 0)).record()))
    assert (record["op"], record["implementation"]) == ("conv2d", "plain")
    terms = record["formula"]["terms"]
    assert math.fsum(term["value"] for term in terms) == pytest.approx(record["formula"]["value"])
    assert terms[0]["factors"] == [{"name": "b", "index": [0], "value": float(conv.inputs[2][0])}]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda x: run_op("rlu", x), "unknown op 'rlu'"),
        (lambda x: run_op("relu", x, implementation="tiled"), "unknown implementation of relu"),
        (lambda x: run_op("relu"), "relu takes x: "),
        (lambda x: run_op("softmax", x), "softmax takes x, dim=: "),
        (lambda x: run_op("relu", x, foo=3), "relu takes x: "),
        (lambda x: run_op("relu", x, gy=np.ones(4)), "gy has shape (4,): it must be that of the"),
        (lambda x: run_op("conv2d", x, x, None, **CONV), "conv2d takes x, w, b, stride=, padding="),
        (lambda x: explain_run(run_op("relu", x), "y", 1), "an index is a tuple of whole numbers"),
        (lambda x: explain_run(run_op("relu", x), "gx", (1,)), "unknown number of this relu 'gx'"),
    ],
)
def test_what_an_op_does_not_take_is_said(run, said):
    with pytest.raises(MinialexError) as caught:
        run(np.ones(3, np.float32))
    assert said in str(caught.value)


def test_of_the_target_alone_it_is_said_that_it_is_the_target(run):
    own, other = (run.explain(f"logits.grad[{c}]").formula for c in (1, 0))
    assert [term.note for term in own.terms] == ["", "the target"]
    assert [term.note for term in other.terms] == [""]


def test_a_class_that_is_not_there():
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(MinialexError, match="no class 3: they are numbered from 0 to 2"):
        explain(model, images, "logits[0]", label=3)


def test_an_image_wants_no_number_of_its_own(run):
    assert run.explain("layer[0]").index == run.explain("layer[0, 0]").index == (0, 0)


def test_tensors_are_not_changed(run):
    assert all(isinstance(value, Tensor) and value.grad is None for value in run.values.values())
