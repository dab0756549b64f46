"""Campaigns of kills and of failing disks report files that are written in place or needed."""

import pytest

from tests.campaigns import disks, kills

IN_PLACE = "tests.broken_writers.write_in_place"


def test_a_run_killed_in_the_middle_of_a_file_is_reported(tmp_path):
    (fault,) = kills.attempt([5], tmp_path, IN_PLACE)
    assert fault.startswith("seed 5: SIGKILL at write ")
    assert "last.safetensors is truncated" in fault


def test_a_disk_that_fails_in_the_middle_of_a_file_is_reported(tmp_path):
    (fault,) = disks.attempt([3], tmp_path, IN_PLACE)
    assert fault.startswith("seed 3: train: EROFS at ")
    assert "last.safetensors has gone" in fault


def test_a_disk_that_fails_for_a_by_product_is_no_end(tmp_path):
    pytest.importorskip("tensorboardX", reason="there are no events without tensorboardX")
    (fault,) = disks.attempt([8], tmp_path, "tests.broken_writers.need_events")
    assert fault.startswith("seed 8: train: EDQUOT at open 2: a by-product ended it: ")
    assert "events.out.tfevents: your disk quota is used up" in fault
