"""Schedules against their definition: right ones pass, and every planted fault fails."""

import pytest

from minialex.check import Verdict, schedules
from minialex.check.schedules import CASES
from minialex.optim.schedules import NAMES, make_schedule


def verdicts(name):
    cases = [case for case in CASES if case.schedule == name]
    return {schedules.check(schedules.Schedules(), case).verdict for case in cases}


@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_is_as_defined(name):
    assert verdicts(name) == {Verdict.PASS}


def late(schedule, numbers):
    return lambda step: schedule(max(step - 1, 0))


def early(schedule, numbers):
    return lambda step: schedule(step + 1)


def from_zero(schedule, numbers):
    return lambda step: schedule(step) if step >= numbers["warmup"] else step / numbers["warmup"]


def starts_before_the_warm_up_ends(schedule, numbers):
    other = make_schedule(schedule.keywords["name"], **numbers | {"warmup": 0})
    return lambda step: schedule(step) if step < numbers["warmup"] else other(step)


def never_quite_ends(schedule, numbers):
    return lambda step: max(schedule(step), 1e-9)


@pytest.mark.parametrize(("name", "fault"), [
    *((name, fault) for name in ("constant", "step", "cosine", "article")
      for fault in (late, early, from_zero)),
    *((name, starts_before_the_warm_up_ends) for name in ("step", "cosine", "article")),
    ("cosine", never_quite_ends),
])  # fmt: skip
def test_a_planted_fault_fails(monkeypatch, name, fault):
    def wrong(name, **numbers):
        return fault(make_schedule(name, **numbers), numbers)

    monkeypatch.setattr(schedules, "make_schedule", wrong)
    assert Verdict.FAIL in verdicts(name)
