"""Bring the documents up to date with the committed results: tables between markers, pictures.

python benchmarks/report.py           write README.md, docs/ and the pictures of the results
python benchmarks/report.py --check   change nothing; exit status 1 where a table is out of date
"""

import sys
from pathlib import Path

from minialex.bench.markers import RESULTS, stale
from minialex.bench.pictures import draw, roofline, save
from minialex.bench.record import FILE, read
from minialex.errors import MinialexError

ROOT = Path(__file__).parents[1]


def main(words: list[str]) -> int:
    """Return the exit status."""
    if words not in ([], ["--check"]):
        print(__doc__)
        return 2
    try:
        wanted = stale(ROOT)
    except MinialexError as error:
        print(error)
        return 2
    if words:
        for path in wanted:
            print(f"{path.relative_to(ROOT)}: tables out of date; run python benchmarks/report.py")
        return int(bool(wanted))
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: tables written")
    paths = sorted((ROOT / RESULTS).glob(f"*/{FILE}"))
    for path in paths:
        draw(read(path), path.parent)
    records = [read(path) for path in paths]
    figure = roofline(records)
    if figure is not None:
        save(figure, ROOT / RESULTS / "roofline.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
