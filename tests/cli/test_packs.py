"""A pack in place of its folder, for every command that takes images."""

import json
from pathlib import Path

import numpy as np
import pytest

from minialex.data import ImageFolder
from minialex.data import pack as module
from minialex.data.fingerprint import fingerprint
from minialex.data.packed import is_pack
from tests.cli.conftest import TINY
from tests.cli.test_bad_input import refused


@pytest.fixture
def packed(minialex, photos, tmp_path):
    answer = minialex("data", "pack", photos, tmp_path / "pack")
    assert answer.status == 0
    assert answer.out == (
        f"12 images (0.0 MB) are in {tmp_path}/pack; try: minialex train {tmp_path}/pack\n"
    )
    return tmp_path / "pack"


def test_a_run_on_a_pack_is_that_on_its_folder(minialex, photos, packed, tmp_path):
    outs = [tmp_path / "of-folder", tmp_path / "of-pack"]
    for data, out, workers in zip((photos, packed), outs, (1, 3), strict=True):
        answer = minialex("train", data, *TINY, "--out", out, "--workers", workers)
        assert answer.status == 0
    one, other = ((out / "best.safetensors").read_bytes() for out in outs)
    # the settings at the beginning say where the images are
    assert one[-100_000:] == other[-100_000:]
    described = [minialex("evaluate", out, "--json").out for out in outs]
    assert described[0] == described[1]
    assert json.loads(described[0])["images"] == 2
    # each knows the images of the other as those that it was split from
    assert minialex("evaluate", outs[0], packed, "--json").out == described[0]
    predicted = [minialex("predict", outs[0], data, "--top", 1) for data in (photos, packed)]
    assert predicted[0].out == predicted[1].out.replace(str(packed), str(photos))
    image = packed / predicted[0].out.splitlines()[3].split(":")[0][len(str(photos)) + 1 :]
    assert (
        minialex("predict", outs[0], image, "--top", 1).out == predicted[1].out.splitlines(True)[3]
    )
    below = minialex("predict", outs[0], packed / "dark", "--top", 1)
    assert below.out.count(f"{packed}/dark/") == len(list((photos / "dark").iterdir()))
    assert f"{packed}/light/" not in below.out
    missing = minialex("predict", outs[0], packed / "dork", "--top", 1)
    assert "there is no" in missing.err
    assert minialex("features", outs[0], image, "--out", "seen.png").status == 0
    assert minialex("doctor", outs[1]).status in (0, 1)


def test_kfold_on_a_pack_has_the_folds_of_its_folder_and_warns_of_copies(minialex, photos):
    content = sorted((photos / "dark").iterdir())[0].read_bytes()
    for number in range(5):
        (photos / "light" / f"copy{number}.png").write_bytes(content)
    assert minialex("data", "pack", photos, "pack").status == 0
    answer = minialex("kfold", "pack", *TINY, "--folds", 2, "--out", "folds")
    assert answer.status == 0
    assert "6 images also in another fold, byte for byte" in answer.out
    plan = json.loads(Path("folds/kfold.json").read_text())
    assert plan["images"] == fingerprint(all=ImageFolder(photos))


def test_a_stopped_pack_says_how_to_go_on(minialex, photos, monkeypatch):
    monkeypatch.setattr(module, "BATCH_IMAGES", 4)
    last = sorted((photos / "light").iterdir())[-1]
    last.write_bytes(b"no image")
    answer = minialex("data", "pack", photos, "pack")
    assert answer.status == 2
    said, error = answer.err.splitlines()
    assert said == "8 of 12 images are in pack.part: the same command goes on there"
    assert f"{last}: it is not an image" in error
    answer = minialex("data", "pack", photos, "pack", "--skip-unreadable")
    assert answer.status == 0
    assert "left out 1 image that cannot be read:" in answer.err
    assert is_pack("pack")
    refused(minialex("data", "pack", photos, "pack"), "pack exists already", "name a new folder")


def test_verify_compares_each_image_with_its_checksum(minialex, photos, packed):
    answer = minialex("data", "verify", packed)
    assert (answer.status, answer.out) == (0, f"PASS: all 12 images of {packed}\n")
    pixels = np.load(packed / "pixels.npy", mmap_mode="r+")
    pixels[-1] ^= 1
    del pixels
    answer = minialex("data", "verify", packed)
    assert (answer.status, answer.out) == (1, f"FAIL: 1 image of 12 images of {packed}\n")
    assert "its pixels are not those that were packed" in answer.err
    (photos / "light" / "5.png").write_bytes(b"no image")
    assert minialex("data", "verify", photos).status == 1
    refused(minialex("train", packed / "light"), "no folder")


def test_workers_default_to_the_cores_there_are(minialex):
    for command in ("train", "kfold", "evaluate"):
        said = " ".join(minialex(command, "--help").out.split())
        assert "--workers N Threads that load images. [as many as there are cores]" in said


def test_where_no_image_can_be_read_nothing_goes_on(minialex, photos):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"junk")
    answer = minialex("data", "pack", photos, "pack", "--skip-unreadable")
    assert answer.status == 2
    assert "goes on there" not in answer.err
    assert "no readable image" in answer.err
