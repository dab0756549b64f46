"""``minialex step``: what it prints and writes, and how it refuses what is not there."""

import json
from pathlib import Path

import pytest

from minialex.study.walk import BREAKS, NETWORKS
from tests.cli.test_bad_input import refused


def test_the_default_network_from_forward_to_the_checker(minialex):
    answer = minialex("step")
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "skip: a linear layer, a ReLU and a way around it: h is used twice"
    steps = [line.split()[2] for line in lines if line.startswith("Step ")]
    assert steps == ["cross_entropy", "add", "relu", "linear"]
    assert "  PASS gradient of w: 9 compared, " in answer.out
    assert "\x1b" not in answer.out


def test_a_broken_pass_shows_right_beside_wrong(minialex):
    answer = minialex("step", "shared", "--break", "overwrite")
    assert answer.status == 0
    assert "w.grad[0, 2] is 0.05199 and must be -0.2432 (9 of 9 elements wrong)." in answer.out
    assert "with = only the last of them is left." in answer.out
    assert "  FAIL gradient of w: " in answer.out
    assert "  PASS gradient of x: " in answer.out


def test_other_numbers(minialex):
    first, second = (minialex("step", "--seed", seed, "--json") for seed in (1, 2))
    records = [json.loads(answer.out) for answer in (first, second)]
    assert [record["seed"] for record in records] == [1, 2]
    assert records[0]["values"][0]["data"] != records[1]["values"][0]["data"]
    assert records[0]["break"] is records[0]["broken"] is None
    given = [state for state in records[0]["states"] if state["kind"] == "give"]
    assert given[0]["lines"][0].startswith("gx = gy (p - onehot t) / N")
    assert len(given[0]["elements"]) == 6


def test_a_page(minialex):
    answer = minialex("step", "--break", "relu", "--page", "relu.html")
    assert answer.status == 0
    assert answer.err == "wrote relu.html: open it in a browser\n"
    assert Path("relu.html").read_text().startswith("<!doctype html>")


def test_the_help_names_all_that_there_is(minialex):
    help_text = minialex("step", "--help").out
    for name in (*NETWORKS, *BREAKS):
        assert f"  {name}  " in help_text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["skips"], "unknown network 'skips': did you mean 'skip'?"),
        (["--break", "recurse"], "unknown thing to break 'recurse': did you mean 'recursion'?"),
        (["broadcast", "--break", "relu"], "broadcast has no relu"),
        (["conv", "--break", "transpose"], "(2, 8)"),
        (["--page", "missing/page.html"], "its folder does not exist"),
    ],
)
def test_what_is_refused(minialex, words, said):
    answer = minialex("step", *words)
    refused(answer, said)
    assert answer.out == ""


def test_what_click_refuses(minialex):
    for words, said in (
        (("--seed", "-1"), "-1 is not in the range x>=0"),
        (("--page", "page.txt"), "--page page.txt: name a file that ends in .html"),
    ):
        answer = minialex("step", *words)
        assert (answer.status, answer.out) == (2, "")
        assert said in answer.err
