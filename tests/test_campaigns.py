"""The campaigns in short: ``python -m tests.campaigns`` runs them at full length."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.campaigns import mutants
from tests.campaigns.__main__ import main
from tests.campaigns.campaign import Campaign, campaigns
from tests.campaigns.mutant import ROOT
from tests.campaigns.python_sites import mutants_of
from tests.campaigns.second_opinion import assert_close, attempts

CAMPAIGNS = campaigns()


@pytest.mark.parametrize("name", [name for name, one in CAMPAIGNS.items() if one.short])
def test_a_short_campaign_finds_no_fault(name):
    campaign = CAMPAIGNS[name]
    if campaign.lacks():
        pytest.skip(f"{campaign.needs} is not installed")
    results = list(campaign.run(campaign.short, seed=0))
    assert sum(tried for tried, _ in results) == campaign.short
    assert [fault for _, faults in results for fault in faults] == []


def test_each_seed_is_tried_once_and_faults_are_returned():
    def attempt(seeds, folder):
        assert list(folder.iterdir()) == []
        return [f"seed {seed}: odd" for seed in seeds if seed % 2]

    campaign = Campaign("numbers", attempt, count=7, short=1, batch=3)
    results = list(campaign.run(7, seed=10, jobs=2))
    assert [tried for tried, _ in results] == [3, 3, 1]
    assert [f for _, faults in results for f in faults] == [f"seed {n}: odd" for n in (11, 13, 15)]


def run(*arguments):
    command = [sys.executable, "-m", "tests.campaigns", *arguments]
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_command_lists_the_campaigns_and_refuses_others():
    listed = run()
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(CAMPAIGNS)
    # in this process, which has it all imported
    refused = CliRunner().invoke(main, ["nope"])
    assert refused.exit_code == 2
    assert "unknown campaign 'nope'" in refused.stderr


THING = '''
def clamp(x: int, low: int = 3) -> int:
    """Return x, 0 at least."""
    if x < 0 and not low:
        raise ValueError(f"{x + 1}")
    return x * 2
'''


def test_what_is_mutated_has_a_meaning():
    found = [(THING[m.start : m.end], m.new) for m in mutants_of("thing.py", THING)]
    assert found == [
        ("3", "4"),
        ("x < 0 and not low", "(x < 0) or (not low)"),
        ("x < 0", "x <= 0"),
        ("0", "1"),
        ("not low", "(low)"),
        ("x * 2", "(x) / (2)"),
        ("2", "3"),
    ]


def said_apart(code, *arguments):
    """Return the lines that code prints in a process of its own."""
    code = f"import sys\nfrom pathlib import Path\n{code}"
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_mutant_is_caught_by_a_test_that_sees_it(tmp_path):
    (tmp_path / "test_thing.py").write_text(
        "from thing import clamp\n"
        "def test_seen():\n    assert clamp(2) == 4\n"
        "def test_blind():\n    clamp(2)\n"
    )
    *_, mutant = mutants_of("thing.py", THING)
    (tmp_path / "thing.py").write_bytes(mutant.applied(THING.encode()))
    (tmp_path / "test_torn.py").write_text("import nothing_there")
    blind, seen, torn = "test_thing.py::test_blind", "test_thing.py::test_seen", "test_torn.py"
    # a process without threads forks those that test
    found = said_apart(
        "from tests.campaigns.mutant import Checkout\n"
        "for tests in sys.argv[2:]:\n"
        "    print(Checkout(Path(sys.argv[1])).first_failure(tests.split()), flush=True)",
        *(tmp_path, blind, f"{blind} {seen}", torn),
    )
    assert found == ["", seen, "test_torn.py"]


def test_a_case_of_every_test_comes_before_a_second_one():
    cases = [f"tests/{test}[{i}]" for test in ("a/t.py::x", "a/t.py::y", "b/t.py::z") for i in "12"]
    order = mutants.in_turn([*cases, "tests/b/t.py::w"], "tests/b/", random.Random(0))
    found = [(test.split("::")[1][0]) for test in order]
    assert (set(found[:2]), set(found[2:4])) == ({"w", "z"}, {"x", "y"})
    assert (found[4], set(found[5:])) == ("z", {"x", "y"})
    assert sorted(order) == sorted([*cases, "tests/b/t.py::w"])


def test_a_second_opinion_that_differs_is_reported():
    def differs():
        assert_close(np.zeros(3), np.array([0.0, 0.0, 1e-9]), "plain")

    def agrees():
        assert_close(np.zeros(3), np.array([0.0, 0.0, 1e-14]), "plain")

    attempt = attempts(lambda: {"one": agrees, "two": differs}, count=2)
    (fault,) = attempt([0, 1, 2], Path())
    assert fault.startswith("seed 1: two: AssertionError: Not equal to tolerance")
    (fault,) = attempts(lambda: {"one": agrees}, count=2)([0], Path())
    assert fault == "1 tests can be expressed, not 2: mend the campaign"
