"""The campaigns in short: ``python -m tests.campaigns`` runs them at full length."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns.campaign import Campaign, campaigns

CAMPAIGNS = campaigns()


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_short_campaign_finds_no_fault(name):
    campaign = CAMPAIGNS[name]
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
    refused = run("nope")
    assert refused.returncode == 2
    assert "unknown campaign 'nope'" in refused.stderr
