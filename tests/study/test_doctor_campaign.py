"""The campaign that fixes the doctor's limits: it can fail, and says what is wrong."""

import json
from dataclasses import asdict, replace

import pytest

from minialex.study.doctor import KINDS, LIMITS
from tests.campaigns import doctor
from tests.campaigns.doctor_runs import FAULTS, Draw, Truth, draw
from tests.study.test_doctor import FAULTY, sound

WELL = Truth(
    loss=0.4,
    shares={"features.1": 0.1},
    fast=False,
    slow=False,
    vanishing=False,
    exploding=False,
    unpredicted=set(),
    constant=False,
    duplicates=False,
    labels=False,
    warmup=False,
)


def case(truth, measured, seed=0, fault="none"):
    return doctor.Case(replace(draw(seed), fault=fault), truth, measured)


def mistakes(one):
    return [(a.kind, a.so) for a in doctor.answers(one, LIMITS) if a.so != a.said and a.seen]


def test_what_is_true_is_no_mistake_and_what_is_not_is_one():
    assert mistakes(case(WELL, sound())) == []
    for name in "constant", "duplicates", "warmup", "labels", "slow":
        assert mistakes(case(replace(WELL, **{name: True}), sound())) == [(name, True)]
        assert mistakes(case(WELL, FAULTY[name][0])) == [(name, False)]
    assert mistakes(case(replace(WELL, loss=0.99), sound())) == [("stuck", True)]
    # between what is clearly one or the other nothing is counted
    assert mistakes(case(replace(WELL, loss=0.95), FAULTY["stuck"][0])) == []
    assert mistakes(case(replace(WELL, shares={"features.1": 0.7}), sound())) == [("dead", True)]
    assert mistakes(case(replace(WELL, unpredicted={"b"}), sound())) == [("unpredicted", True)]
    assert mistakes(case(replace(WELL, fast=None), FAULTY["fast"][0])) == []


def test_a_limit_lies_in_the_widest_room_with_the_fewest_mistakes():
    assert doctor._best([(0.1, False), (0.2, False), (0.9, True), (1.0, True)]) == 0.55
    # one mistake either way, and more room above
    assert doctor._best([(0.0, False), (0.1, True), (0.2, False), (0.6, True)]) == 0.4
    # nothing to find: above all
    assert doctor._best([(0.1, False), (0.2, False)]) > 0.2


def test_limits_come_from_the_first_half_and_mistakes_of_the_second_are_listed():
    bad = {kind: next(m for name, (m, _) in FAULTY.items() if name == kind) for kind in KINDS}
    ill = [
        case(replace(WELL, loss=0.99), bad["stuck"], 2),
        case(replace(WELL, shares={"classifier.2": 0.9, "features.1": 0.1}), bad["dead"], 4),
        case(replace(WELL, fast=True), bad["fast"], 6),
        case(replace(WELL, slow=True), bad["slow"], 8),
        case(replace(WELL, vanishing=True), bad["vanishing"], 10),
        case(replace(WELL, exploding=True), bad["exploding"], 12),
        case(replace(WELL, unpredicted={"b"}), bad["unpredicted"], 14),
        case(replace(WELL, labels=True), FAULTY["labels, of noise"][0], 16, "shuffled labels"),
        case(WELL, sound(), 18),
    ]
    found = doctor.record([*ill, *([case(replace(WELL, constant=True), sound(), 20)] * len(ill))])
    assert found["runs"] == [9, 9]
    assert found["limits"].keys() == asdict(LIMITS).keys()
    # between 3 of 32 units and 250 of 256, to two digits
    assert found["limits"]["dead"] == pytest.approx((3 / 32 + 250 / 256) / 2, abs=0.006)
    assert found["counts"]["dead"][0] == {
        "so": 1,
        "missed": 0,
        "not so": 9,
        "false alarms": 0,
        "not seen": 0,
    }
    assert found["counts"]["constant"][1]["missed"] == 9
    assert found["mistakes"][-1] == [20, "none", "constant", "", "missed"]
    table = doctor.mistakes_table(json.loads(json.dumps(found)))
    assert f"| {KINDS['constant']} | planted | 0 of 0 | 0 of 9 | 9 of 9 | 0 of 0 | 0 |" in table


def test_what_is_written_and_what_needs_no_limit_is_a_fault(monkeypatch, tmp_path):
    def writes(run, device):
        (run / "left.txt").write_text("")
        return sound()

    monkeypatch.setattr(doctor, "make_run", lambda drawn, folder: folder.mkdir())
    monkeypatch.setattr(doctor, "open_run", lambda path: path.parent)
    monkeypatch.setattr(doctor, "measure", writes)
    monkeypatch.setattr(doctor, "truth_of", lambda drawn, folder: replace(WELL, duplicates=True))
    assert doctor._attempt([7], tmp_path) == [
        "seed 7: something was written",
        "seed 7: duplicates is missed",
    ]


def test_draws_are_of_every_fault_and_the_same_again():
    drawn = [draw(seed) for seed in range(120)]
    assert {one.fault for one in drawn} == FAULTS.keys()
    assert drawn[:3] == [draw(seed) for seed in range(3)]
    assert all(isinstance(one, Draw) and 2 <= one.classes <= 6 for one in drawn)
