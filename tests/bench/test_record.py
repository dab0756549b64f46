import json
import subprocess

import pytest

import minialex
from minialex.bench import machine
from minialex.bench.record import Timing, quartiles, ratio, read, write
from minialex.errors import MinialexError
from tests.bench.fake_records import record


def test_a_record_comes_back_as_it_was(tmp_path):
    one = record(3, cases=4)
    one.rows[1].timings["PyTorch"] = Timing("peer", reason="it is not installed")
    one.rows[2].timings["tiled"] = Timing(
        "implementation", [[0.1]], [[0.2]], kernels=[{"name": "k"}]
    )
    one.memory = [{"library": "minialex", "peak": 5, "base": 3}]
    write(one, tmp_path / "new" / "r.json")
    assert read(tmp_path / "new" / "r.json") == one


def test_titles_and_totals():
    one = record(cases=2).rows[1]
    assert one.full_title == "alexnet conv2d 1 forward, batch 32"
    one.batch = 0
    assert one.full_title == "alexnet conv2d 1 forward"
    one.work = [(3, 5), (7, 11)]
    assert (one.flops, one.bytes) == (10, 16)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not JSON"),
        ("[1]", "no record"),
        ('{"format": "minialex-bench 99"}', "minialex-bench 99"),
        ('{"format": "minialex-bench 2", "rows": []}', "damaged"),
        ('{"format": "minialex-bench 2", "rows": [{}], "ceilings": {}}', "damaged"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, text, what):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(MinialexError, match=what):
        read(path)


def test_a_missing_record_is_refused(tmp_path):
    with pytest.raises(MinialexError, match=r"cannot read .*r\.json"):
        read(tmp_path / "r.json")


def test_a_case_without_a_name_or_with_a_time_that_is_none_is_refused(tmp_path):
    path = tmp_path / "r.json"

    def read_with(**changed):
        one = record(cases=2)
        for name, value in changed.items():
            setattr(one.rows[1], name, value)
        write(one, path)
        return read(path)

    for labels in ([], [""], [" "]):
        with pytest.raises(MinialexError, match=r"damaged .*a case has no label"):
            read_with(labels=labels)
    for times, cold in (([[1.0, 0.0]], []), ([[1.0], [-1.0]], []), ([[1.0]], [[0.0]])):
        with pytest.raises(MinialexError, match=r"damaged .*'alexnet conv2d 1' took no time"):
            read_with(timings={"plain": Timing("implementation", times, cold)})
    for times in ([], [[]], [[1e-300]]):
        assert read_with(timings={"plain": Timing("implementation", times)})


def test_of_a_run_that_measured_no_ceilings_no_core_is_called_busy():
    one = record(cases=0)
    assert one.busy_cores == 0
    one.ceilings.busy_cores = [0.5, 2.0, 1.0]
    assert one.busy_cores == 2.0


def test_ratios_are_of_pairs():
    theirs = Timing("peer", [[2.0, 30.0], [4.0]])
    ours = Timing("implementation", [[1.0, 10.0], [4.0]])
    assert ratio(theirs, ours) == (1.5, 2.0, 2.5)


def test_a_single_time_of_a_repetition_is_paired_with_each_of_the_other():
    theirs = Timing("peer", [[8.0], [12.0]])
    ours = Timing("implementation", [[1.0, 2.0], [3.0, 4.0]])
    assert ratio(theirs, ours)[1] == 4.0
    assert ratio(ours, theirs)[1] == 0.25


def test_quartiles():
    assert quartiles([5.0]) == (5.0, 5.0, 5.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_failed_contenders_are_listed():
    one = record(cases=2)
    assert one.failed == []
    one.rows[1].timings["tiled"] = Timing("implementation", reason="off by 1", failed=True)
    assert [(r.labels[0], name) for r, name in one.failed] == [("alexnet conv2d 1", "tiled")]


def test_a_record_names_its_revision_and_whether_the_package_was_changed(tmp_path, monkeypatch):
    def git(*words):
        name = "-c", "user.name=a", "-c", "user.email=a@b.c"
        command = ["git", "-C", tmp_path, *name, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    source = tmp_path / "minialex/__init__.py"
    source.parent.mkdir()
    source.touch()
    monkeypatch.delenv("COMMIT", raising=False)
    monkeypatch.setattr(minialex, "__file__", str(source))
    assert machine.commit() is None
    git("init")
    assert machine.commit() is None
    git("add", ".")
    git("commit", "-m", "first")
    (tmp_path / "runs").touch()
    assert machine.commit() == git("rev-parse", "HEAD")[:12]
    source.write_text("changed = True")
    assert machine.commit() == git("rev-parse", "HEAD")[:12] + "+"


def test_a_record_says_nothing_of_the_host():
    import platform

    from minialex.arrays import CPU

    text = json.dumps([machine.machine(CPU), machine.versions(), machine.commit()])
    assert platform.node() not in text
    assert "/" not in json.dumps([machine.machine(CPU), machine.commit()])
