"""The page of questions: each is answered by what it says is to be run, or it is said why not."""

import re
from dataclasses import replace

import pytest

from minialex.study.puzzles import PUZZLES
from tests.questions import ANSWERED, NOT_ANSWERED, PARTS, missing, output, rows, words


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", PARTS, ids=str)
def test_the_answer_is_what_is_printed(row, monkeypatch, capsys):
    said = output(row, monkeypatch, capsys)
    assert not missing(row, said), said


def test_all_questions_are_there_and_fewer_than_five_without_an_answer():
    assert [row.number for row in rows()] == list(range(1, 57))
    without = [row for row in rows() if not row.commands]
    assert len(without) < 5
    assert all(row.reply.startswith(NOT_ANSWERED) for row in without)


@pytest.mark.parametrize("row", ANSWERED, ids=str)
def test_an_answer_is_a_sentence_or_a_number_of_the_output(row):
    assert row.quotes
    assert any(re.search(r"\d|\w+ \w+ \w+", quote) for quote in row.quotes)
    commands = words(" ".join(row.commands))
    assert not [quote for quote in row.quotes if words(quote) in commands]


def test_the_puzzles_that_it_names_are_there():
    named = [name for row in rows() for name in re.findall(r"\*Puzzle: (\S+)\.\*", row.reply)]
    assert len(named) > 10
    assert set(named) <= {puzzle.name for puzzle in PUZZLES}


def test_another_number_or_word_would_be_missed(monkeypatch, capsys):
    (row,) = [row for row in ANSWERED if row.number == 14]
    said = output(row, monkeypatch, capsys)
    assert not missing(row, said)
    other = [quote.replace("0.2483", "0.2484").replace("still", "yet") for quote in row.quotes]
    assert missing(replace(row, quotes=other), said) == other
