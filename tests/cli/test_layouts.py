"""What `train` and its kin say of the images they are given, before they use them."""

import io
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console

from minialex.cli.progress import ConsoleReporter
from minialex.train.run import read_settings
from tests.cli.conftest import TINY
from tests.cli.test_bad_input import refused
from tests.small_runs import write_images

TWO = ("cat", "dog")
CHOSEN = (
    "images of 24x20 pixels: network alexnet-mini at 32 pixels, recipe small-images; "
    "--network and --recipe choose otherwise"
)
HEIC = ".heic cannot be read: convert to .jpg or .png"


def opening(answer):
    """Return the lines before the network is named."""
    assert answer.status == 0
    lines = answer.out.splitlines()
    return lines[: next(i for i, line in enumerate(lines) if line.startswith("alexnet-mini, "))]


def test_train_names_the_classes_and_the_validation_images(minialex, photos):
    answer = minialex("train", photos, *TINY, "--val-fraction", "0.5")
    assert opening(answer) == [
        CHOSEN,
        "classes: dark, light",
        "validation: 50 % of each class, split off",
    ]
    assert "6 training images, 6 validation images" in answer.out


def test_train_names_the_parts_that_it_uses_and_those_that_it_does_not(minialex, tmp_path):
    for part, each in (("Training", 4), ("Dev", 2), ("test", 3)):
        write_images(tmp_path / "d" / part, each, TWO)
    answer = minialex("train", "d", *TINY, "--out", "run")
    said = ["classes: cat, dog", "validation: the images in Dev", "not used: test"]
    assert opening(answer) == [CHOSEN, *said]
    assert "8 training images, 4 validation images" in answer.out
    assert opening(minialex("train", "--resume", "run", "--epochs", "2")) == said
    evaluated = minialex("evaluate", "run")
    assert "4 images: images of " in evaluated.out


def test_kfold_names_them_once(minialex, tmp_path):
    for part in ("train", "val"):
        write_images(tmp_path / "d" / part, 4, TWO)
    answer = minialex("kfold", "d", *TINY, "--folds", "2")
    assert opening(answer) == [
        CHOSEN,
        "not used: val",
        "classes: cat, dog",
        "validation: each of 2 folds of 8 images in turn",
    ]
    assert answer.out.count("classes: ") == 1


def test_a_recipe_that_is_given_is_taken_unseen(minialex, photos):
    given = minialex("train", photos, *TINY, "--recipe", "images", "--out", "run")
    assert opening(given)[0] == "classes: dark, light"
    assert read_settings(Path("run/settings.json")).recipe == "images"
    again = minialex("train", "--config", "run/settings.json", "--seed", "1", "--out", "again")
    assert opening(again)[0] == "classes: dark, light"


@pytest.mark.parametrize("command", ["train", "kfold"])
def test_folders_that_cannot_be_trained_on(minialex, tmp_path, command):
    write_images(tmp_path / "off" / "PHOTOS", 4, TWO)
    refused(minialex(command, "off", *TINY), "give ", tmp_path / "off" / "PHOTOS")
    write_images(tmp_path / "single", 4, ("cat",))
    refused(minialex(command, "single", *TINY), "one class folder only, cat")
    for name in TWO:
        write_images(tmp_path / "inside" / name, 4, ("train", "val"))
    refused(minialex(command, "inside", *TINY), "holds train, val")


@pytest.fixture
def mixed(photos):
    """Return `photos` with files that are no images, or none that can be read."""
    for name in ("dark/1.heic", "light/notes.txt", "light/more.txt"):
        (photos / name).touch()
    return photos


IGNORED = f"ignored 3 files: 2 .txt, 1 .heic; {HEIC}"


def test_every_command_says_what_it_passes_over(minialex, run_folder, mixed):
    assert opening(minialex("train", mixed, *TINY))[-1] == IGNORED
    assert opening(minialex("kfold", mixed, *TINY, "--folds", "2"))[1] == IGNORED
    evaluated = minialex("evaluate", run_folder, "--json")
    assert evaluated.err.splitlines()[0] == IGNORED
    assert evaluated.out.startswith("{")
    other = shutil.copytree(mixed, "other")
    shutil.copy(f"{other}/light/00.png", f"{other}/light/more.png")
    folds = minialex("kfold", other, "--folds", "2", "--evaluate-only", run_folder)
    assert folds.status == 0
    assert folds.err.splitlines()[0] == IGNORED
    assert folds.err.count("ignored") == 1
    named = minialex("predict", run_folder, mixed / "light", mixed / "dark", "--top", "1")
    assert named.err.splitlines()[0] == IGNORED
    assert len(named.out.splitlines()) == 12


def test_predict_says_what_a_folder_without_images_holds(minialex, run_folder, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "1.heic").touch()
    refused(minialex("predict", run_folder, "raw"), "in raw (only 1 .heic): ", HEIC)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (55, "classes: class-0, class-1, class-2, class-3 and 96 more"),
        (54, "classes: class-0, class-1, class-2 and 97 more"),
        (37, "classes: class-0, class-1 and 98 more"),
        (30, "classes: class-0 and 99 more"),
        (12, "classes: class-0 and 99 more"),
    ],
)
def test_class_names_take_a_line(capsys, columns, line):
    console = Console(file=sys.stdout, width=columns, soft_wrap=True)
    ConsoleReporter(console).opened([f"class-{i}" for i in range(100)], "")
    assert capsys.readouterr().out.splitlines()[0] == line


odd_names = pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")


@odd_names
def test_a_class_whose_name_is_no_text_is_refused(minialex, tmp_path):
    write_images(tmp_path / "d", 2, ("caf\udce9", "tea"))
    refused(minialex("train", "d", *TINY), "d/caf\\xe9 is not UTF-8: rename")


class Ascii:
    """A terminal that shows ASCII alone, in place of standard output and error."""

    def __init__(self, monkeypatch):
        self.shown = io.BytesIO()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(
                sys, name, io.TextIOWrapper(self.shown, "ascii", line_buffering=True)
            )

    def read(self):
        text = self.shown.getvalue().decode()
        self.shown.truncate(self.shown.seek(0))
        return text


@odd_names
def test_names_of_any_kind_end_no_command(minialex, tmp_path, monkeypatch):
    """A class that the terminal cannot show; a line break and no text in the name of a file."""
    write_images(tmp_path / "d", 5, ("h\xfcnd", "tea"))
    bad = "line\nand \udce9\x1b.png"
    (tmp_path / "d" / "tea" / bad).write_bytes(b"junk")
    shown, escaped = Ascii(monkeypatch), r"line\nand \udce9\x1b.png"
    trained = minialex(
        *("train", "d", *TINY, "--skip-unreadable", "--out", "run", "--val-fraction", "0.4")
    )
    told = shown.read()
    assert trained.status == 0, told
    assert "classes: h\\xfcnd, tea\n" in told
    assert f"{escaped}\n" in told
    assert (tmp_path / "run" / "skipped.txt").read_text().count("\n") == 1
    assert minialex("evaluate", "run", "--skip-unreadable").status == 0
    assert "h\\xfcnd" in shown.read()
    named = minialex("predict", "run", f"d/tea/{bad}", "d/tea/00.png", "--skip-unreadable")
    assert named.status == 0
    assert f"{escaped}: it is not an image" in shown.read()
    assert minialex("train", "d", *TINY).status == 2
    assert f"{escaped}: it is not an image" in shown.read().splitlines()[-1]


def test_a_run_whose_folder_moved_goes_on_where_it_is_now(minialex, run_folder, photos, tmp_path):
    photos.rename(tmp_path / "moved")
    more = ("train", "--resume", run_folder)
    refused(minialex(*more, "--epochs", "2"), f"no longer in {photos}", "--resume", "DATA")
    answer = minialex(*more, "moved", "--epochs", "2")
    assert answer.status == 0
    assert "going on in epoch 2" in answer.out
    assert minialex("evaluate", run_folder).out.startswith(
        f"2 images: validation images of {tmp_path}"
    )
