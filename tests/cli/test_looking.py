"""features, filters and graph: figures, pictures, and what is wrong with what a person gives."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import minialex as package
from minialex.autograd import Tensor, no_grad
from minialex.cli import networks, options
from minialex.data import eval_transform, prepare, read_image
from minialex.models import alexnet
from tests.cli.test_bad_input import break_one, refused


@pytest.fixture
def model():
    return alexnet("alexnet-mini", 2)


@pytest.fixture
def network(model, tmp_path):
    """Return a file of a network for images of 32 pixels."""
    return written(model, tmp_path)


def written(model, folder):
    package.save(model, folder / "net.safetensors", transform=eval_transform(32))
    return folder / "net.safetensors"


def first_relu(folder, pixels):
    """Return what the first ReLU makes of pixels (S, S, 3), by hooks of our own."""
    model, *_ = package.load(folder)
    seen = []
    model.features[1].register_forward_hook(lambda m, xs, y: seen.append(y.numpy()))
    with no_grad():
        model(Tensor(prepare(np.asarray(pixels)[None])))
    return seen[0][0]


def test_features_of_an_image_as_the_network_has_them(minialex, network, photos):
    path = photos / "dark" / "00.png"
    small = Image.fromarray(read_image(path)).resize((32, 32), Image.Resampling.BILINEAR)
    maps = first_relu(network, small)
    answer = minialex("features", network, path, "--json")
    assert (answer.status, answer.err) == (0, "")
    record = json.loads(answer.out)
    assert (record["name"], record["names"]) == ("features.1", [str(path)])
    assert record["shape"] == list(maps.shape) == [32, 16, 16]
    assert [c["mean"] for c in record["channels"]] == pytest.approx(maps.mean((1, 2)), rel=1e-4)
    assert [c["zeros"] for c in record["channels"]] == pytest.approx((maps == 0).mean((1, 2)))
    text = minialex("features", network, path, "--top", 3).out
    strongest = np.argsort(-maps.mean((1, 2)), kind="stable")[:3]
    rows = [line.split() for line in text.splitlines()[4:7]]
    assert [row[0] for row in rows] == [str(c) for c in strongest]
    assert [row[1] for row in rows] == [f"{maps[c].mean():.4g}" for c in strongest]
    assert "3 of 32 channels, those of the largest mean |x|" in text


def test_features_draws_and_says_what_it_replaces(minialex, network, photos):
    words = "features", network, photos / "dark" / "00.png", "--out"
    assert minialex(*words, "maps.png").err == "wrote maps.png\n"
    assert minialex(*words, "maps.png", "--layer", "classifier.2").err == "replaced maps.png\n"
    assert minialex(*words, "maps.svg").status == 0
    with Image.open("maps.png") as picture:
        assert picture.format == "PNG"
    assert ET.parse("maps.svg").getroot().tag.endswith("svg")


def test_features_of_many_images_name_what_none_of_them_wakes(minialex, model, photos, tmp_path):
    model.features[0].bias.data[7] = -1e6
    network = written(model, tmp_path)
    answer = minialex("features", network, photos)
    (line,) = [line for line in answer.out.splitlines() if line.startswith("0 everywhere")]
    assert line.startswith("0 everywhere on all 12 images: ")
    assert "7" in line.rpartition(": ")[2].split(", ")
    listed = json.loads(minialex("features", network, photos, "--list", "--json").out)
    layers = {layer["name"]: layer for layer in listed["layers"]}
    assert 7 in layers["features.1"]["all_zero"]
    assert layers["features.0"]["all_zero"] == []
    assert layers["features.1"]["images"] == 12
    table = minialex("features", network, photos, "--list").out
    count = len(layers["features.1"]["all_zero"])
    row = next(line for line in table.splitlines() if "features.1 " in line)
    assert row.split()[-3:] == [str(count), "of", "32"]


def test_the_first_validation_image_or_digit_is_the_default(minialex, run_folder, photos):
    answer = minialex("features", run_folder, "--json")
    assert json.loads(answer.out)["names"][0].startswith(str(photos))
    assert answer.err.startswith(f"looking at {photos}")
    photos.rename("elsewhere")
    refused(minialex("features", run_folder), run_folder, "name an IMAGE")
    fresh = minialex("features", "alexnet-mini", "--json")
    assert json.loads(fresh.out)["names"] == ["digit-0000"]
    assert "alexnet-mini with fresh weights" in fresh.err


def test_more_images_than_are_looked_at_are_counted(minialex, network, photos, monkeypatch):
    monkeypatch.setattr(networks, "MAX_IMAGES", 5)
    answer = minialex("features", network, photos, "--json")
    assert json.loads(answer.out)["images"] == 5
    assert answer.err == "the first 5 of 12 images are looked at\n"


def test_the_field_of_a_unit_is_named_and_drawn(minialex, network, photos):
    words = "features", network, photos / "dark" / "00.png", "--field", "features.3[17,5,-1]"
    said = "rows 10-30, columns 14-30"
    answer = minialex(*words, "--out", "field.png")
    assert (answer.status, answer.err) == (0, "wrote field.png\n")
    assert answer.out == (
        f"features.3[17, 5, -1] Conv2d(32, 64, 5x5, padding=2) sees {said} of the image\n"
    )
    record = json.loads(minialex(*words, "--json").out)
    assert record["sees"] == {"rows": [10, 30], "columns": [14, 30]}
    assert (record["size"], record["stride"], record["start"]) == ([25] * 2, [4] * 2, [-10] * 2)
    with Image.open("field.png") as picture:
        assert picture.format == "PNG"
    explained = minialex("explain", network, "features.3[17,5,-1]", photos / "dark" / "00.png")
    assert explained.out.splitlines()[-1] == f"  features.3[17, 5, -1] sees {said} of the image"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("features.3",), "'features.3' names no number"),
        (("features.3[99,0,0]",), "it has no element [99, 0, 0]"),
        (("features.33[0,0,0]",), "unknown layer 'features.33'"),
        (("features.3.grad[0,0,0]",), "a gradient sees no pixels"),
        (("features.3[0,0,0]", "--out", "field.txt"), "cannot draw field.txt"),
    ],
)
def test_a_field_that_there_is_not_is_refused(minialex, network, words, said):
    refused(minialex("features", network, "--field", *words), said)


@pytest.mark.parametrize("beside", ["--list", "--layer=features.3", "--top=3"])
def test_a_field_is_asked_for_alone(minialex, network, beside):
    answer = minialex("features", network, "--field", "features.3[0,0,0]", beside)
    assert answer.status == 2
    assert " is not used with --" in answer.err


def test_a_summary_shows_fields_and_what_strides_lose(minialex, monkeypatch):
    words = "summary", "alexnet-mini", "--classes", "3", "--image-size", "47", "--fields"
    monkeypatch.setattr(options.console, "width", 100)
    answer = minialex(*words)
    *lines, lost, last = answer.out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert rows["features.0"][-4:] == ["32x24x24", "5", "2", "-2"]
    assert rows["features.12"][-4:] == ["64x2x2", "97", "16", "-34"]
    assert rows["avgpool"][-2:] == ["64x3x3", "uneven"]
    assert rows["classifier.6"][-2:] == ["3", "all"]
    assert lost == "features.2 reads rows 0-22 of 24: 1 row lost; columns likewise"
    assert last == "classifier.6 sees rows 0-46, columns 0-46 of the image, which is 47x47"
    record = json.loads(minialex(*words, "--json").out)
    first = record["fields"][0]
    assert (first["name"], first["size"], first["start"]) == ("features.0", [5, 5], [-2, -2])
    assert [field["name"] for field in record["fields"]] == [row["name"] for row in record["rows"]]


def test_filters_of_a_run_and_of_its_last_checkpoint(minialex, run_folder):
    for which in run_folder, run_folder / "last.safetensors":
        model, *_ = package.load(which)
        w = model.features[0].weight.numpy()
        record = json.loads(minialex("filters", which, "--json").out)
        norms = [one["norm"] for one in record["filters"]]
        assert norms == pytest.approx(np.sqrt(np.square(w).sum((1, 2, 3))), rel=1e-5)
        text = minialex("filters", which, "--top", 2).out.splitlines()
        order = np.argsort(-np.asarray(norms), kind="stable")
        assert [line.split()[0] for line in text[4:6]] == [str(o) for o in order[:2]]
        assert "colour" in text[2]
    assert "2 of 32 filters, the largest norm first; each has 3 x 5 x 5 weights" in text[-1]


def test_an_image_that_is_looked_at_is_not_drawn_over(minialex, network, photos):
    path = photos / "dark" / "00.png"
    before = path.read_bytes()
    answer = minialex("features", network, path, "--out", path)
    refused(answer, f"--out {path} is one of the images: name another file")
    assert path.read_bytes() == before


def test_filters_are_drawn(minialex, network):
    for name in "first.png", "first.pdf":
        answer = minialex("filters", "--pretrained", network, "--out", name)
        assert (answer.status, answer.err) == (0, f"wrote {name}\n")
    deeper = "filters", network, "--layer", "features.3", "--top", "2", "--out", "second.svg"
    assert minialex(*deeper).status == 0
    drawn = Path("second.svg").read_text("utf-8")
    assert ET.fromstring(drawn) is not None
    assert Path("first.png").stat().st_size > 5000


def test_graph_as_text_json_and_picture(minialex):
    words = "graph", "alexnet-mini", "--classes", "10", "--batch", "2"
    answer = minialex(*words, "--out", "graph.svg")
    assert (answer.status, answer.err) == (0, "wrote graph.svg\n")
    record = json.loads(minialex(*words, "--json").out)
    # weights, images, outputs that convolutions and products take, masks, argmax, softmax
    assert record["kept_by_kind"]["parameter"] == 4 * (463_562 - 32 - 64 - 96 - 96 - 64 - 522)
    assert record["kept_by_kind"]["input"] == 4 * 2 * 3 * 64 * 64 + 8 * 2
    assert f"kept for backward: {record['kept_bytes'] / 2**20:.1f} MiB" in answer.out
    assert "gradients go to 463,562 parameters" in answer.out
    rows = answer.out.splitlines()
    conv = next(i for i, line in enumerate(rows) if line.startswith(" features.3 conv2d"))
    assert "auto: " in rows[conv]
    assert "features.3.weight" in rows[conv + 1]
    assert rows[conv + 1].split()[-2:] == [f"{64 * 32 * 25 * 4 / 1024:.1f}", "KiB"]
    drawn = [t.text for t in ET.parse("graph.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {op["op"] for op in record["ops"]} <= {t.split()[-1] for t in drawn if t}


@pytest.mark.parametrize("width", [40, 70])
def test_a_narrow_terminal_has_all_that_is_kept_below_its_op(minialex, monkeypatch, width):
    monkeypatch.setattr(options.console, "width", width)
    lines = minialex("graph", "alexnet-mini", "--classes", "10").out.splitlines()
    first = lines.index("features.3 conv2d")
    row = " ".join(line.strip() for line in lines[first + 1 : lines.index("features.4 relu")])
    assert "keeps y of features.2 max_pool2d, bytes 28.1 KiB" in row
    assert "keeps features.3.weight, bytes 200.0 KiB" in row
    assert all(lines[2 : lines.index("cross_entropy")])
    assert max(map(len, lines[1 : lines.index("cross_entropy")])) <= width


def test_graph_of_other_implementations(minialex):
    words = "graph", "alexnet-mini", "--classes", "10", "--json"
    plain = json.loads(minialex(*words, "--use", "plain").out)
    assert {op["implementation"] for op in plain["ops"]} == {"plain"}
    default = json.loads(minialex(*words).out)
    extra = plain["kept_bytes"] - default["kept_bytes"]
    # plain keeps the outputs of ReLUs that no other op keeps, in place of a bit for each element
    assert extra > 4 * 32 * 32 * 32
    assert default["ops"][1]["implementation"] == "blocked"


@pytest.mark.parametrize("command", ["features", "filters", "graph"])
def test_a_name_that_is_no_network(minialex, command):
    answer = minialex(command, "alexnet-min")
    assert answer.status == 2
    assert "alexnet-mini" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["features", "alexnet-mini", "nowhere.png"], ["nowhere.png", "check the path"]),
        (["features", "alexnet-mini", "--layer", "features.l"], ["features.l", "did you mean"]),
        (["features", "alexnet-mini", "--out", "maps.gif"], ["maps.gif", ".png or .svg or .pdf"]),
        (["features", "alexnet-mini", "--out", "no/maps.png"], ["no/maps.png", "create it"]),
        (["features", "alexnet-mini", "--network", "alexnet"], ["--network alexnet"]),
        (["filters", "alexnet-mini", "--layer", "features.1"], ["features.1", "convolution"]),
        (["graph", "alexnet-mini", "--out", "graph.png"], ["graph.png", ".svg"]),
        (["graph", "alexnet-mini", "--image-size", "6"], ["--image-size 6", "too small"]),
        (["graph", "alexnet-mini", "--use", "tiled"], ["tiled"]),
    ],
)
def test_what_is_wrong_is_named(minialex, words, names):
    refused(minialex(*words), *names)
    assert os.listdir() == []


def test_usage_that_cannot_be_meant(minialex):
    for words, text in (
        (("filters", "alexnet-mini", "cat.jpg"), "filters need no image"),
        (("features", "--list", "--layer", "features.1"), "--layer is not used with --list"),
        (("graph", "alexnet-mini", "--batch", "0"), "--batch"),
    ):
        answer = minialex(*words)
        assert answer.status == 2
        assert text in answer.err


def test_a_bad_image_is_named_with_what_to_do(minialex, network, photos):
    path = break_one(photos, "truncated")
    answer = minialex("features", network, path)
    refused(answer, path, "name another")
    assert "--skip-unreadable" not in answer.err
