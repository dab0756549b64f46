import json
import shutil

import numpy as np
import pytest

from minialex.autograd import Tensor
from minialex.data import IgnoredFiles, UnreadableImage, UnreadableImageError, open_image, prepare
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import NonFiniteOutputsError
from minialex.kfold.predict import Prediction, find_images, predict
from minialex.models import alexnet
from minialex.ops import softmax
from minialex.persistence import Trained
from minialex.train.given import make_settings
from tests.small_runs import write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images", each=3)


@pytest.fixture
def trained(tmp_path):
    settings = make_settings(variant="alexnet-mini", image_size=32)
    model = alexnet("alexnet-mini", 4, seed=3)
    return Trained(tmp_path, model.eval(), ("a", "b", "c", "d"), settings)


class TestFindImages:
    def test_folders_are_searched_in_order_of_path(self, images):
        found = find_images([images])
        assert found == sorted(str(p) for p in images.rglob("*.png"))
        assert len(found) == 9

    def test_files_are_taken_as_named_and_in_that_order(self, images, tmp_path):
        odd = tmp_path / "picture.dat"
        shutil.copy(images / "red" / "00.png", odd)
        named = [odd, images / "blue", odd]
        assert find_images(named) == [
            str(odd),
            *(str(images / "blue" / f"0{i}.png") for i in range(3)),
            str(odd),
        ]

    def test_hidden_files_and_others_are_passed_over(self, images, tmp_path):
        (tmp_path / "in").mkdir()
        for name in (".hidden.png", "notes.txt", "seen.PNG"):
            shutil.copy(images / "red" / "00.png", tmp_path / "in" / name)
        others = IgnoredFiles()
        assert find_images([tmp_path], others) == [str(tmp_path / "in" / "seen.PNG")]
        assert others.counts == {".txt": 1}

    @pytest.mark.parametrize(
        ("paths", "message"),
        [(["nowhere.png"], "there is no nowhere.png"), ([], "no images given")],
    )
    def test_nothing_there(self, paths, message):
        with pytest.raises(MinialexError, match=message):
            find_images(paths)

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(MinialexError, match=r"no images .* in"):
            find_images([tmp_path])


class TestPredict:
    def test_probabilities_are_the_softmax_of_the_logits(self, trained, images):
        paths = find_images([images])
        # in a batch of its own, as below: rounding depends on the batch
        (first,) = predict(trained, paths[:1], top=4)
        pixels = open_image(paths[0]).resized_crop((0, 0, 24, 20), 32)[None]
        p = softmax(trained.model(Tensor(prepare(pixels)))).numpy()[0]
        assert [g.name for g in first.guesses] == ["abcd"[i] for i in np.argsort(-p)]
        np.testing.assert_allclose([g.probability for g in first.guesses], np.sort(p)[::-1])

    @pytest.mark.parametrize("batch_size", [1, 2, 9, 100])
    def test_batches_make_no_difference_but_rounding(self, trained, images, batch_size):
        paths = find_images([images])
        usual = list(predict(trained, paths))
        other = list(predict(trained, paths, batch_size=batch_size))
        assert [p.path for p in other] == paths
        for one, two in zip(usual, other, strict=True):
            np.testing.assert_allclose(
                [g.probability for g in one.guesses],
                [g.probability for g in two.guesses],
                rtol=1e-4,
            )

    @pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (9, 4)])
    def test_so_many_guesses_as_wanted_or_as_there_are_classes(self, trained, images, top, count):
        for prediction in predict(trained, find_images([images]), top=top):
            likely = [g.probability for g in prediction.guesses]
            assert len(likely) == count
            assert likely == sorted(likely, reverse=True)

    def test_all_probabilities_sum_to_1(self, trained, images):
        for prediction in predict(trained, find_images([images]), top=4):
            assert sum(g.probability for g in prediction.guesses) == pytest.approx(1, abs=1e-6)

    def test_classes_without_names_are_numbers(self, trained, images):
        nameless = Trained(trained.path, trained.model, (), trained.settings)
        named = next(predict(trained, find_images([images])))
        numbered = next(predict(nameless, find_images([images])))
        assert [g.name for g in numbered.guesses] == [
            str("abcd".index(g.name)) for g in named.guesses
        ]

    def test_json(self, trained, images):
        prediction = next(predict(trained, find_images([images]), top=1))
        table = json.loads(json.dumps(prediction.to_json()))
        (guess,) = prediction.guesses
        assert table == {
            "path": prediction.path,
            "guesses": [{"class": guess.name, "probability": guess.probability}],
        }

    def test_only_the_middle_is_seen_where_the_run_cropped(self, trained, images):
        cropping = trained.settings.replace(resize="crop")
        other = Trained(trained.path, trained.model, trained.classes, cropping)
        paths = find_images([images])
        assert next(predict(trained, paths)) != next(predict(other, paths))

    @pytest.mark.parametrize("wrong", [{"top": 0}, {"batch_size": 0}])
    def test_wrong_arguments(self, trained, wrong):
        with pytest.raises(ValueError, match=f"predict: {next(iter(wrong))} must be at least 1"):
            predict(trained, ["x.png"], **wrong)


class TestTrouble:
    @pytest.fixture
    def paths(self, images, tmp_path):
        root = shutil.copytree(images, tmp_path / "some")
        (root / "green" / "01.png").write_bytes(b"nothing of the kind")
        return find_images([root])

    def test_an_unreadable_file_is_named(self, trained, paths):
        with pytest.raises(UnreadableImageError, match=r"green/01\.png"):
            list(predict(trained, paths, batch_size=3))

    def test_those_before_it_have_been_told(self, trained, paths):
        predictions = predict(trained, paths, batch_size=3)
        assert [next(predictions).path for _ in range(4)] == paths[:4]
        with pytest.raises(UnreadableImageError):
            next(predictions)

    def test_or_it_is_passed_over(self, trained, paths):
        found = list(predict(trained, paths, batch_size=3, skip_unreadable=True))
        assert [type(x) for x in found] == [*4 * [Prediction], UnreadableImage, *4 * [Prediction]]
        assert (found[4].name, found[4].index) == (paths[4], 4)

    def test_a_batch_of_nothing_else(self, trained, paths):
        found = list(predict(trained, paths, batch_size=1, skip_unreadable=True))
        assert [type(x) for x in found].count(UnreadableImage) == 1

    def test_a_network_whose_numbers_are_not_finite_says_nothing(self, trained, images):
        trained.model.classifier[4].bias.data[0] = np.nan
        with pytest.raises(NonFiniteOutputsError):
            next(predict(trained, find_images([images])))

    def test_memory(self, trained, images, monkeypatch):
        def fail(*_):
            raise MemoryError

        monkeypatch.setattr("minialex.kfold.predict.prepare", fail)
        with pytest.raises(MinialexError, match="lower the batch size, or the image size"):
            next(predict(trained, find_images([images])))
