"""What the products that are copied several stages ahead are tried on that the suite leaves out."""

import pytest

from minialex.cuda import nvrtc
from tests.cuda import test_multistage as suite
from tests.cuda import tools

poison = suite.poison
PLANS = [plan for plan in suite.PLANS if plan not in suite.DRAWN_PLANS]
every_plan = pytest.mark.parametrize(("rung", "rows", "parts", "fix_up"), PLANS)


@every_plan
def test_linear_by_every_plan(rung, rows, parts, fix_up, monkeypatch):
    suite.assert_linear_by_plan(rung, rows, parts, fix_up, monkeypatch)


@every_plan
def test_conv2d_by_every_plan(rung, rows, parts, fix_up, monkeypatch):
    suite.assert_conv_by_plan(rung, rows, parts, fix_up, monkeypatch)


every_plan_of_bfloat16 = pytest.mark.parametrize(
    ("rows", "parts", "fix_up"),
    [plan for plan in suite.PLANS_OF_BFLOAT16 if plan not in suite.DRAWN_PLANS_OF_BFLOAT16],
)


@every_plan_of_bfloat16
def test_linear_of_bfloat16_by_every_plan(rows, parts, fix_up, monkeypatch):
    suite.assert_linear_of_bfloat16_by_plan(rows, parts, fix_up, monkeypatch)


@every_plan_of_bfloat16
def test_conv2d_of_bfloat16_by_every_plan(rows, parts, fix_up, monkeypatch):
    suite.assert_conv_of_bfloat16_by_plan(rows, parts, fix_up, monkeypatch)


def test_the_number_of_stages_changes_no_bit():
    suite.assert_the_same_bits("sm_86", "sm_80")


@pytest.mark.parametrize(
    ("rung", "name"), [one for one in suite.BUILDS if one not in suite.DRAWN_BUILDS]
)
def test_a_kernel_has_as_many_stages_as_memory_is_asked_for(rung, name, monkeypatch):
    suite.assert_one_stage_less_is_too_little(rung, name, monkeypatch)


@tools.compiles
@pytest.mark.parametrize("rung", [suite.FP32, suite.BF16])
def test_the_compiler_sees_as_many_stages_as_the_host_has(rung):
    """Of each GPU that it knows; sm_121 is one of them."""
    capabilities = [n for n in nvrtc.capabilities() if n >= 80]
    assert {80, 86, 90, 120, 121} <= set(capabilities)
    for capability in capabilities:
        suite.assert_stages_seen(rung, capability)


@pytest.mark.parametrize(
    ("op", "rung", "rows"), [one for one in suite.COUNTED if one not in suite.DRAWN_COUNTED]
)
def test_no_bank_conflicts_and_no_sector_too_many(op, rung, rows, monkeypatch):
    suite.assert_no_conflict_and_no_sector_too_many(op, rung, rows, monkeypatch)
