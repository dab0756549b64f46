"""Bring a source tree's documents up to date with its results: tables between markers, plots.

From the root of the tree,

    python -m minialex.bench.report           writes README.md, docs/ and the results' plots
    python -m minialex.bench.report --check   changes nothing; exit status 1 where a table is stale

A table stands between two markers:

    <!-- bench:networks -->
    (whatever was here is replaced)
    <!-- /bench -->

A record in a folder whose name ends in ``-ladder`` is for the table ``ladder`` alone, so that the
others do not show the same cases twice.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from minialex.bench.goals import goals, short_goals
from minialex.bench.gpu_tables import GPU_TABLES
from minialex.bench.ladder import ladder
from minialex.bench.plots import draw, roofline, save
from minialex.bench.record import FILE, BenchRecord, read
from minialex.bench.tables import document_table
from minialex.errors import MinialexError

ANY_MARKER = r"(<!-- (?:bench:[\w.-]+|/bench) -->)"
RESULTS = "benchmarks/results"
LADDER_SUFFIX = "-ladder"

DOCUMENT_TABLES: dict[str, Callable[[Path, list[tuple[Path, BenchRecord]]], str]] = {
    **GPU_TABLES,
    "ladder": ladder,
    "goals": goals,
    "goals-short": short_goals,
}
"""The tables that say so where nothing was measured, by name; the others need a record."""


def fill(text: str, table: Callable[[str], str], kind: str = "bench") -> str:
    """Return `text` with everything between markers of a kind replaced by ``table(name)``.

    Raises
    ------
    MinialexError
        If a marker is not closed, or closed without being opened.
    """
    closing = f"<!-- /{kind} -->"
    filled: list[str] = []
    name = None
    for piece in re.split(ANY_MARKER.replace("bench", kind), text):
        opening = re.fullmatch(rf"<!-- {kind}:(.*) -->", piece)
        if opening:
            if name is not None:
                raise MinialexError(f"the marker {kind}:{name} is not closed: add {closing}")
            name = opening[1]
            filled.append(f"{piece}\n{table(name)}\n")
        elif piece == closing:
            if name is None:
                raise MinialexError(f"{closing} closes no marker: remove it")
            name = None
            filled.append(piece)
        elif name is None:
            filled.append(piece)
    if name is not None:
        raise MinialexError(f"the marker {kind}:{name} is not closed: add {closing}")
    return "".join(filled)


def result_files(root: Path) -> list[Path]:
    """Return the records ``benchmarks/results/*/record.json`` of a source tree, sorted by name."""
    return sorted((root / RESULTS).glob(f"*/{FILE}"))


def documents(root: Path) -> list[Path]:
    """Return the documents of a source tree that have markers."""
    paths = [root / "README.md", root / "benchmarks" / "README.md"]
    paths += sorted((root / "docs").rglob("*.md"))
    return [
        path
        for path in paths
        if path.exists() and re.search(ANY_MARKER, path.read_text(encoding="utf-8"))
    ]


def stale(root: Path) -> dict[Path, str]:
    """Return the documents whose tables are not those of the results, with the text they need.

    Raises
    ------
    MinialexError
        If a marker does not match, or names an unknown table.
    """
    paths = documents(root)
    found = [(path, read(path)) for path in result_files(root)]
    shown = [record for path, record in found if not path.parent.name.endswith(LADDER_SUFFIX)]

    def table(name: str) -> str:
        if name in DOCUMENT_TABLES:
            return DOCUMENT_TABLES[name](root, found)
        return document_table(name, shown)

    updates = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            right = fill(text, table)
        except MinialexError as error:
            raise MinialexError(f"{path.name}: {error}") from error
        if right != text:
            updates[path] = right
    return updates


def main(words: list[str], root: Path) -> int:
    """Do it, print what was done, and return the exit status."""
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    try:
        updates = stale(root)
    except MinialexError as error:
        print(f"error: {error}")
        return 2
    for path, text in updates.items():
        bring_up_to_date(path, text, root, "minialex.bench.report", check=bool(words))
    if words:
        return int(bool(updates))
    _draw(result_files(root))
    return 0


def bring_up_to_date(path: Path, text: str, root: Path, module: str, *, check: bool) -> None:
    """Write a page, or where that is only to be checked say which program would, and print it."""
    if check:
        print(f"{path.relative_to(root)}: tables out of date: python -m {module}")
    else:
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(root)}: tables written")


def fill_page(path: Path, page: Callable[[str], str], module: str, *, check: bool) -> int:
    """Bring one page up to date, whose text `page` returns for the text that it has.

    Returns
    -------
    int
        The exit status: 1 where it was stale and only to be checked.
    """
    text = path.read_text(encoding="utf-8")
    right = page(text)
    if right != text:
        bring_up_to_date(path, right, Path(), module, check=check)
    return int(check and right != text)


def _draw(paths: list[Path]) -> None:
    """Draw each record's plots beside it, and one roofline of all of them."""
    paths = [path for path in paths if not path.parent.name.endswith(LADDER_SUFFIX)]
    records = [read(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        draw(record, path.parent)
    figure = roofline(records)
    if figure is not None:
        save(figure, paths[0].parents[1] / "roofline.png")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
