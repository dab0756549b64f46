"""One class name means one thing in the whole package."""

import ast
from collections import defaultdict
from pathlib import Path

import minialex

PACKAGE = Path(minialex.__file__).parent


def class_names(folder):
    """Return, for each class name, the places where one is defined; `_Name` is `Name` as well."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(f"{path.relative_to(folder)}:{node.lineno}")
    return found


def test_no_class_name_is_defined_twice():
    twice = {name: places for name, places in class_names(PACKAGE).items() if len(places) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(places)}" for name, places in twice.items())


def test_two_classes_of_one_name_are_found_wherever_they_stand(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "one.py").write_text("class Job:\n    class Part: ...\n")
    (tmp_path / "inner" / "two.py").write_text("def f():\n    class _Job: ...\n")
    assert class_names(tmp_path) == {"Job": ["inner/two.py:2", "one.py:1"], "Part": ["one.py:2"]}
