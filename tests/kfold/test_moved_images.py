"""Images that were moved, or are no longer those of a run, as evaluate and --resume meet them."""

import shutil
from dataclasses import replace

import pytest

from minialex.errors import MinialexError
from minialex.kfold.evaluation_set import evaluation_set
from minialex.kfold.folds import kfold
from minialex.persistence import load_trained
from minialex.train import resume, train
from tests.small_runs import small, write_images


def brief(images, out):
    return small(images, out=str(out), epochs=1, warmup=0, val_fraction=0.4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and a cross-validation on the same images."""
    root = tmp_path_factory.mktemp("moved")
    images = write_images(root / "images", 5)
    run = train(brief(images, root / "run"))
    kfold(brief(images, root / "folds"), 2)
    return images, run.folder, root / "folds"


@pytest.fixture
def images(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "there")


def evaluated_on(network, data, **options):
    told = []
    found = evaluation_set(load_trained(network), data, tell=told.append, **options)
    return found.description, len(found.dataset), told


def test_a_copy_elsewhere_is_known_by_its_files(made, images):
    assert evaluated_on(made[1], str(images)) == (f"validation images of {images}", 6, [])
    assert evaluated_on(made[2] / "fold-2", str(images)) == (
        f"images of fold 2 of 2 of {images}",
        7,
        [],
    )
    assert evaluated_on(made[1], str(images), everything=True)[:2] == (
        f"all images of {images}",
        15,
    )


def test_a_fold_of_a_folder_with_val_has_images_of_its_own(made, images, tmp_path):
    both = tmp_path / "both"
    images.rename(shutil.copytree(images, both / "val").parent / "train")
    trained = load_trained(made[2] / "fold-1")
    trained = replace(trained, settings=trained.settings.replace(data=str(both)))
    told = []
    found = evaluation_set(trained, str(both), tell=told.append)
    assert (found.description, len(found.dataset), told) == (
        f"images of fold 1 of 2 of {both}",
        8,
        [],
    )
    # a run's own are those in val
    assert evaluated_on(made[1], str(both)) == (f"images of {both / 'val'}", 15, [])


def test_other_images_are_evaluated_on_whole(made, images):
    (images / "red" / "00.png").unlink()
    assert evaluated_on(made[1], str(images)) == (f"all images of {images}", 14, [])


def test_images_that_changed_in_their_place_are_refused(made):
    changed = made[0] / "red" / "more.png"
    shutil.copy(made[0] / "red" / "00.png", changed)
    try:
        words = "'red' had 3 training and 2 validation images, and has 4 .* or give --all"
        with pytest.raises(MinialexError, match=words):
            evaluated_on(made[1], None)
        with pytest.raises(
            MinialexError, match=r"the folds in .* are of other images \(class 'red'"
        ):
            kfold(brief(made[0], made[2]), 2, resume=True)
        assert evaluated_on(made[1], None, everything=True)[1] == 16
    finally:
        changed.unlink()


def test_an_image_that_was_replaced_is_told(made, images):
    shutil.copy(images / "red" / "00.png", images / "blue" / "00.png")
    description, count, told = evaluated_on(made[1], str(images))
    assert (description, count) == (f"validation images of {images}", 6)
    assert told == [
        "the images changed since the network was trained: files of class 'blue' have other sizes"
    ]


def test_a_folder_that_is_gone_is_asked_for(made, images):
    trained = load_trained(made[1])
    moved = shutil.move(made[0], made[0].with_name("moved"))
    try:
        with pytest.raises(
            MinialexError, match=r"no longer in .*: name the folder where they are now as DATA$"
        ):
            evaluation_set(trained)
        with pytest.raises(
            MinialexError, match=r"no longer in .*: minialex kfold --resume .* DATA"
        ):
            kfold(brief(made[0], made[2]), 2, resume=True)
    finally:
        shutil.move(moved, made[0])
    # the folds, which are done, are of the same images in another place
    assert len(kfold(brief(images, made[2]), 2, resume=True).records) == 2


def test_a_run_on_chosen_classes_is_evaluated_on_these(made, tmp_path):
    (tmp_path / "classes.txt").write_text("red\nblue\n")
    settings = brief(made[0], tmp_path / "run").replace(classes=str(tmp_path / "classes.txt"))
    run = train(settings)
    trained = load_trained(run.folder)
    assert trained.classes == ("red", "blue")
    # the run knows its classes without the file, which --resume asks for
    (tmp_path / "classes.txt").unlink()
    assert evaluated_on(run.folder, None) == (
        f"validation images of {made[0]}",
        4,
        ["not used: class green"],
    )
    with pytest.raises(MinialexError, match=r"cannot read the classes in .*classes\.txt"):
        resume(run.folder)
    (tmp_path / "other.txt").write_text("blue\nred\n")
    with pytest.raises(MinialexError, match="was trained on other classes"):
        resume(run.folder, classes=str(tmp_path / "other.txt"))
