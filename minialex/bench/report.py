"""Bring a source tree's documents up to date with its results: tables between markers, pictures.

From the root of the tree,

    python -m minialex.bench.report           writes README.md, docs/ and the results' pictures
    python -m minialex.bench.report --check   changes nothing; exit status 1 where a table is stale
"""

from __future__ import annotations

import sys
from pathlib import Path

from minialex.bench.markers import result_files, stale
from minialex.bench.pictures import draw, roofline, save
from minialex.bench.record import read
from minialex.errors import MinialexError


def main(words: list[str], root: Path) -> int:
    """Do it, say what was done, and return the exit status."""
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    try:
        wanted = stale(root)
    except MinialexError as error:
        print(f"error: {error}")
        return 2
    for path, text in wanted.items():
        if words:
            print(f"{path.relative_to(root)}: tables out of date: python -m minialex.bench.report")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(root)}: tables written")
    if words:
        return int(bool(wanted))
    _draw(result_files(root))
    return 0


def _draw(paths: list[Path]) -> None:
    """Draw each record's pictures beside it, and one roofline of all of them."""
    records = [read(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        draw(record, path.parent)
    figure = roofline(records)
    if figure is not None:
        save(figure, paths[0].parents[1] / "roofline.png")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], Path.cwd()))
