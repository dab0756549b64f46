"""AlexNet trains as it was recorded to."""

from tests.models.recorded import RECORDED, assert_recorded


def test_ten_steps_of_alexnet_in_float64_give_the_recorded_losses():
    assert_recorded(steps=len(RECORDED))
