"""doctor: text, JSON, its exit status, and what is wrong with what a person gives."""

import json

import pytest

from minialex.cli import doctor as command
from minialex.study.doctor import RunFinding, RunReport
from tests.cli.test_bad_input import refused


def test_text_and_json_of_a_run_say_the_same(minialex, run_folder):
    answer = minialex("doctor", run_folder, "--json")
    record = json.loads(answer.out)
    assert record["schema"] == "minialex-doctor 1"
    assert (record["steps"], record["images"]) == (3, 10)
    assert answer.status == bool(record["findings"] or record["blind"])
    text = minialex("doctor", run_folder)
    assert text.status == answer.status
    for one in record["findings"]:
        for part in "evidence", "cause", "advice":
            assert one[part] in text.out


BOTH = "the network", "the loss"


@pytest.mark.parametrize(
    ("found", "unseen", "blind", "first", "status"),
    [
        ((), (), (), "nothing found", 0),
        ((), ("dead ReLUs: few",), (), "nothing found in what was looked at", 0),
        (("dead",), ("dead ReLUs: few",), (), "1 finding", 1),
        (("dead",), ("gone",), BOTH[1:], "could not look at the loss: 1 finding", 1),
        (
            (),
            ("gone",),
            BOTH,
            "could not look at the network and the loss: nothing else found",
            1,
        ),
    ],
)
def test_first_line_and_status_say_what_was_found_or_could_not_be_looked_at(
    minialex, monkeypatch, found, unseen, blind, first, status
):
    some = tuple(RunFinding(kind, "features.1", "9 of 9", {}, "why", "what") for kind in found)
    report = RunReport("run", 7, 24, some, unseen, blind)
    monkeypatch.setattr(command, "examine", lambda run, device: report)
    answer = minialex("doctor", "run")
    assert (answer.status, answer.err) == (status, "")
    assert answer.out.splitlines()[0] == f"run after 7 steps: {first}, by 24 training images"
    for what in unseen:
        assert f"not looked at\n   {what}\n" in answer.out
    assert minialex("doctor", "run", "--json").status == status


def test_help_says_what_each_status_means(minialex):
    text = " ".join(minialex("doctor", "--help").out.split())
    assert "0 if nothing was found, 1 if something was found, or the network or the loss" in text


def test_what_is_no_run_is_refused(minialex, run_folder, photos):
    refused(minialex("doctor", "nowhere"), "nowhere", "give the folder of a run")
    refused(minialex("doctor", run_folder / "last.safetensors"), "is a file")
    refused(minialex("doctor", photos), "there is no run in")
    refused(minialex("doctor", run_folder.parent), f"such as {run_folder}")
    (run_folder / "settings.json").write_text("{")
    refused(minialex("doctor", run_folder), "settings.json is damaged")
