"""``minialex explain``: a number with its witnesses, and how it refuses what is not there."""

import json
import re

import pytest

from tests.cli.test_bad_input import refused

MINI = "explain", "alexnet-mini"


def test_an_output_of_a_layer_and_one_of_its_factors(minialex):
    answer = minialex(*MINI, "features.2[17,2,3]", "--follow", 1, "--top", 3)
    assert answer.status == 0
    pool, relu = answer.out.split("\n\nfeatures.1[0, 17, 4, 6] = ")
    value = pool.splitlines()[0].removeprefix("features.2[17, 2, 3] = ")
    assert "y = the largest x of the window; of equal ones the first" in pool
    assert f"blocked made {value} of it: the same number" in pool
    assert "<- this" in pool
    assert "the larger of x and 0" in relu
    assert "alexnet-mini with fresh weights" in answer.err


def test_the_thread_of_a_kernel_is_a_witness(minialex):
    target = "features.0[5,0,0]"
    answer = minialex(*MINI, target, "--implementation", "tiled", "--top", 2)
    assert answer.status == 0
    assert "y[0, 5, 0, 0] of conv2d, by tiled, in float32" in answer.out
    assert "written by conv2d_forward_tiled<float>, block (0, 0, 0) of " in answer.out
    assert "no other thread writes there" in answer.out
    assert re.search(r"it reads [\d,]+ factors through shared memory: all that count", answer.out)
    assert "in the order of its reads: the same bits" in answer.out
    # what the network computed by default is the same to rounding
    other = minialex(*MINI, target, "--top", 2).out.splitlines()[0]
    first = answer.out.splitlines()[0]
    assert float(first.split(" = ")[1]) == pytest.approx(float(other.split(" = ")[1]), rel=1e-4)


def test_a_gradient_as_differences_have_it(minialex):
    answer = minialex(*MINI, "logits.grad[3]", "--class", "3", "--json")
    record = json.loads(answer.out)
    assert (record["schema"], record["class"]) == (1, 3)
    (found,) = record["explanations"]
    assert (found["target"], found["op"], found["thread"]) == (
        "logits.grad[3]",
        "cross_entropy",
        None,
    )
    assert found["agrees"]
    assert found["difference"]["agrees"]
    assert found["difference"]["value"] == pytest.approx(found["ran"], rel=1e-5)
    # p - 1 for the target
    assert -1 < found["ran"] < 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alexnet-mini",), "name a TARGET with its index, as in features.3[17,20,31]"),
        (("alexnet-mini", "features.0[1,2]"), "it has no element [1, 2]"),
        (("alexnet-mini", "feature.0[1,2,3]"), "unknown layer or parameter 'feature.0'"),
        (("alexnet-mini", "image[0,0,0]"), "is a pixel"),
        (("alexnet-mini", "logits[0]", "--class", "cat"), "give a number from 0"),
        (("alexnet-mini", "loss", "--class", "1000"), "numbered from 0 to 999"),
        (("alexnet-mini", "loss", "a.png", "b.png"), "leave out b.png"),
        (("alexnet-mini", "logits[0]", "--follow", "99999"), "there is no term 99999"),
        (("alexnet-mini", "logits[0]", "--follow", "1.x"), "give a term, or a term and a factor"),
        (
            ("alexnet-mini", "logits[0]", "--implementation", "tield"),
            "unknown implementation of linear 'tield'",
        ),
        (("alexnet-mini", "logits[0]", "nowhere.png"), "nowhere.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value[1:]),
)
def test_what_is_not_there_is_named(minialex, words, said):
    refused(minialex("explain", *words), said)
