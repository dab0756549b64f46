"""Tables inside documents: what stands between two markers is written by the benchmark.

<!-- bench:networks -->
(whatever was here is replaced)
<!-- /bench -->
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from minialex.bench import record as records
from minialex.bench.gpus import GPU_TABLES
from minialex.bench.tables import document_table
from minialex.errors import MinialexError

OPENING, CLOSING = r"<!-- bench:([\w-]+) -->", "<!-- /bench -->"
EITHER = r"(<!-- (?:bench:[\w-]+|/bench) -->)"
RESULTS = "benchmarks/results"


def fill(text: str, table: Callable[[str], str]) -> str:
    """Return `text` with everything between markers replaced by ``table(name)``.

    Raises
    ------
    MinialexError
        If a marker is not closed, or closed without being opened.
    """
    filled: list[str] = []
    name = None
    for piece in re.split(EITHER, text):
        opening = re.fullmatch(OPENING, piece)
        if opening:
            if name is not None:
                raise MinialexError(f"the marker bench:{name} is not closed: add {CLOSING}")
            name = opening[1]
            filled.append(f"{piece}\n{table(name)}\n")
        elif piece == CLOSING:
            if name is None:
                raise MinialexError(f"{CLOSING} closes no marker: remove it")
            name = None
            filled.append(piece)
        elif name is None:
            filled.append(piece)
    if name is not None:
        raise MinialexError(f"the marker bench:{name} is not closed: add {CLOSING}")
    return "".join(filled)


def result_files(root: Path) -> list[Path]:
    """Return the records ``benchmarks/results/*/record.json`` of a source tree, sorted by name."""
    return sorted((root / RESULTS).glob(f"*/{records.FILE}"))


def documents(root: Path) -> list[Path]:
    """Return the documents of a source tree that have markers."""
    paths = [root / "README.md", root / "benchmarks" / "README.md"]
    paths += sorted((root / "docs").rglob("*.md"))
    return [p for p in paths if p.exists() and re.search(EITHER, p.read_text(encoding="utf-8"))]


def stale(root: Path) -> dict[Path, str]:
    """Return the documents whose tables are not those of the results, with the text they need.

    Raises
    ------
    MinialexError
        If a marker does not match, or asks for a table that there is not.
    """
    paths = documents(root)
    found = [(path, records.read(path)) for path in result_files(root)]

    def table(name: str) -> str:
        if name in GPU_TABLES:
            return GPU_TABLES[name](root, found)
        return document_table(name, [record for _, record in found])

    wanted = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            right = fill(text, table)
        except MinialexError as error:
            raise MinialexError(f"{path.name}: {error}") from error
        if right != text:
            wanted[path] = right
    return wanted
