"""A campaign of files reports whatever else a reader does than to read rightly or to refuse."""

import random

from tests import broken_readers
from tests.campaigns.fuzz import files


def test_every_misdeed_of_a_reader_is_reported(tmp_path):
    ways = {random.Random(seed).choice(list(broken_readers.WAYS)): seed for seed in range(200)}
    assert ways.keys() == broken_readers.WAYS.keys()
    campaign = files("tests.broken_readers", "files", count=1, short=1, seconds=0.3)
    faults = campaign.attempt(list(ways.values()), tmp_path)
    told = {int(fault.split()[1].rstrip(":")): fault for fault in faults}
    assert len(told) == len(faults) == len(ways) - 2
    for words, seed in ways.items():
        assert words.strip() in told.get(seed, "")


def test_a_careless_reader_of_images_is_reported(tmp_path):
    campaign = files("tests.careless_images", "images", count=1, short=1, megabytes=1400)
    # the first two are PostScript, which Pillow gives to Ghostscript
    faults = campaign.attempt([113, 176, *range(8)], tmp_path)
    assert any("it did subprocess.Popen" in fault for fault in faults)
    assert any("UnidentifiedImageError" in fault for fault in faults)


def test_the_pickles_that_are_drawn_harm_a_reader_that_executes(tmp_path):
    campaign = files("tests.broken_pth", "files", count=1, short=1)
    faults = campaign.attempt(range(60), tmp_path)
    assert any("what it holds was executed" in fault for fault in faults)
