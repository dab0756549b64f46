"""What the checkers said, counted: the record, and the page's tables made from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from minialex.bench.report import fill
from minialex.bench.tables import Table
from tests.campaigns.checkers.four import NAMES, PASSED, RAISED, UNDECIDED, WRONG
from tests.campaigns.checkers.op_mutants import EQUIVALENT, FAILED, TEN, UNSEEN
from tests.campaigns.checkers.suites import NO_NUMBERS

Row = dict[str, Any]

VERDICTS = PASSED, UNDECIDED, WRONG, RAISED
WIDE = "float64", "complex128"

WRONG_ON_PURPOSE = ("test_tests.py::test_check_vjp_1st_order_fail#0",)
"""What the suites hand to their checkers to see that it is refused."""


def mutants_record(rows: Sequence[Row], right: Sequence[Row], seed: int) -> Row:
    """Return what became of the mutants: counts by op, and what survived."""
    ops = {}
    for op in TEN:
        own = [row for row in rows if row["op"] == op]
        asked = [said for row in own for said in row.get("said", ())]
        ops[op] = {
            "mutants": len(own),
            "left out": Counter(row["left out"] for row in own if "left out" in row),
            "asked": len(asked),
            "said": {name: Counter(said[name] for said in asked) for name in NAMES},
        }
    missed = [
        {"mutant": row["mutant"], **said}
        for row in rows
        for said in row.get("said", ())
        if not all(_noticed(said[name]) for name in NAMES)
    ]
    accused = [row for row in right if set(row["said"].values()) != {PASSED}]
    return {"seed": seed, "ops": ops, "right": len(right), "accused": accused, "missed": missed}


def _noticed(verdict: str) -> bool:
    return verdict in (WRONG, RAISED)


def suite_record(rows: Sequence[Row], of: int, share: float, seed: int) -> Row:
    """Return what was said of one suite's functions, and of which it was not that they passed.

    The suite is `of` files, not all of which need have come to their end.
    """
    files = [row for row in rows if "file" in row]
    functions = [row for row in rows if "name" in row]
    drawn = [row for row in functions if "said" in row or "left out" in row]
    wrong = [row for row in drawn if row["name"] in WRONG_ON_PURPOSE]
    asked = [row for row in drawn if "said" in row and row not in wrong]
    groups = {
        "in float64": [row for row in asked if row["dtype"] in WIDE],
        "in fewer bits": [row for row in asked if row["dtype"] not in WIDE],
    }
    return {
        "seed": seed,
        "share": share,
        "of": of,
        "files": {row["file"]: row["outcomes"] for row in files},
        "functions": len(functions),
        "drawn": len(drawn),
        "left out": Counter(row["left out"] for row in drawn if "left out" in row),
        "asked": {name: len(rows) for name, rows in groups.items()},
        "said": {
            kind: {name: Counter(row["said"][name] for row in rows) for name in NAMES}
            for kind, rows in groups.items()
        },
        "wrong": wrong,
        "not passed": [row for row in asked if set(row["said"].values()) != {PASSED}],
    }


def page(record: Row) -> Callable[[str], str]:
    """Return what brings the text of the page up to date with a record."""
    tables = {
        "mutants": lambda: _mutants(record["mutants"]),
        "survivors": lambda: _survivors(record["mutants"]),
        "suites": lambda: _suites(record["suites"]),
        "accused": lambda: _accused(record["suites"]),
        "versions": lambda: _versions(record["versions"]),
    }
    return lambda text: fill(text, lambda name: tables[name](), "checkers")


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


def _mutants(record: Row) -> str:
    headings = ["op", "mutants", FAILED, EQUIVALENT, UNSEEN, "questions", *NAMES]
    rows = [[f"`{op}`", *_mutant_cells([ops])] for op, ops in record["ops"].items()]
    rows.append(["all", *_mutant_cells(list(record["ops"].values()))])
    return Table(headings, rows).markdown()


def _mutant_cells(ops: Sequence[Row]) -> list[str]:
    left = [sum(op["left out"].get(why, 0) for op in ops) for why in (FAILED, EQUIVALENT, UNSEEN)]
    noticed = [
        sum(n for op in ops for verdict, n in op["said"][name].items() if _noticed(verdict))
        for name in NAMES
    ]
    totals = [sum(op[what] for op in ops) for what in ("mutants", "asked")]
    return [f"{n:,}" for n in (totals[0], *left, totals[1], *noticed)]


def _survivors(record: Row) -> str:
    """Return the mutants that one of the checkers let pass, with what each said."""
    lines = [_survivor(row) for row in record["missed"]]
    if all(_noticed(row["minialex"]) for row in record["missed"]):
        lines = ["None survives minialex. Those that survive others:", "", *lines]
    right = f"Of the {record['right']} right backwards on the same inputs"
    accused = [
        f"{name} {sum(row['said'][name] != PASSED for row in record['accused'])}" for name in NAMES
    ]
    return "\n".join([*lines, "", f"{right} do not pass: {', '.join(accused)}."])


def _survivor(row: Row) -> str:
    found = re.fullmatch(r"(.*?):(\d+): (.*)", row["mutant"], re.S)
    assert found is not None
    path, line, change = found.groups()
    kind = ("usual inputs", "drawn inputs", "small inputs")[row["input"]]
    said = ", ".join(f"{name} {row[name]}" for name in NAMES)
    return f"- {path.removeprefix('minialex/ops/')}:{line}, `{change}`, {kind}: {said}"


def _suites(suites: dict[str, Row]) -> str:
    """Return what was said of right functions, by suite and by what they compute in."""
    headings = ["functions of", "asked about", "what is said", *NAMES]
    rows = []
    for name, suite in suites.items():
        for kind, asked in suite["asked"].items():
            for verdict in VERDICTS if asked else ():
                said = [suite["said"][kind][checker].get(verdict, 0) for checker in NAMES]
                first = [f"{name}, {kind}", f"{asked:,}"] if verdict == PASSED else ["", ""]
                rows.append([*first, verdict, *(f"{n:,}" for n in said)])
    counts = [_count(name, suite) for name, suite in suites.items()]
    return "\n".join([Table(headings, rows, names=3).markdown(), "", *counts])


def _count(name: str, suite: Row) -> str:
    """Return how many functions there are, how many were drawn, and what could not be asked."""
    drawn = f"{suite['drawn']:,} of {suite['functions']:,}"
    whole = "all" if suite["drawn"] == suite["functions"] else f"seed {suite['seed']}"
    left = ", ".join(f"{n:,} {why}" for why, n in _reasons(suite["left out"]).items())
    files = f"{len(suite['files'])} of {suite['of']} files"
    text = f"- {name}: {drawn} functions drawn ({whole}), from {files}"
    for row in suite["wrong"]:
        by = ", ".join(checker for checker in NAMES if _noticed(row["said"][checker]))
        text += f"; `{row['name']}` is wrong on purpose, noticed by {by or 'none'}"
    return f"{text}; not asked about: {left or 'none'}."


def _reasons(left_out: dict[str, int]) -> Counter[str]:
    """Return how many functions were left out, by the kind of reason."""
    found: Counter[str] = Counter()
    for why, n in left_out.items():
        found[why if why == NO_NUMBERS else "that raise on their own"] += n
    return found


def _accused(suites: dict[str, Row]) -> str:
    """Return what minialex accuses, with its reason, and why it leaves others undecided."""
    lines = []
    for name, suite in suites.items():
        found = [row for row in suite["not passed"] if _noticed(row["said"]["minialex"])]
        lines += [f"- {name}, `{r['name']}`: {r['words']['minialex']}" for r in found]
    undecided = [
        row["words"]["minialex"]
        for suite in suites.values()
        for row in suite["not passed"]
        if row["said"]["minialex"] == UNDECIDED
    ]
    kinds = Counter(map(_kind_of_doubt, undecided)).most_common()
    doubts = ", ".join(f"{n:,} as {kind}" for kind, n in kinds)
    accused = ["minialex accuses:", "", *lines] if lines else ["minialex accuses none of them."]
    left = f"It leaves {len(undecided):,} undecided: {doubts}."
    return "\n".join([*accused, "", left] if undecided else accused)


DOUBTS = {
    "no output depends on": "no output depends on one of the inputs",
    "every derivative is 0": "every derivative by one of the inputs is 0 there",
    "kink": "they stand at a kink",
}


def _kind_of_doubt(words: str) -> str:
    """Return why a verdict is INCONCLUSIVE, in general."""
    return next((kind for part, kind in DOUBTS.items() if part in words), "rounding hides too much")
