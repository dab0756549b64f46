"""The numbers of a training step that stand where it is computed."""

import pytest

from minialex import arrays
from minialex.train.step_state import TABLE_STEPS, StepState


def test_the_table_of_rates_is_filled_a_thousand_steps_at_a_time():
    asked = []

    def rates(step):
        asked.append(step)
        return [(float(step), 1.0), (-float(step), 2.0)]

    state = StepState(arrays.CPU, 2)
    state.start(5, 7, rates)
    for step in range(5, TABLE_STEPS + 50):
        state.fill_table(step, rates)
        assert state.rates.tolist() == [[step, 1.0], [-step, 2.0]]
        state.advance(2)
    assert state.on_host() == (False, TABLE_STEPS + 50, 7 + 2 * (TABLE_STEPS + 45))
    assert len(asked) == 1 + 2 * TABLE_STEPS


def test_what_is_too_large_to_be_counted_is_refused():
    with pytest.raises(ValueError, match=r"counts up to 2\*\*53, but begins with 0 steps and"):
        StepState(arrays.CPU).start(0, 2**53, lambda step: [(0.0, 1.0)])
