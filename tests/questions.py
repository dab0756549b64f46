"""The questions of ``docs/questions.md``: what is to be run, and what of its output answers it."""

from __future__ import annotations

import random
import re
import shlex
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minialex.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "questions.md"
TEXT = PAGE.read_text("utf-8")
DRAWN = 14
"""So many rows are run by the suite; the campaigns run the others."""

NOT_ANSWERED = "Not answered: "


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes
    ----------
    number : int
    question : str
    commands : list of str
        Command lines, and lines of Python.
    reply : str
        The answer.
    quotes : list of str
        What of the output it quotes.
    """

    number: int
    question: str
    commands: list[str]
    reply: str
    quotes: list[str]

    def __str__(self) -> str:
        return f"{self.number}"


def spans(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def rows(text: str = TEXT) -> list[Row]:
    """Return the rows of the page's tables."""
    found = re.findall(r"^\| (\d+) \| (.+?) \| (.*?) ?\| (.+?) \|$", text, re.MULTILINE)
    return [
        Row(int(number), question, spans(what), reply, spans(reply))
        for number, question, what, reply in found
    ]


ANSWERED = [row for row in rows() if row.commands]
FIRST = re.search(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
PARTS = random.Random(23).sample(ANSWERED, DRAWN)


def words(text: str) -> str:
    """Return `text` with a space wherever it has some."""
    return " ".join(text.split())


def missing(row: Row, said: str) -> list[str]:
    """Return which of the quotes of a row its output lacks."""
    return [quote for quote in row.quotes if words(quote) not in words(said)]


def output(row: Row, monkeypatch: Any, capsys: Any) -> str:
    """Run the commands of a row, one after the other, and return all that they print."""
    names: dict[str, Any] = {}
    assert FIRST is not None
    exec(FIRST[1], names)
    for command in row.commands:
        if command.startswith("minialex "):
            _run(shlex.split(command), monkeypatch)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(command, names)
        except Exception as error:
            # what stands at the end of the traceback that a person gets
            print(f"{type(error).__name__}: {error}")
    return "\n".join(capsys.readouterr())


def _run(argv: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    try:
        main()
    except SystemExit:
        # a command that is refused has its answer in the message
        return
