"""``minialex puzzle``: what it prints and writes, and how it refuses what is not there."""

import json
from pathlib import Path

import pytest

from minialex.study.puzzles import PUZZLES, find
from tests.cli.test_bad_input import refused


def test_all_are_listed_by_number(minialex):
    answer = minialex("puzzle", "list")
    assert (answer.status, answer.err) == (0, "")
    for n, puzzle in enumerate(PUZZLES, 1):
        assert f" {n} " in f" {answer.out.replace(chr(10), ' ')} "
        assert puzzle.title in answer.out
    records = json.loads(minialex("puzzle", "list", "--json").out)
    assert [record["number"] for record in records] == list(range(1, len(PUZZLES) + 1))
    assert records[0] == {
        "number": 1,
        "name": "relu",
        "title": "Where a ReLU lets a gradient through",
        "kind": "complete a backward",
        "topic": "element by element",
    }


def test_a_task_is_shown_without_its_answer_and_nothing_is_written(minialex):
    puzzle, answer = find("softmax"), minialex("puzzle", "show", "softmax")
    assert answer.status == 0
    assert answer.out.startswith("10. The sum in softmax's gradient\n")
    assert "each y depends on every x of its row." in " ".join(answer.out.split())
    assert "all 18 cases of softmax, each drawn 3 times" in answer.out
    assert puzzle.start in answer.out
    assert "minialex puzzle show 10 --out solution.py writes it:" in answer.out
    assert puzzle.solved not in answer.out
    assert "Hint" not in answer.out
    assert "Hint: dy[c]/dx[k]" in minialex("puzzle", "show", "10", "--hint").out
    assert list(Path().iterdir()) == []


def test_a_file_to_begin_with_is_written_once(minialex):
    answer = minialex("puzzle", "show", "tile-edge")
    assert "minialex puzzle show 32 --out solution.cu writes it" in answer.out
    written = minialex("puzzle", "show", "tile-edge", "--out", "mine.cu")
    assert written.err == "wrote mine.cu: edit it, then minialex puzzle try 32 mine.cu\n"
    assert Path("mine.cu").read_text() == find("tile-edge").start
    Path("mine.cu").write_text("edited")
    refused(minialex("puzzle", "show", "1", "--out", "mine.cu"), "mine.cu is there already")
    assert Path("mine.cu").read_text() == "edited"


def test_a_file_to_begin_with_is_not_written_where_a_link_leads_or_to_no_name(minialex):
    Path("link.py").symlink_to("elsewhere.py")
    refused(minialex("puzzle", "show", "1", "--out", "link.py"), "link.py is a link to nothing")
    assert not Path("elsewhere.py").exists()
    refused(minialex("puzzle", "show", "1", "--out", ""), "is a folder: name a file to write")


def test_a_file_in_the_other_language_is_refused(minialex):
    for name in ("s.py", "s.cu"):
        Path(name).write_text("")
    refused(
        minialex("puzzle", "try", "44", "s.py"),
        "puzzle 44 wants a CUDA file, .cu: s.py is named as Python",
    )
    refused(minialex("puzzle", "try", "1", "s.cu"), "puzzle 1 wants a Python file, .py")


def test_an_answer_passes_and_a_start_fails(minialex):
    puzzle = find("permute")
    Path("right.py").write_text(puzzle.answer)
    Path("begun.py").write_text(puzzle.start)
    passed = minialex("puzzle", "try", "permute", "right.py")
    assert (passed.status, passed.err) == (0, "")
    assert passed.out.startswith("PASS puzzle 5, Put the axes back\n  70 checks passed, ")
    failed = minialex("puzzle", "try", "5", "begun.py", "--json")
    assert (failed.status, failed.err) == (1, "")
    record = json.loads(failed.out)
    assert (record["number"], record["name"], record["verdict"]) == (5, "permute", "FAIL")
    assert record["checks"] == 1
    assert record["lines"][0] == "case '(31, 33) by (1, 0)', float64"
    assert "the shape is (33, 31), that of the input is (31, 33)" in record["lines"][2]


def test_an_answer_is_shown_as_a_change_with_its_reason(minialex):
    answer = minialex("puzzle", "answer", "second-barrier")
    assert answer.status == 0
    assert "a warp that is done loads the next tiles" in " ".join(answer.out.split())
    assert "\n+        __syncthreads();\n" in answer.out


@pytest.mark.parametrize("command", ["show", "answer"])
def test_a_puzzle_that_is_not_there(minialex, command):
    refused(minialex("puzzle", command, "99"), f"no puzzle 99: they go from 1 to {len(PUZZLES)}")


def test_a_file_that_is_no_solution(minialex):
    Path("picture.py").write_bytes(b"\xff\xd8\xff")
    refused(minialex("puzzle", "try", "1", "nothing.py"), "nothing.py", "check the path")
    refused(minialex("puzzle", "try", "1", "picture.py"), "picture.py", "no UTF-8 text")
    refused(minialex("puzzle", "try", "1", "."), "not an ordinary file")
    assert minialex("puzzle", "nothing").status == 2
