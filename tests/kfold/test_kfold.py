import json
import shutil
import signal
import zlib

import numpy as np
import pytest

from minialex.autograd import Tensor, no_grad
from minialex.data import DataLoader, Digits, ImageFolder
from minialex.errors import MinialexError
from minialex.evaluation.evaluate import evaluate
from minialex.kfold.evaluate_folds import evaluate_folds
from minialex.kfold.evaluation_set import evaluation_set
from minialex.kfold.fold_images import divide, open_images
from minialex.kfold.fold_records import (
    FoldRecord,
    KFoldResult,
    fold_folder,
    read_engine,
    read_plan,
    read_record,
)
from minialex.kfold.folds import kfold
from minialex.persistence import load_trained
from minialex.train import resume, train
from minialex.train.run_state import RunState
from tests.kfold.conftest import K, content
from tests.small_runs import Listener, kill, small, write_images


class TestFolds:
    def test_each_image_is_validated_on_once(self, images, whole):
        _, _, folds = whole
        assert [r.fold for r in folds.records] == [1, 2, 3]
        assert sum(r.images for r in folds.records) == 18
        assert [(r.train_images, r.images) for r in folds.records] == [(12, 6)] * 3

    def test_they_are_stratified(self, images):
        dataset, _ = open_images(small(images))
        for train_part, val_part in divide(dataset, K, seed=0):
            assert np.bincount(val_part.targets).tolist() == [2, 2, 2]
            assert np.bincount(train_part.targets).tolist() == [4, 4, 4]
            assert not set(train_part.indices) & set(val_part.indices)

    def test_the_record_is_that_of_the_checkpoint_on_its_fold(self, whole):
        out, _, folds = whole
        for record in folds.records:
            trained = load_trained(out / record.checkpoint, device="cpu")
            chosen = evaluation_set(trained)
            assert f"fold {record.fold} of 3" in chosen.description
            assert len(chosen.dataset) == record.images
            assert right_answers(trained, chosen.dataset) == record.correct
            assert record.accuracy == 100 * record.correct / record.images

    def test_the_network_is_that_after_the_last_epoch_not_the_best(
        self, images, tmp_path, monkeypatch
    ):
        close = RunState.close_epoch
        monkeypatch.setattr(
            RunState, "close_epoch", lambda s, e: close(s, e) and s.position.epoch == 1
        )
        out = tmp_path / "folds"
        record, _ = kfold(small(images, out=str(out)), 2).records
        losses = {}
        for name in ("best", "last"):
            trained = load_trained(out / "fold-1" / f"{name}.safetensors", device="cpu")
            transform = trained.settings.eval_transform()
            loader = DataLoader(evaluation_set(trained).dataset, 5, transform, workers=0)
            losses[name] = evaluate(trained.model, loader).loss
        assert losses["best"] != losses["last"] == record.loss

    def test_the_summary_is_the_articles_line(self):
        records = [
            FoldRecord(i, 3, "", 0, 0, 0, a, 0, 0) for i, a in enumerate((97.0, 98.0, 99.5), 1)
        ]
        folds = KFoldResult(tuple(records), 3)
        assert folds.mean == pytest.approx(98.1666, abs=1e-3)
        assert folds.std == pytest.approx(np.std([97.0, 98.0, 99.5]))
        assert folds.summary == "Mean Accuracy: 98.17 % +- 1.03 %"

    def test_what_is_left_behind(self, whole):
        out, _, folds = whole
        for record in folds.records:
            folder = fold_folder(out, record.fold)
            table = json.loads((folder / "fold.json").read_text())
            assert type(table.pop("crc32")) is int
            assert table.pop("format") == 4
            assert FoldRecord(**table) == record == read_record(out, record.fold)
            assert out / record.checkpoint == folder / "last.safetensors"
        assert {p.name for p in out.iterdir()} == {"fold-1", "fold-2", "fold-3", "kfold.json"}

    def test_what_is_heard(self, whole):
        _, listener, folds = whole
        assert listener.of("fold_started") == [(1, 3), (2, 3), (3, 3)]
        assert tuple(listener.of("fold_ended")) == folds.records
        assert len(listener.of("epoch_ended")) == 6

    def test_of_a_folder_with_val_only_train_is_divided(self, tmp_path):
        write_images(tmp_path / "both" / "train", each=5)
        write_images(tmp_path / "both" / "val", each=2)
        dataset, _ = open_images(small(tmp_path / "both"))
        assert isinstance(dataset, ImageFolder)
        assert len(dataset) == 15

    def test_of_the_digits_all_are_divided(self):
        dataset, _ = open_images(small("digits"))
        assert isinstance(dataset, Digits)


class TestGoingOn:
    @pytest.mark.parametrize(
        "moment",
        [("batch", 1), ("batch", 8), ("fold_ended", 1), ("fold_started", 2), ("batch", 16)],
        ids=str,
    )
    def test_in_the_fold_where_it_stopped(self, images, whole, tmp_path, moment):
        settings = small(images, out=str(tmp_path / "folds"))
        listener = Listener(moment, kill(signal.SIGTERM))
        stopped = kfold(settings, K, reporter=listener)
        assert stopped.signal == signal.SIGTERM
        assert len(stopped.records) == len(listener.of("fold_ended"))
        again = Listener()
        folds = kfold(settings, K, resume=True, reporter=again)
        assert folds == whole[2]
        assert content(tmp_path / "folds") == content(whole[0])
        done = len(stopped.records)
        assert [fold for fold, _ in again.of("fold_started")] == list(range(done + 1, 4))
        assert tuple(again.of("fold_ended")) == folds.records

    def test_after_a_kill_before_the_first_checkpoint(self, images, whole, tmp_path):
        def crash():
            raise KeyError

        settings = small(images, out=str(tmp_path / "folds"))
        with pytest.raises(KeyError):
            kfold(settings, K, reporter=Listener(("batch", 2), crash))
        kfold(settings, K, resume=True)
        assert content(tmp_path / "folds") == content(whole[0])

    def test_from_the_plan_alone(self, whole):
        settings, k = read_plan(whole[0])
        assert kfold(settings, k, resume=True) == whole[2]

    @pytest.mark.parametrize(
        ("change", "k", "message"),
        [({"lr": 0.5}, K, "lr: 0.5, not 0.0001"), ({}, 2, "k: 2, not 3")],
    )
    def test_not_with_other_settings(self, images, whole, change, k, message):
        before = content(whole[0])
        with pytest.raises(MinialexError, match=message):
            kfold(small(images, out=str(whole[0]), **change), k, resume=True)
        assert content(whole[0]) == before

    def test_on_another_engine_if_something_is_left(self, images, whole, tmp_path, monkeypatch):
        out = shutil.copytree(whole[0], tmp_path / "folds")
        (out / f"fold-{K}" / "fold.json").unlink()
        before, messages = read_engine(out), []
        for other in ("another", "a third"):
            monkeypatch.setattr("minialex.kfold.folds.engine", lambda *_, name=other: name)
            listener = Listener()
            kfold(small(images, out=str(out)), K, resume=True, reporter=listener)
            messages += listener.of("message")
        # nothing was left for the third
        assert read_engine(out) == "another"
        assert messages == [
            f"until now on {before}, from here on another: the last digits of results may differ"
        ]

    def test_not_over_what_is_there(self, images, whole):
        with pytest.raises(MinialexError, match="already holds files"):
            kfold(small(images, out=str(whole[0])), K)

    def test_not_where_nothing_is(self, images, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(MinialexError, match="no cross-validation to go on with"):
            kfold(small(images, out=str(tmp_path)), K, resume=True)

    def test_a_damaged_record_is_named(self, images, tmp_path):
        (tmp_path / "fold-1").mkdir()
        (tmp_path / "fold-1" / "fold.json").write_text("{")
        with pytest.raises(MinialexError, match=r"fold\.json is damaged"):
            read_record(tmp_path, 1)

    @pytest.mark.parametrize(
        ("name", "read"),
        [("fold-2/fold.json", lambda out: read_record(out, 2)), ("kfold.json", read_plan)],
    )
    def test_a_flipped_bit_of_any_byte_is_noticed(self, whole, tmp_path, name, read):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        original = (whole[0] / name).read_bytes()
        for at in range(len(original)):
            content = bytearray(original)
            content[at] ^= 1 << at % 8
            path.write_bytes(content)
            with pytest.raises(MinialexError, match="is damaged") as caught:
                read(tmp_path)
            assert "\n" not in str(caught.value)
        path.write_bytes(original)
        read(tmp_path)

    @pytest.mark.parametrize(
        ("name", "read"),
        [("fold-2/fold.json", lambda out: read_record(out, 2)), ("kfold.json", read_plan)],
    )
    def test_a_file_of_an_older_format_is_refused_in_a_line(self, whole, tmp_path, name, read):
        table = json.loads((whole[0] / name).read_text())
        del table["format"], table["crc32"]
        table["crc32"] = zlib.crc32(json.dumps(table).encode())
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(table, indent=1) + "\n")
        with pytest.raises(MinialexError, match=r"has format 1, .* reads format 4 alone") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)

    def test_a_fold_is_no_run_to_go_on_with(self, whole):
        message = f"is of fold 2 of 3, not of a run .* minialex kfold --resume {whole[0]}$"
        with pytest.raises(MinialexError, match=message):
            resume(whole[0] / "fold-2")

    def test_what_is_nested_without_end_is_damaged(self, tmp_path):
        (tmp_path / "kfold.json").write_text("[" * 100_000)
        with pytest.raises(MinialexError, match=r"kfold\.json is damaged"):
            read_plan(tmp_path)

    @pytest.mark.parametrize("name", ["fold.json", "last.safetensors"])
    def test_what_is_of_another_fold_is_refused(self, images, whole, tmp_path, name):
        out = shutil.copytree(whole[0], tmp_path / "folds")
        (out / "fold-1" / "fold.json").unlink()
        shutil.copy(out / "fold-2" / name, out / "fold-1" / name)
        message = {"fold.json": "is damaged: remove it", "last.safetensors": "is of fold 2 of 3"}
        with pytest.raises(MinialexError, match=message[name]):
            kfold(small(images, out=str(out)), K, resume=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("k", "message"),
        [
            (1, "k is 1"),
            (7, "class 'blue' has 6 images, .*, fewer than 7 folds: give --folds 6"),
        ],
    )
    def test_too_few_or_too_many_folds(self, images, tmp_path, k, message):
        with pytest.raises(MinialexError, match=message):
            kfold(small(images, out=str(tmp_path / "folds")), k)
        assert not list(tmp_path.iterdir())

    def test_no_jobs(self, images, tmp_path):
        with pytest.raises(MinialexError, match="jobs is 0"):
            kfold(small(images, out=str(tmp_path / "folds")), K, jobs=0)


class TestGivenNetworks:
    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, images, tmp_path_factory):
        return train(small(images, out=str(tmp_path_factory.mktemp("run") / "run")))

    def test_one_network_on_every_fold(self, run, tmp_path):
        test = write_images(tmp_path / "test", each=4)
        folds = evaluate_folds([run.checkpoint], 2, data=str(test), device="cpu")
        assert [r.images for r in folds.records] == [6, 6]
        trained = load_trained(run.checkpoint, device="cpu")
        parts = [part for _, part in divide(ImageFolder(test), 2, 0)]
        for record, part in zip(folds.records, parts, strict=True):
            assert record.correct == right_answers(trained, part)

    def test_the_ith_network_on_the_ith_fold(self, whole, tmp_path):
        test = write_images(tmp_path / "test", each=4)
        paths = [whole[0] / r.checkpoint for r in whole[2].records]
        folds = evaluate_folds(paths, K, data=str(test), device="cpu")
        assert [r.checkpoint for r in folds.records] == [str(p) for p in paths]
        for i, record in enumerate(folds.records):
            part = divide(ImageFolder(test), K, 0)[i][1]
            assert record.correct == right_answers(load_trained(paths[i], device="cpu"), part)

    def test_a_wrong_number_of_networks(self, run):
        with pytest.raises(MinialexError, match="2 checkpoints for 5 folds"):
            evaluate_folds([run.checkpoint] * 2, 5)

    def test_other_classes(self, run, tmp_path):
        other = write_images(tmp_path / "test", each=4, classes=("cyan", "green", "red"))
        with pytest.raises(MinialexError, match="only the network knows: blue"):
            evaluate_folds([run.checkpoint], 2, data=str(other))


def right_answers(trained, dataset):
    """Count them image by image, as the article does."""
    transform = trained.settings.eval_transform()
    count = 0
    with no_grad():
        for batch in DataLoader(dataset, 1, transform, workers=0).epoch(0):
            count += int(trained.model(Tensor(batch.images)).numpy().argmax() == batch.targets[0])
    return count
