import pytest

from minialex import cuda
from tests.optim.replay_inputs import OPTIMIZERS, check_replay_inputs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_in_memory_is_the_rate_and_a_failure_holds_back(name):
    with cuda.emulated("checked"):
        check_replay_inputs(name)
