"""Packs: the same images as the folder, in arrays that others read; what is damaged is named."""

import json
import pickle

import numpy as np
import pytest

from minialex.data import (
    DataLoader,
    ImageFolder,
    PackedImages,
    Transform,
    drop_unreadable,
    eval_transform,
    find_unreadable,
    open_folder,
    pack_images,
)
from minialex.data import pack as module
from minialex.data.decode import UnreadableImageError
from minialex.data.fingerprint import fingerprint
from minialex.data.folders import folder_notes
from minialex.data.packed import open_picture, packed_picture
from minialex.errors import MinialexError
from tests.data.pictures import save, slopes, tree, turned

COUNTS = {"cat": 5, "dog": 7}
JITTERED = Transform(11, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)


@pytest.fixture
def photos(tmp_path):
    return tree(tmp_path / "photos", COUNTS, ".jpg")


@pytest.fixture
def packed(photos, tmp_path):
    pack_images(photos, tmp_path / "pack")
    return tmp_path / "pack"


def batches(dataset, transform, workers, seed=3):
    loader = DataLoader(dataset, 4, transform, shuffle=True, seed=seed, workers=workers)
    return [(b.images, b.targets, b.indices) for b in loader.epoch(2)]


@pytest.mark.parametrize("transform", [JITTERED, Transform(7), eval_transform(9)])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_small_images_load_as_from_the_folder_to_the_bit(photos, packed, transform, workers):
    folder = batches(ImageFolder(photos), transform, 0)
    for one, other in zip(folder, batches(PackedImages(packed), transform, workers), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_pack_has_what_its_folder_has(photos, packed):
    folder, pack = ImageFolder(photos), PackedImages(packed)
    assert pack.classes == folder.classes
    np.testing.assert_array_equal(pack.targets, folder.targets)
    assert fingerprint(all=pack) == fingerprint(all=folder)
    assert pack.name(6) == str(packed / "dog" / "1.jpg")
    assert find_unreadable(pack) == []
    assert folder_notes([pack]) == []
    for i in range(len(folder)):
        np.testing.assert_array_equal(pack[i][0], folder[i][0])
    chosen = [cls(root, ["dog"]) for cls, root in ((ImageFolder, photos), (PackedImages, packed))]
    assert chosen[0].unused_classes == chosen[1].unused_classes == ["cat"]
    assert fingerprint(all=chosen[0]) == fingerprint(all=chosen[1])
    np.testing.assert_array_equal(chosen[0].targets, chosen[1].targets)
    np.testing.assert_array_equal(chosen[0][3][0], chosen[1][3][0])
    with pytest.raises(MinialexError, match="cow"):
        PackedImages(packed, ["cow"])
    assert repr(pack) == repr(folder).replace("ImageFolder", "PackedImages").replace(
        str(photos), str(packed)
    )


def test_chosen_classes_have_the_order_given(photos, packed):
    turned_round = PackedImages(packed, ["dog", "cat"])
    folder = ImageFolder(photos, ["dog", "cat"])
    assert [turned_round.identity(i) for i in range(12)] == [folder.identity(i) for i in range(12)]
    np.testing.assert_array_equal(turned_round.targets, folder.targets)


def test_another_process_maps_the_pixels_itself(packed):
    for images in (PackedImages(packed), PackedImages(packed, ["dog", "cat"])):
        data = pickle.dumps(images)
        assert len(data) < 500
        np.testing.assert_array_equal(pickle.loads(data)[1][0], images[1][0])


def test_it_is_read_in_three_lines_of_numpy(photos, packed):
    pixels, images = (
        np.load(packed / f"{name}.npy", mmap_mode="r") for name in ("pixels", "images")
    )
    offset, height, width = images[["offset", "height", "width"]][8]
    image = pixels[offset : offset + height * width * 3].reshape(height, width, 3)
    np.testing.assert_array_equal(image, ImageFolder(photos)[8][0])


@pytest.mark.parametrize("val", ["val", "test_set"])
def test_train_and_val_become_a_pack_each(tmp_path, val):
    for name in ("train", val):
        tree(tmp_path / "photos" / name, COUNTS)
    notes = []
    (tmp_path / "photos" / "train" / "cat" / "notes.txt").write_text("x")
    packed = pack_images(tmp_path / "photos", tmp_path / "pack", tell=notes.append)
    assert packed.images == 24
    assert notes == ["ignored 1 file: 1 .txt"]
    assert sorted(path.name for path in (tmp_path / "pack").iterdir()) == sorted(["train", val])
    of_folder, of_pack = (open_folder(tmp_path / name, 0.2, 0) for name in ("photos", "pack"))
    for one, other in zip(of_folder, of_pack, strict=True):
        assert fingerprint(all=one) == fingerprint(all=other)


def test_a_fifth_split_off_is_the_same_fifth(photos, packed):
    one, other = (open_folder(root, 0.2, 0) for root in (photos, packed))
    assert fingerprint(train=one[0], val=one[1]) == fingerprint(train=other[0], val=other[1])


def test_large_images_shrink_to_the_size_upright(tmp_path):
    root = tmp_path / "photos"
    tree(root, {"a": 1, "b": 1})
    turned(root / "a" / "x.jpg", slopes(40, 100), 6, quality=95)
    save(root / "b" / "y.png", slopes(90, 30))
    pack_images(root, tmp_path / "pack", side=20)
    images = PackedImages(tmp_path / "pack")
    shapes = [images[i][0].shape for i in range(4)]
    assert shapes == [(9, 12, 3), (20, 50, 3), (9, 12, 3), (60, 20, 3)]
    assert np.abs(images[1][0].astype(int) - slopes(20, 50)).max() < 12
    assert np.abs(images[3][0].astype(int) - slopes(60, 20)).max() < 8


def test_an_image_is_found_by_its_path_in_the_pack(photos, packed, monkeypatch):
    picture = open_picture(str(packed / "dog" / "2.jpg"))
    np.testing.assert_array_equal(picture.pixels(), ImageFolder(photos)[7][0])
    assert packed_picture(f"{packed}/./dog/2.jpg") is not None
    assert packed_picture(str(packed / "dog" / "9.jpg")) is None
    assert packed_picture(str(photos / "dog" / "2.jpg")) is None
    with pytest.raises(UnreadableImageError):
        open_picture(str(packed / "dog" / "9.jpg"))
    monkeypatch.chdir(packed)
    np.testing.assert_array_equal(open_picture("dog/2.jpg").pixels(), picture.pixels())


# Damage -------------------------------------------------------------------------------------------


def test_pixels_that_changed_are_found(packed):
    pixels = packed / "pixels.npy"
    data = bytearray(pixels.read_bytes())
    data[module.HEADER_BYTES + 5 * 9 * 12 * 3] ^= 1
    pixels.write_bytes(data)
    images = PackedImages(packed)
    (bad,) = find_unreadable(images)
    assert (bad.index, bad.name) == (5, str(packed / "dog" / "0.jpg"))
    assert bad.reason == "its pixels are not those that were packed"
    assert len(drop_unreadable(images)[0]) == 11


def shorten(name, count):
    def damage(root):
        path = root / name
        path.write_bytes(path.read_bytes()[:-count])

    return damage


def change(name, old, new):
    def damage(root):
        path = root / name
        path.write_bytes(path.read_bytes().replace(old, new))

    return damage


def set_row(field, value):
    """Change a row of the table, and its checksum with it."""

    def damage(root):
        rows, names = np.load(root / "images.npy"), np.load(root / "names.npy")
        rows[3][field] = value
        np.save(root / "images.npy", rows)
        index = json.loads((root / "index.json").read_text())
        index["checksum"] = module.checksum(rows, names)
        (root / "index.json").write_text(json.dumps(index))

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shorten("pixels.npy", 1), r"pixels\.npy is cut short or no array"),
        (shorten("images.npy", 9), r"images\.npy is cut short or no array"),
        (shorten("names.npy", 300), r"names\.npy is cut short or no array"),
        (shorten("index.json", 9), r"index\.json: "),
        (lambda root: (root / "index.json").unlink(), r"index\.json: No such file"),
        (change("index.json", b"minialex pack", b"another"), "not that of a minialex pack"),
        (change("names.npy", b"cat", b"dog"), r"images\.npy or names\.npy has changed"),
        (change("index.json", b'"images": 12', b'"images": 11'), r"images\.npy does not fit"),
        (
            change("index.json", b'"pixel_bytes": 3', b'"pixel_bytes": 4'),
            r"pixels\.npy holds 3,888",
        ),
        (lambda root: np.save(root / "images.npy", np.zeros(3)), r"images\.npy is another array"),
        (set_row("offset", -1), r"images\.npy does not fit"),
        (set_row("offset", 2**62), r"images\.npy does not fit"),
        (set_row("height", 10**6), r"images\.npy does not fit"),
        (set_row("width", 0), r"images\.npy does not fit"),
        (set_row("target", 2), r"images\.npy does not fit"),
    ],
)
def test_a_damaged_pack_is_refused_when_it_is_opened(packed, damage, words):
    damage(packed)
    with pytest.raises(
        MinialexError, match=f"^the pack .*pack is damaged: .*{words}.*: copy it or"
    ):
        PackedImages(packed)


def test_a_pack_of_another_version_is_refused(packed):
    change("index.json", b'"version": 1', b'"version": 2')(packed)
    with pytest.raises(MinialexError, match="is a pack of version 2, and this minialex reads"):
        PackedImages(packed)
