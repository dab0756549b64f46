"""A reader that does everything that a campaign of files must report."""

import os
import pickle
import time

from minialex.errors import MinialexError
from tests.campaigns.fuzz import canary


class Harmful:
    """Runs a command when its pickle is loaded by Python's own reader."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def fail(path):
    raise ValueError("two\nlines")


def refuse(path, words="{} is damaged: use another copy"):
    raise MinialexError(words.format(path))


WAYS = {
    "executed": lambda path: pickle.loads(path.read_bytes()) and None,
    "it did open": lambda path: path.with_name("elsewhere").write_text("x") and None,
    "MemoryError": lambda path: bytearray(300 * 2**20) and None,
    "Timeout": lambda path: time.sleep(60),
    "Aborted": lambda path: os.abort(),
    "ValueError: two": fail,
    "not one short line": lambda path: refuse(path, "{} is\ndamaged"),
    "does not name the file": lambda path: refuse(path, "it is damaged"),
    "wrong": lambda path: "wrong content",
    "": refuse,
    " ": lambda path: None,
}
"""Ways of reading, by what must be said of them; nothing of the last two."""


def make(draw, path):
    path.write_bytes(pickle.dumps(Harmful(f"touch '{canary(path)}'")))
    return draw.choice(list(WAYS))


def read(path, made):
    return WAYS[made](path)
