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
    assert answer.status == bool(record["findings"])
    text = minialex("doctor", run_folder)
    assert text.status == answer.status
    for one in record["findings"]:
        for part in "evidence", "cause", "advice":
            assert one[part] in text.out


@pytest.mark.parametrize(("found", "status"), [((), 0), (("dead",), 1)])
def test_the_exit_status_says_whether_something_was_found(minialex, monkeypatch, found, status):
    some = tuple(RunFinding(kind, "features.1", "9 of 9", {}, "why", "what") for kind in found)
    report = RunReport("run", 7, 24, some, ("the loss: gone",))
    monkeypatch.setattr(command, "examine", lambda run, device: report)
    answer = minialex("doctor", "run")
    assert (answer.status, answer.err) == (status, "")
    assert "not looked at\n   the loss: gone\n" in answer.out
    assert ("nothing found" in answer.out) == (status == 0)
    assert minialex("doctor", "run", "--json").status == status


def test_what_is_no_run_is_refused(minialex, run_folder, photos):
    refused(minialex("doctor", "nowhere"), "nowhere", "give the folder of a run")
    refused(minialex("doctor", run_folder / "last.safetensors"), "is a file")
    refused(minialex("doctor", photos), "there is no run in")
    refused(minialex("doctor", run_folder.parent), f"such as {run_folder}")
    (run_folder / "settings.json").write_text("{")
    refused(minialex("doctor", run_folder), "settings.json is damaged")
