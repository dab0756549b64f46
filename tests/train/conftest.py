"""What tests of small runs share."""

import pytest

from tests.train.small import write_images


@pytest.fixture
def no_curves(monkeypatch):
    """Leave out the picture, which takes longer than these runs."""
    monkeypatch.setattr("minialex.train.runs.draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """24 images to train on and 6 held out."""
    return write_images(tmp_path_factory.mktemp("data") / "images")
