"""Which recipe a folder gets: small images have one of their own."""

import os

import pytest
from PIL import Image

from minialex.data import pack_images, sizes
from minialex.data.sizes import SAMPLE_IMAGES, sample_sizes
from minialex.errors import MinialexError
from minialex.train import make_settings, suited_recipe
from minialex.train.suited import recipe_for


def write(folder, *images):
    """Write blank images of these widths and heights."""
    folder.mkdir(parents=True)
    for i, size in enumerate(images):
        Image.new("RGB", size).save(folder / f"{i:03}.png")


@pytest.fixture
def folder(tmp_path):
    """Return a folder of small training images, among them a large one; others are large."""
    write(tmp_path / "d" / "train" / "cat", (32, 32), (300, 200), (32, 32))
    write(tmp_path / "d" / "train" / "dog", (32, 32), (32, 32))
    write(tmp_path / "d" / "val" / "cat", (300, 200))
    write(tmp_path / "d" / "val" / "dog", (300, 200))
    return tmp_path / "d"


@pytest.mark.parametrize(
    ("images", "recipe", "described"),
    [
        ([(32, 32)] * 3, "small-images", "images of 32x32 pixels"),
        ([(64, 64)], "small-images", "images of 64x64 pixels"),
        ([(65, 20)], "images", "images of 65x20 pixels"),
        ([(20, 65)], "images", "images of 20x65 pixels"),
        # the median decides
        ([(500, 375), (30, 40), (50, 20)], "small-images", "images of about 50x20 pixels"),
        ([(500, 375), (30, 40), (480, 640)], "images", "images of about 500x375 pixels"),
        ([], "images", "images of unknown size"),
    ],
)
def test_images_that_the_small_network_sees_whole_are_small(images, recipe, described):
    suited = recipe_for(images)
    assert (suited.recipe, suited.images) == (recipe, described)


def test_the_training_images_of_a_folder_decide(folder):
    assert sorted(sample_sizes(folder)) == [(32, 32)] * 4 + [(300, 200)]
    assert suited_recipe(str(folder)).recipe == "small-images"
    settings = make_settings(data=str(folder))
    assert (settings.recipe, settings.variant) == ("small-images", "alexnet-mini")
    assert settings == make_settings("small-images", data=str(folder))
    assert make_settings("images", data=str(folder)).variant == "alexnet"


def test_a_pack_is_looked_at_as_its_folder(folder, tmp_path):
    pack_images(folder, tmp_path / "pack")
    assert sorted(sample_sizes(tmp_path / "pack")) == [(32, 32)] * 4 + [(300, 200)]
    assert suited_recipe(str(tmp_path / "pack")) == suited_recipe(str(folder))
    assert sample_sizes(tmp_path / "pack", ["dog"]) == [(32, 32)] * 2


def test_the_classes_that_are_used_decide(folder, tmp_path):
    write(folder / "train" / "elk", *[(300, 200)] * 9)
    chosen = tmp_path / "classes.txt"
    chosen.write_text("dog\n")
    assert suited_recipe(str(folder)).recipe == "images"
    assert suited_recipe(str(folder), str(chosen)).recipe == "small-images"
    assert make_settings(data=str(folder), classes=str(chosen)).recipe == "small-images"


def test_what_cannot_be_read_decides_nothing(folder):
    for i in range(9):
        (folder / "train" / "cat" / f"bad{i}.png").write_bytes(b"junk")
    os.mkfifo(folder / "train" / "cat" / "pipe.png")
    assert len(sample_sizes(folder)) == 5


def test_as_many_of_each_class_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "SAMPLE_IMAGES", 6)
    write(tmp_path / "few", (10, 10))
    write(tmp_path / "many", *((20, i) for i in range(1, 30)))
    found = sample_sizes(tmp_path)
    assert len(found) == 4
    assert found.count((10, 10)) == 1
    # neither the first ones nor others the next time
    assert max(height for _, height in found) > 10
    assert sample_sizes(tmp_path) == found


def test_of_very_many_classes_some_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "SAMPLE_IMAGES", 3)
    for i in range(1, 8):
        write(tmp_path / str(i), (i, 1), (i, 1))
    assert len(set(sample_sizes(tmp_path))) == len(sample_sizes(tmp_path)) == 3
    assert SAMPLE_IMAGES >= 100


def test_no_pixel_is_read(tmp_path):
    write(tmp_path / "cat", (40, 50))
    path = tmp_path / "cat" / "000.png"
    path.write_bytes(path.read_bytes()[:50])
    assert sample_sizes(tmp_path) == [(40, 50)]


def test_a_folder_that_is_not_there_is_refused_as_ever(tmp_path):
    with pytest.raises(MinialexError, match=r"^no folder /.*/nowhere: check the path$"):
        make_settings(data=str(tmp_path / "nowhere"))
