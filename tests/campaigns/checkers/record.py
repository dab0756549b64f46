"""What the checkers said, counted: the record, and the page's tables made from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minialex.bench.report import fill
from minialex.bench.tables import Table
from tests.campaigns.checkers.four import NAMES, PASSED, RAISED, UNDECIDED, WRONG
from tests.campaigns.checkers.op_mutants import EQUIVALENT, FAILED, TEN, UNSEEN

Row = dict[str, Any]

WRONG_ON_PURPOSE = ("test_tests.py::test_check_vjp_1st_order_fail#0",)
"""What the suites hand to their checkers to see that it is refused."""


def mutants_record(rows: Sequence[Row], right: Sequence[Row], seed: int) -> Row:
    """Return what became of the mutants: counts by op, and those that somebody let pass."""
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


def suite_record(rows: Iterable[Row], share: float, seed: int) -> Row:
    """Return what was said of one suite's functions, and of which it was not that they passed."""
    rows = list(rows)
    files = [row for row in rows if "file" in row]
    functions = [row for row in rows if "name" in row]
    drawn = [row for row in functions if "said" in row or "left out" in row]
    wrong = [row for row in drawn if row["name"] in WRONG_ON_PURPOSE]
    asked = [row for row in drawn if "said" in row and row not in wrong]
    return {
        "seed": seed,
        "share": share,
        "files": {row["file"]: row["outcomes"] for row in files},
        "functions": len(functions),
        "drawn": len(drawn),
        "asked": len(asked),
        "narrow": sum(row["dtype"] != "float64" for row in asked),
        "left out": Counter(row["left out"] for row in drawn if "left out" in row),
        "said": {name: Counter(row["said"][name] for row in asked) for name in NAMES},
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
    headings = ["op", "mutants", FAILED, EQUIVALENT, UNSEEN, "asked about", *NAMES]
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
    """Return the mutants that survive anybody, with what each said."""
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
    kind = "usual inputs" if not row["input"] else f"drawn inputs {row['input']}"
    said = ", ".join(f"{name} {row[name]}" for name in NAMES)
    return f"- {path.removeprefix('minialex/ops/')}:{line}, `{change}`, {kind}: {said}"


def _suites(suites: dict[str, Row]) -> str:
    headings = ["functions of", "handed over", "asked about", "what is said", *NAMES]
    rows = []
    for name, suite in suites.items():
        for n, verdict in enumerate((PASSED, UNDECIDED, WRONG, RAISED)):
            first = [name, f"{suite['functions']:,}", f"{suite['asked']:,}"] if not n else [""] * 3
            counts = [f"{suite['said'][checker].get(verdict, 0):,}" for checker in NAMES]
            rows.append([*first, verdict, *counts])
    return Table(headings, rows, names=4).markdown()


def _accused(suites: dict[str, Row]) -> str:
    """Return what minialex accuses, in each suite, with the reason."""
    lines = []
    for name, suite in suites.items():
        found = [row for row in suite["not passed"] if _noticed(row["said"]["minialex"])]
        lines += [f"- {name}, `{r['name']}`: {r['words']['minialex']}" for r in found]
    return "\n".join(lines or ["minialex accuses none."])
