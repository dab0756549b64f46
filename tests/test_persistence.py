"""A trained network is loaded ready to be used, and saved so that others can load it."""

import errno
import os
import shutil
from collections import OrderedDict

import numpy as np
import pytest

import minialex
from minialex import MinialexError, Tensor, models, nn
from minialex.data import DataLoader, ImageFolder, Transform, eval_transform
from minialex.evaluation.evaluate import evaluate
from minialex.train.run import train
from minialex.weights import checkpoint
from minialex.weights.safetensors import write_safetensors
from tests.small_runs import CLASSES, small
from tests.weights import pth_writer

MINI = "alexnet-mini"


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minialex.train.run.draw_curves", lambda *_: None)
        out = tmp_path_factory.mktemp("persistence") / "run"
        return train(small(images, out=str(out), epochs=1, resize="crop", dropout=0.25))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def same(model, other):
    xs, ys = model.state_dict(), other.state_dict()
    return xs.keys() == ys.keys() and all(np.array_equal(xs[k], ys[k]) for k in xs)


def write_checkpoint(path, tensors, manifest):
    """Write a checkpoint that `checkpoint.save` might refuse, its checksums being right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_manifest_fault", lambda *_: None)
        checkpoint.save(path, tensors=tensors, manifest=manifest)


class TestLoad:
    def test_a_runs_folder(self, run, images):
        model, classes, transform = minialex.load(run.folder)
        assert classes == CLASSES
        assert transform == eval_transform(32, "crop")
        assert not model.training
        assert model.variant.name == MINI
        loader = DataLoader(ImageFolder(images), 5, transform, workers=0)
        assert 0 <= evaluate(model, loader).accuracy <= 100

    def test_a_checkpoint_is_what_the_folder_is(self, run):
        assert same(minialex.load(run.best_checkpoint).model, minialex.load(str(run.folder)).model)

    def test_of_weights_alone_shapes_tell_network_and_number_of_classes(self, path):
        model = models.alexnet(MINI, 7, seed=3)
        pth_writer.write_zip(path, model.state_dict())
        loaded = minialex.load(path)
        assert same(loaded.model, model)
        assert loaded.model.num_classes == 7
        assert loaded.classes == ()
        assert loaded.transform == eval_transform(64)

    def test_a_folder_of_runs_names_one(self, run, tmp_path):
        shutil.copytree(run.folder, tmp_path / "folds" / "fold-1")
        with pytest.raises(MinialexError, match=r"name a run in it, such as .*fold-1$"):
            minialex.load(tmp_path / "folds")
        assert minialex.load(tmp_path / "folds" / "fold-1").classes == CLASSES

    def test_what_is_none_of_the_four_networks(self, path):
        write_safetensors(path, {"fc.weight": np.ones((2, 3), np.float32)}, {})
        with pytest.raises(MinialexError, match=r"model\.safetensors: the weights lack tensor"):
            minialex.load(path)

    def test_what_is_damaged_is_compared_with_the_network_that_it_is_most_like(self, path):
        state = models.alexnet(MINI, 7).state_dict()
        pth_writer.write_zip(path, {**state, "features.0.weight": np.ones((8, 3, 5, 5), "<f4")})
        with pytest.raises(
            MinialexError, match=r"has shape \(8, .* and \(32, 3, 5, 5\) in the net"
        ):
            minialex.load(path)

    def test_a_last_layer_of_absurd_size_makes_no_network(self, path):
        weights = models.alexnet(MINI, 2).state_dict()
        weights |= {"classifier.6.weight": np.ones((2**16, 1), np.float32)}
        write_safetensors(path, weights, {})
        with pytest.raises(MinialexError, match=r"classifier\.6\.weight"):
            minialex.load(path)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"nope": 1}, "unknown setting 'nope'"),
            ({"dropout": "x"}, "dropout is 'x': give a number"),
            ({"lr": 10**39}, None),
            ({"variant": "alexnet-2012"}, "'variant' is not what its settings say"),
            ({"image_size": 64}, "'image_size' is not what its settings say"),
        ],
    )
    def test_settings_that_cannot_be_name_the_file(self, run, path, settings, words):
        saved = checkpoint.load(run.checkpoint)
        model = {k: saved.manifest[k] for k in ("model", "num_classes", "image_size", "classes")}
        manifest = {**model, "settings": {**saved.manifest["settings"], **settings}}
        write_checkpoint(path, saved.tensors, manifest)
        if words is None:
            assert minialex.load(path).classes == CLASSES
            return
        with pytest.raises(MinialexError, match=rf"model\.safetensors.*{words}"):
            minialex.load(path)

    def test_names_for_another_number_of_classes(self, run, path):
        saved = checkpoint.load(run.checkpoint)
        manifest = {**saved.manifest, "num_classes": 32, "classes": [str(i) for i in range(32)]}
        del manifest["split"]
        checkpoint.save(path, tensors=saved.tensors, manifest=manifest)
        with pytest.raises(MinialexError, match=r"damaged .its number of classes"):
            minialex.load(path)


class TestSave:
    def test_what_is_saved_is_loaded(self, run, path):
        loaded = minialex.load(run.folder)
        minialex.save(loaded.model, path, classes=loaded.classes, transform=loaded.transform)
        again = minialex.load(path)
        assert same(again.model, loaded.model)
        assert again[1:] == loaded[1:]
        dropouts = [m for _, m in again.model.named_modules() if isinstance(m, nn.Dropout)]
        assert [dropout.p for dropout in dropouts] == [0.25, 0.25]

    def test_names_and_transform_may_be_left_out(self, path):
        model = models.alexnet(MINI, 3)
        minialex.save(model, path)
        model, classes, transform = minialex.load(path)
        assert (model.num_classes, classes, transform) == (3, (), eval_transform(64))

    def test_a_last_layer_of_another_size_is_what_counts(self, path):
        model = models.alexnet(MINI, 3)
        setattr(model.classifier, "6", nn.Linear(256, 5))
        minialex.save(model, path, classes=list("abcde"))
        assert minialex.load(path).classes == tuple("abcde")

    def test_a_file_that_is_there_is_replaced_whole_or_not_at_all(self, path, monkeypatch):
        minialex.save(models.alexnet(MINI, 3, seed=1), path)
        minialex.save(models.alexnet(MINI, 3, seed=2), path)
        before = path.read_bytes()
        assert same(minialex.load(path).model, models.alexnet(MINI, 3, seed=2))

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(MinialexError, match=r"cannot write .*the disk is full"):
            minialex.save(models.alexnet(MINI, 3), path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"classes": ["a"]}, "1 name for 3 classes"),
            ({"classes": ["a", "b", "a"]}, "2 classes are named 'a': give each its own"),
            ({"classes": ("a", "", "b")}, "the name of class 1 is empty: give each class a name"),
            ({"transform": Transform(64)}, "the transform is random"),
        ],
    )
    def test_what_cannot_be(self, path, options, words):
        with pytest.raises(ValueError, match=words):
            minialex.save(models.alexnet(MINI, 3), path, **options)
        assert not path.exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"classes": {"a": 0, "b": 1, "c": 2}}, "classes is {.*}: give a list of names"),
            ({"classes": None}, "classes is None: give a list"),
            ({"classes": "abc"}, "classes is 'abc': give a list"),
            ({"classes": ["a", 1, "b"]}, "class 1 is named 1: give a text"),
            ({"transform": 5}, r"transform is 5: give eval_transform\(size\)"),
        ],
    )
    def test_what_is_of_another_kind(self, path, options, words):
        with pytest.raises(TypeError, match=f"^save: {words}"):
            minialex.save(models.alexnet(MINI, 3), path, **options)
        assert not path.exists()

    @pytest.mark.parametrize("bias", [np.array([0, np.nan, 0], np.float32), np.zeros(3, int)])
    def test_what_load_refuses_is_not_saved(self, path, bias):
        model = models.alexnet(MINI, 3)
        model.classifier[6].bias.requires_grad_(False).data = bias
        with pytest.raises(ValueError, match=r"^save: classifier.6.bias .*: give finite floats$"):
            minialex.save(model, path)
        assert not path.exists()

    @pytest.mark.parametrize("suffix", [".pth", ".PT"])
    def test_a_name_of_pytorchs_own_format(self, path, suffix):
        """torch.load would refuse the file, in words that do not say why."""
        theirs = path.with_suffix(suffix)
        with pytest.raises(ValueError, match=r"writes safetensors.*: let the name end in .safete"):
            minialex.save(models.alexnet(MINI, 3), theirs)
        assert not theirs.exists()

    def test_other_networks(self, path):
        with pytest.raises(TypeError, match="Linear is not an AlexNet"):
            minialex.save(nn.Linear(2, 3), path)
        model = models.alexnet(MINI, 3)
        setattr(model.classifier, "4", nn.Linear(256, 256, bias=False))
        with pytest.raises(ValueError, match="the layers are not those of alexnet-mini"):
            minialex.save(model, path)

    @pytest.mark.parametrize(
        "change",
        [
            lambda net: net.features.__setitem__(1, nn.Tanh()),
            lambda net: net.features.__setitem__(2, nn.AvgPool2d(3, 2)),
            lambda net: setattr(net.features[2], "ceil_mode", True),
            lambda net: setattr(net.features[0], "stride", (1, 1)),
        ],
    )
    def test_what_load_would_make_otherwise_is_refused(self, path, change):
        model = models.alexnet(MINI, 3)
        change(model)
        with pytest.raises(ValueError, match="the layers are not those of alexnet-mini"):
            minialex.save(model, path)

    def test_pytorch_loads_it(self, torch, run, path):
        minialex.save(minialex.load(run.folder).model, path)
        load_file = pytest.importorskip("safetensors.torch").load_file
        for file in (path, run.best_checkpoint):
            state = load_file(file)
            # a checkpoint has the optimizer's state as well
            state = {k: v for k, v in state.items() if not k.startswith("optimizer.")}
            theirs = torch_mini(torch, 3)
            theirs.load_state_dict(state)
            x = np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32)
            with torch.no_grad():
                expected = theirs.eval()(torch.from_numpy(x)).numpy()
            ours = minialex.load(file).model(Tensor(x)).numpy()
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def torch_mini(torch, classes):
    """Return alexnet-mini in PyTorch, its layers named as torchvision names AlexNet's."""
    n = torch.nn
    features = n.Sequential(
        *(n.Conv2d(3, 32, 5, 2, 2), n.ReLU(), n.MaxPool2d(3, 2)),
        *(n.Conv2d(32, 64, 5, 1, 2), n.ReLU(), n.MaxPool2d(3, 2)),
        *(n.Conv2d(64, 96, 3, 1, 1), n.ReLU(), n.Conv2d(96, 96, 3, 1, 1), n.ReLU()),
        *(n.Conv2d(96, 64, 3, 1, 1), n.ReLU(), n.MaxPool2d(3, 2)),
    )
    classifier = n.Sequential(
        *(n.Dropout(), n.Linear(576, 256), n.ReLU(), n.Dropout()),
        *(n.Linear(256, 256), n.ReLU(), n.Linear(256, classes)),
    )
    parts = {"features": features, "avgpool": n.AdaptiveAvgPool2d(3), "flatten": n.Flatten()}
    return n.Sequential(OrderedDict(parts, classifier=classifier))


class TestPretrained:
    def test_a_runs_folder_brings_its_number_of_classes(self, run):
        model = models.alexnet(MINI, pretrained=run.folder)
        assert same(model, minialex.load(run.folder).model)
        assert model.training

    def test_another_number_of_classes_keeps_a_fresh_last_layer(self, run):
        given = models.alexnet(MINI, pretrained=run.folder).state_dict()
        model = models.alexnet(MINI, 5, seed=9, pretrained=run.folder).state_dict()
        fresh = models.alexnet(MINI, 5, seed=9).state_dict()
        for name, x in model.items():
            start = fresh if name.startswith("classifier.6.") else given
            np.testing.assert_array_equal(x, start[name])

    def test_what_dropout_drops_is_as_without(self, run):
        loaded = models.alexnet(MINI, seed=5, pretrained=run.folder)
        assert loaded.generator == models.alexnet(MINI, 3, seed=5).generator

    def test_true_asks_for_a_path(self):
        with pytest.raises(TypeError, match=r"pretrained is True: give the path .*alexnet-owt"):
            models.alexnet(pretrained=True)
        with pytest.raises(TypeError, match=r"pretrained is a dict: give it to load_state_dict"):
            models.alexnet(MINI, pretrained={})
        with pytest.raises(TypeError, match="variant is 10: name one of alexnet, alexnet-2012"):
            models.alexnet(10)

    def test_classes_are_a_list_of_names(self, path):
        with pytest.raises(TypeError, match="classes is 'abc': give a list of names"):
            minialex.save(models.alexnet(MINI, 3), path, classes="abc")
        with pytest.raises(TypeError, match="class 1 is named 7: give a text"):
            minialex.save(models.alexnet(MINI, 3), path, classes=["a", 7, "b"])

    def test_another_network(self, run):
        with pytest.raises(MinialexError, match=r"best\.safetensors: the weights lack tensor"):
            models.alexnet("alexnet-article", pretrained=run.folder)


def test_they_are_found_without_being_imported():
    assert {"load", "save"} <= set(minialex.__all__) & set(dir(minialex))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        minialex.lod  # noqa: B018
